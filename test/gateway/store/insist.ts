import { setTimeout } from 'node:timers/promises'

/** Calls until it works: the database is away meanwhile. */
export async function insist<Result>(call: () => Promise<Result>): Promise<Result> {
  while (true) {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof Error && 'retryable' in error && error.retryable)) throw error
      await setTimeout(20)
    }
  }
}
