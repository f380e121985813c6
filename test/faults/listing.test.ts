import { describe } from 'vitest'
import { testCases } from './fault-case.ts'
import { listingCases } from './listing-cases.ts'

describe.concurrent('a fault of listings', () => testCases(listingCases))
