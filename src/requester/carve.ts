import type { QueueFile } from '../batch/queue-file.ts'
import { addForecasts, noForecast, type TokenForecast } from '../tokens/forecast.ts'
import type { Context } from './context.ts'
import { addAgain, lineAgain } from './queue.ts'
import { requeueLive } from './requeue-live.ts'
import { linesOf } from './settle.ts'

/** Enough is taken when less than this share of the room is left over. */
const ENOUGH = 0.01

/**
 * Makes a batch of as many lines of a sealed file as can cost no more than `roomNanoUsd` together, counted exactly; the
 * others are queued again behind it. Resolves with false, and changes nothing, when not one line fits.
 */
export async function carve(context: Context, file: QueueFile, roomNanoUsd: number): Promise<boolean> {
  await context.valuer.load()
  const chosen = await choose(context, file, roomNanoUsd)
  if (chosen.size === 0) return false
  await moveChosen(context, file, chosen)
  await requeueLive(context, file)
  return true
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
  const { id, endpoint, model } = file
  let target: number | undefined
  for await (const lines of linesOf(context, file)) {
    target = await store.commit((draft) => {
      // An earlier batch of the file may have turned up meanwhile.
      if (draft.state.files.get(id)?.phase !== 'sealed') return target
      const into = target ?? draft.state.lastFile + 1
      if (target === undefined) draft.apply({ kind: 'open', file: into, endpoint, model })
      for (const { request, bodyText } of lines) {
        const tokens = chosen.get(request)
        const record = draft.requests.get(request)
        if (!tokens || record.state !== 'pending' || record.file !== id) continue
        const again = lineAgain(draft, request, { endpoint, bodyText, tokens })
        addAgain(draft, into, request, again, { why: 'unsent' })
      }
      return into
    })
  }
  await store.commit((draft) => {
    const made = draft.state.files.get(target ?? 0)
    if (made?.phase === 'open' && made.live > 0) draft.apply({ kind: 'seal', file: made.id, as: 'batch' })
  })
}
