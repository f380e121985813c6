import { describe } from 'vitest'
import { testCases } from './fault-case.ts'
import { lineCases } from './line-cases.ts'

describe.concurrent('a fault of lines', () => testCases(lineCases))
