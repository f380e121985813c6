import { describe } from 'vitest'
import { directCases, hangingDirectCases } from './direct-cases.ts'
import { testCases } from './fault-case.ts'

describe.concurrent('a fault of direct calls', () => testCases(directCases))
describe('a direct call that hangs', () => testCases(hangingDirectCases))
