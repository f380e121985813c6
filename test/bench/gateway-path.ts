import type { BenchOptions } from './batch-path.ts'
import type { Findings } from './figures.ts'
import { benchAccepting, benchAcceptingOnPostgres } from './gateway-accept.ts'
import { benchHolding } from './gateway-memory.ts'

/** What a gateway costs: to take a call, to do nothing, and to hold many. */
export async function benchGateway(options: BenchOptions): Promise<Findings[]> {
  return [await benchAccepting(options), await benchAcceptingOnPostgres(options), await benchHolding(options)]
}
