import { errorText, TaskError } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'
import type { GPTRequester } from '../requester/requester.ts'
import { type Generated, hookFailed, type TaskHooks } from './task-hooks.ts'
import type { TaskRequest } from './task-types.ts'

/** How often a long pass over known requests lets others run. */
const YIELD_EVERY = 512

export type Warn = (code: string, message: string) => void

/** Pulls the requests of a task from its hook: into the queue, or only to be looked at. */
export class Generation {
  readonly #hooks: Pick<TaskHooks<unknown>, 'generateRequests'>
  readonly #warn: Warn
  #added = 0

  constructor(hooks: Pick<TaskHooks<unknown>, 'generateRequests'>, warn: Warn) {
    this.#hooks = hooks
    this.#warn = warn
  }

  /** Requests that were new. */
  get added(): number {
    return this.#added
  }

  /** Adds what one call of the hook yields, as fast as there is room, then calls `release`. */
  async addAll(requester: GPTRequester, release: () => Promise<void>): Promise<void> {
    try {
      let seen = 0
      for await (const { key, body, sample, meta } of this.#requests()) {
        const outcome = await requester.add({ key, body, sample, meta })
        if (outcome === 'stopped') break
        if (outcome === 'added') this.#added++
        if (++seen % YIELD_EVERY === 0) await new Promise((resolve) => setImmediate(resolve))
      }
    } catch (error) {
      throw generatorFailed(error, 'What it gave before is kept; the next run calls it again.')
    } finally {
      await release()
    }
    if (requester.changedBodies > 0) this.#warnChangedBodies(requester.changedBodies)
  }

  /** The same requests, of which none is added. */
  async *toLookAt(): AsyncGenerator<TaskRequest<Endpoint>> {
    try {
      yield* this.#requests()
    } catch (error) {
      throw generatorFailed(error, 'It was only looked at: nothing of it was added or sent.')
    }
  }

  #requests(): Generated {
    const requests = this.#hooks.generateRequests()
    if (
      typeof requests === 'object' &&
      requests !== null &&
      (Symbol.iterator in requests || Symbol.asyncIterator in requests)
    )
      return requests
    throw new TaskError(
      'bad_generator',
      'generateRequests() must return something to iterate over: write it as a generator, *generateRequests()',
    )
  }

  #warnChangedBodies(count: number): void {
    this.#warn(
      'changed_bodies',
      `${count} keys were given another body than when they were committed; the first body stays in force (--wipe-requests or other keys change that)`,
    )
  }
}

const generatorFailed = (error: unknown, then: string) =>
  hookFailed(error, () => `generateRequests failed: ${errorText(error)}. ${then}`)
