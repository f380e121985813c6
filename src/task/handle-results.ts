import type { RequestResult } from '../requester/request-result.ts'
import type { GPTRequester } from '../requester/requester.ts'
import type { Generation } from './generation.ts'
import type { Judge } from './judge.ts'
import { Pass } from './pass.ts'
import { Processing } from './processing.ts'

/** A new pass over the generator is worth it when this share of the samples has asked for more. */
const RESCAN_SHARE = 1 / 8

export interface HandlingOptions {
  readonly requester: GPTRequester
  readonly generation: Generation
  readonly judge: Judge<unknown>
  readonly processConcurrency: number
  /** Begin with a pass over the generator, and begin others as samples ask for more. */
  readonly generates: boolean
}

/** Handles results until there are none left. */
export async function handleResults(options: HandlingOptions): Promise<void> {
  const { requester, judge, processConcurrency, generates } = options
  let pass = generates ? beginPass(options) : undefined
  const processing = new Processing<RequestResult>(
    processConcurrency,
    (result) => judge.take(requester, result),
    () => requester.halt(),
  )
  let hasNewPass: boolean
  do {
    hasNewPass = false
    try {
      for await (const result of requester.results()) {
        await processing.submit(result)
        pass?.check()
        if (!pass?.isOver || !wantsPass(options)) continue
        pass = beginPass(options)
        hasNewPass = true
      }
    } finally {
      // Whatever was decided is written, also when something failed: it is not decided twice.
      await Promise.allSettled([processing.drain(), judge.settled()])
    }
    await processing.drain()
    await judge.settled()
    await pass?.done
    pass?.check()
    // A pass that began while the last results were handled may have added more.
  } while (hasNewPass)
}

function wantsPass({ requester, judge: { samplesWithMore } }: HandlingOptions): boolean {
  return samplesWithMore > 0 && samplesWithMore >= requester.sampleCount * RESCAN_SHARE
}

function beginPass({ requester, generation, judge }: HandlingOptions): Pass {
  judge.forgetMore()
  // A generator that fails ends the run now, not when the batches are back.
  return new Pass(generation.addAll(requester, requester.hold()), () => requester.halt())
}
