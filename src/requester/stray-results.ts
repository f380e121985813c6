import { classifyLine, type LineOutcome, parseResultLine } from '../batch/line-outcome.ts'
import type { QueueFile } from '../batch/queue-file.ts'
import { readReply } from '../batch/reply.ts'
import type { Stray } from '../batch/stray.ts'
import { lineId } from '../batch/wire-line.ts'
import type { Endpoint } from '../openai/wire.ts'
import { readLineChunks, WindowReader } from '../state/json-lines.ts'
import type { Context } from './context.ts'
import { queueFileName, strayFileName } from './files.ts'
import type { RequestResult } from './request-result.ts'
import { requestOf, scanResults } from './result-index.ts'
import { pricingOf, type ResultReader } from './result-reader.ts'

/**
 * Answers of a stray to requests that still wait for one on the line they were asked by. Only good ones: whatever else
 * the stray says of a request, the batch that its queue file has will say better. Stops early when the run is to stop.
 */
export async function* strayResults(
  { store, stop }: Context,
  reader: ResultReader,
  { file, stray }: { readonly file: QueueFile; readonly stray: Stray },
  isTaken: (request: number) => boolean,
): AsyncGenerator<RequestResult> {
  const suffix = strayFileName(file.id, stray.place)
  const { index } = await scanResults(store, { id: file.id, suffix })
  if (index.size === 0) return
  const replies = await WindowReader.open(store.fs, store.path(suffix))
  try {
    for await (const lines of readLineChunks(store.fs, store.path(queueFileName(file.id)))) {
      for (const { text } of lines) {
        const request = requestOf(lineId(text) ?? '', store.head.requests, file.id)
        const place = request === undefined || isTaken(request) ? undefined : index.get(request)
        if (request === undefined || !place) continue
        if (stop.aborted) return
        const reply = await replies.read(place.offset, place.bytes, [])
        const outcome = goodReply(reply, file.endpoint)
        if (outcome) yield await reader.describe(file, request, text, outcome, pricingOf(stray))
      }
    }
  } finally {
    await replies.close()
  }
}

function goodReply(text: string, endpoint: Endpoint): LineOutcome | undefined {
  const line = parseResultLine(text)
  const outcome = line && classifyLine(line, endpoint)
  if (outcome?.kind !== 'reply') return undefined
  return readReply(endpoint, outcome.body).kind === 'reply' ? outcome : undefined
}
