import type { QueueFile } from '../batch/queue-file.ts'
import { lineBody, lineId } from '../batch/wire-line.ts'
import { readLineChunks } from '../state/json-lines.ts'
import { batchChanged } from './batch-event.ts'
import type { Context } from './context.ts'
import { filesOf, queueFileName } from './files.ts'
import { enqueueAgain } from './queue.ts'
import { requestOf } from './result-index.ts'

/**
 * Queues what is left of a file that was never sent in this form, without the lines that a stray has answered, and
 * forgets the file, which is told. Whatever is left by a stop is done by the next run.
 */
export async function requeueLive(
  context: Pick<Context, 'store' | 'valuer' | 'emit'>,
  file: QueueFile,
): Promise<void> {
  const { store, valuer, emit } = context
  const { id, endpoint, model } = file
  for await (const lines of readLineChunks(store.fs, store.path(queueFileName(id)))) {
    await store.commit((draft) => {
      if (draft.state.files.get(id)?.phase !== 'sealed') return
      for (const { text } of lines) {
        const request = requestOf(lineId(text) ?? '', draft.requests, id)
        if (request === undefined) continue
        const line = { endpoint, model, bodyText: lineBody(text) }
        enqueueAgain(draft, request, line, { why: 'unsent' }, valuer)
      }
    })
  }
  const isDropped = await store.commit((draft) => {
    // An earlier batch of the file may have turned up, and been adopted, meanwhile.
    if (draft.state.files.get(id)?.phase !== 'sealed') return false
    draft.apply({ kind: 'dropped', file: id })
    for (const suffix of filesOf(id)) draft.forget(suffix)
    return true
  })
  if (isDropped) emit(batchChanged(file, 'requeued'))
}
