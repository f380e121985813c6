import { setTimeout as sleep } from 'node:timers/promises'
import { chanceOf } from '../../../demos/support/prompt.ts'
import { Addresses } from './addresses.ts'
import { askByFetch } from './fetch-calls.ts'
import type { Got } from './got.ts'
import { askBySdk } from './sdk-calls.ts'
import { type Ask, answerText, askOf, errorText, REFUSAL_STATUS } from './workload.ts'

/** What came of a call in the end, once its caller had it. */
export type End = 'answered' | 'refused' | `wrong: ${string}`

/** Before any answer can be there. */
const CUT_OFF_MS = 250
const AGAIN_MS = 1000
/** By then a gateway has seen that its caller is gone, however little it gets to do. */
const BACK_MS = 4000

/** Someone who makes one call, however often it takes, until there is an answer; undefined: it was over before. */
export async function callUntilAnswered(
  serial: number,
  urls: readonly string[],
  over: AbortSignal,
): Promise<End | undefined> {
  const ask = askOf(serial)
  const addresses = new Addresses(urls, serial)
  const askOnce = ask.way === 'held' || ask.way === 'streamed' ? askBySdk : askByFetch
  let cutOff: AbortSignal | undefined = ask.isCutOff
    ? AbortSignal.timeout(Math.ceil(chanceOf(`moment of ${serial}`) * CUT_OFF_MS))
    : undefined
  while (!over.aborted) {
    const got = await askOnce(ask, addresses, AbortSignal.any([over, ...(cutOff ? [cutOff] : [])]))
    if (got.kind !== 'broken') return endOf(ask, got)
    addresses.leave()
    await sleep(cutOff ? BACK_MS : AGAIN_MS)
    cutOff = undefined
  }
  return undefined
}

function endOf({ serial, isRefused }: Ask, got: Exclude<Got, { kind: 'broken' }>): End {
  if (got.kind === 'answer')
    return !isRefused && got.text === answerText(serial) ? 'answered' : `wrong: ${JSON.stringify(got.text)}`
  const isOwn = isRefused && got.message.includes(errorText(serial))
  // Once a stream has begun, an error in it has no status.
  const isSo = isOwn && (got.status === undefined || got.status === REFUSAL_STATUS)
  return isSo ? 'refused' : `wrong: ${got.status ?? 'no status'} ${got.message}`
}
