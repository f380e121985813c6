import { expect, test } from 'vitest'
import type { ProgressEvent } from '../../src/progress/events.ts'
import type { Context } from '../../src/requester/context.ts'
import { enqueueNew } from '../../src/requester/queue.ts'
import { requeueLive } from '../../src/requester/requeue-live.ts'
import { TaskStore } from '../../src/requester/store.ts'
import { PowerLossFs } from '../support/power-loss-fs.ts'
import { prepared, storeOptions } from '../support/store-plans.ts'
import { plainValuer } from '../support/valuation.ts'

/** A store with one sealed file of two requests, and what requeueing needs of a run. */
async function sealed() {
  const store = await TaskStore.open(storeOptions(new PowerLossFs()))
  const valuer = plainValuer()
  await store.commit((draft) => {
    enqueueNew(draft, [prepared('a'), prepared('b')], valuer)
    draft.apply({ kind: 'seal', file: 1, as: 'batch' })
  })
  const file = store.durable.state.files.get(1)
  if (!file) throw new Error('there is no file 1')
  const events: ProgressEvent[] = []
  const context: Pick<Context, 'store' | 'valuer' | 'emit'> = {
    store,
    valuer,
    emit: (event) => void events.push(event),
  }
  return { context, store, file, events }
}

test('what is left of a sealed file goes to another, and the file is forgotten', async () => {
  const { context, store, file, events } = await sealed()
  await requeueLive(context, file)
  const { state, requests } = store.durable
  expect([...state.files.values()]).toMatchObject([{ id: 2, phase: 'open', live: 2 }])
  expect(events).toEqual([
    { kind: 'batch-changed', file: 1, status: 'requeued', model: file.model, requests: 2 },
  ])
  expect(requests.get(1)).toMatchObject({ file: 2, queued: 1 })
})

test('a file that took up an earlier batch meanwhile is left alone: its answers are to come', async () => {
  const { context, store, file, events } = await sealed()
  const batch = { batchId: 'batch_1', inputFileId: 'file-1', adopted: true, tag: 'earlier' } as const
  await store.commit((draft) => draft.apply({ kind: 'created', file: 1, ...batch }))
  await requeueLive(context, file)
  const { state, requests } = store.durable
  expect([...state.files.values()]).toMatchObject([{ id: 1, phase: 'remote', batchId: 'batch_1', live: 2 }])
  expect(events).toEqual([])
  expect(requests.get(2)).toMatchObject({ file: 1, queued: 0 })
})
