import { describe } from 'vitest'
import { testCases } from './fault-case.ts'
import { refusedCases } from './refused-cases.ts'

describe.concurrent('what is refused, or down', () => testCases(refusedCases))
