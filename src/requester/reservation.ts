import type { QueueFile } from '../batch/queue-file.ts'
import type { Stray } from '../batch/stray.ts'
import { lineBody, lineId } from '../batch/wire-line.ts'
import { readLineChunks } from '../state/json-lines.ts'
import { addForecasts, noForecast, type TokenForecast } from '../tokens/forecast.ts'
import type { Context } from './context.ts'
import { queueFileName } from './files.ts'

/**
 * What a batch of all lines of a queue file can cost at most, in nano-USD, counted line by line: for one that was sent
 * when nothing had to be set aside. Lines without a ceiling count with their prompts, and are warned of.
 */
export async function mostOfSent(context: Context, file: QueueFile): Promise<number> {
  const { valuer, emit } = context
  await valuer.load(file.model)
  const sum = await forecastOfLines(context, file)
  const most = valuer.mostNanoUsd({ ...sum, unbounded: 0 }, file.model, 'batch')
  if (sum.unbounded > 0 || most === undefined) {
    const message = `batch file ${file.id} was sent without a hard cap, and ${sum.unbounded} of its requests have no maximum of output tokens: what they will cost is counted against --max-spend only when they are answered`
    emit({ kind: 'warning', code: 'no_ceiling', message })
  }
  return most ?? 0
}

/** Also of lines whose requests have gone elsewhere since: the batch has them all. */
async function forecastOfLines(
  { store, valuer }: Context,
  { id, endpoint, model }: QueueFile,
): Promise<TokenForecast> {
  let sum = noForecast
  for await (const lines of readLineChunks(store.fs, store.path(queueFileName(id)))) {
    for (const { text } of lines) {
      const line = { key: lineId(text) ?? '', endpoint, model, bodyText: lineBody(text) }
      sum = addForecasts(sum, valuer.forecast(line))
    }
  }
  return sum
}

/** The same for a batch beside its queue file's own; undefined, and warned of, when that file is gone. */
export async function mostOfStray(
  context: Context,
  { batchId, file: id }: Pick<Stray, 'batchId' | 'file'>,
): Promise<number | undefined> {
  const file = context.store.durable.state.files.get(id)
  if (file) return mostOfSent(context, file)
  const message = `batch ${batchId} came of a create that had been given up, and its lines are not kept any more: what it costs is counted against --max-spend only when its answers are here`
  context.emit({ kind: 'warning', code: 'no_ceiling', message })
  return undefined
}
