import type { QueueFile } from '../batch/queue-file.ts'
import { addForecasts, noForecast, type TokenForecast } from '../tokens/forecast.ts'
import type { Context } from './context.ts'
import type { Draft } from './draft.ts'
import { addAgain, lineAgain } from './queue.ts'
import { linesOf } from './settle.ts'

/** Enough is taken when less than this share of the room is left over. */
const ENOUGH = 0.01
/** A larger part of a batch is a batch of its own: a part is put together in memory. */
const PART_BYTES = 16 * 1024 * 1024

/**
 * Makes a batch of as many lines of a sealed file as can cost no more than `roomNanoUsd` together, counted exactly. The
 * others stay where they are, to be carved from in their turn. Resolves with the number of lines; 0 when not one fits,
 * and then nothing is changed.
 */
export async function carve(context: Context, file: QueueFile, roomNanoUsd: number): Promise<number> {
  await context.valuer.load(file.model)
  const chosen = await choose(context, file, roomNanoUsd)
  if (chosen.size > 0) await moveChosen(context, file, chosen)
  return chosen.size
}

interface ChosenLine {
  readonly request: number
  readonly bodyText: string
}

type Chosen = ReadonlyMap<number, TokenForecast>

async function choose(context: Context, file: QueueFile, roomNanoUsd: number): Promise<Chosen> {
  const { valuer } = context
  const chosen = new Map<number, TokenForecast>()
  let sum = noForecast
  for await (const lines of linesOf(context, file)) {
    for (const { request, ...line } of lines) {
      const tokens = valuer.forecast(line, { exact: true })
      const all = addForecasts(sum, tokens)
      const most = valuer.mostNanoUsd(all, file.model, 'batch')
      if (most === undefined || most > roomNanoUsd) continue
      chosen.set(request, tokens)
      sum = all
      if (roomNanoUsd - most < ENOUGH * roomNanoUsd) return chosen
    }
  }
  return chosen
}

async function moveChosen(context: Context, file: QueueFile, chosen: Chosen): Promise<void> {
  const { store } = context
  let part: ChosenLine[] = []
  let bytes = 0
  const move = async (): Promise<void> => {
    const lines = part
    part = []
    bytes = 0
    if (lines.length > 0) await store.commit((draft) => movePart(draft, file, lines, chosen))
  }
  for await (const lines of linesOf(context, file)) {
    for (const { request, bodyText } of lines.filter(({ request }) => chosen.has(request))) {
      part.push({ request, bodyText })
      bytes += bodyText.length
    }
    if (bytes >= PART_BYTES) await move()
  }
  await move()
}

/** In one commit: an open file might be sealed otherwise, or be given other lines. */
function movePart(
  draft: Draft,
  { id, endpoint, model }: QueueFile,
  lines: readonly ChosenLine[],
  chosen: Chosen,
): void {
  // An earlier batch of the file may have turned up meanwhile, and answers to some of its lines.
  if (draft.state.files.get(id)?.phase !== 'sealed') return
  const left = lines.filter(({ request }) => {
    const record = draft.requests.get(request)
    return record.state === 'pending' && record.file === id
  })
  if (left.length === 0) return
  const into = draft.state.lastFile + 1
  draft.apply({ kind: 'open', file: into, endpoint, model })
  for (const { request, bodyText } of left) {
    const tokens = chosen.get(request) ?? noForecast
    addAgain(draft, into, request, lineAgain(draft, request, { endpoint, bodyText, tokens }), {
      why: 'unsent',
    })
  }
  draft.apply({ kind: 'seal', file: into, as: 'batch' })
}
