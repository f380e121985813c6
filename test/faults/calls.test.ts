import { describe } from 'vitest'
import { hangingCases, passingCases } from './call-cases.ts'
import { testCases } from './fault-case.ts'

describe.concurrent('a fault of calls', () => testCases(passingCases))
// In real time: nothing else may keep the process from its work.
describe('a call that hangs', () => testCases(hangingCases))
