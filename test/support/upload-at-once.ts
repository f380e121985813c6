import type { Fetch } from '../../src/util/fetch.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** A `fetch` whose uploads take none of the virtual time, however slow the disk is that they are read from. */
export const uploadingAtOnce =
  (fetch: Fetch, clock: VirtualClock): Fetch =>
  async (input, init) => {
    if (!(init?.body instanceof Blob)) return fetch(input, init)
    const body = new Uint8Array(await clock.standStillFor(init.body.arrayBuffer()))
    return fetch(input, { ...init, body })
  }
