import { describe } from 'vitest'
import { batchEndCases } from './batch-end-cases.ts'
import { batchLookCases } from './batch-look-cases.ts'
import { testCases } from './fault-case.ts'

describe.concurrent('a fault of batches', () => testCases([...batchEndCases, ...batchLookCases]))
