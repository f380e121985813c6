import { describe } from 'vitest'
import { testCases } from './fault-case.ts'
import { replyCases } from './reply-cases.ts'

describe.concurrent('a fault of replies', () => testCases(replyCases))
