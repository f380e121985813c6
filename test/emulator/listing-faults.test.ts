import { expect, test } from 'vitest'
import { createEmulator, type Scenario } from '../../src/emulator/index.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import { chatLines, clientOf, errorOf, INSTANT, submit, untilOver, upload } from './helpers.ts'

function start(...faults: Scenario['faults']) {
  const clock = new VirtualClock()
  const emulator = createEmulator({ clock, latency: INSTANT, scenario: { faults } })
  return { clock, emulator, openai: clientOf(emulator) }
}

const create = (openai: ReturnType<typeof clientOf>, fileId: string) =>
  openai.batches.create({
    input_file_id: fileId,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  })

test('a new batch is missing from listings for a number of calls', async () => {
  const { openai } = start({ fault: 'listing-lag', what: 'batch', calls: 2, when: { nth: 2 } })
  const first = await submit(openai, chatLines(1))
  const second = await submit(openai, chatLines(1))
  const listed = async () => (await openai.batches.list()).data.map(({ id }) => id)
  expect(await listed()).toEqual([first.id])
  expect((await openai.batches.retrieve(second.id)).id).toBe(second.id)
  expect(await listed()).toEqual([first.id])
  expect(await listed()).toEqual([second.id, first.id])
})

test('a new batch cannot be retrieved or cancelled for a while', async () => {
  const { clock, openai } = start({
    fault: 'listing-lag',
    what: 'batch',
    ms: 5000,
    from: ['get', 'cancel'],
  })
  const { id } = await submit(openai, chatLines(1))
  expect(await errorOf(openai.batches.retrieve(id))).toMatchObject({ status: 404 })
  expect(await errorOf(openai.batches.cancel(id))).toMatchObject({ status: 404 })
  expect((await openai.batches.list()).data).toHaveLength(1)
  clock.advance(5000)
  expect((await openai.batches.retrieve(id)).id).toBe(id)
})

test('a new upload is not found at first, by whatever wants it', async () => {
  const { openai } = start({
    fault: 'listing-lag',
    what: 'file',
    calls: 5,
    from: ['list', 'get', 'create', 'delete'],
  })
  const { id } = await upload(openai, chatLines(1))
  expect((await openai.files.list()).data).toEqual([])
  expect(await errorOf(openai.files.retrieve(id))).toMatchObject({ status: 404 })
  expect(await errorOf(openai.files.content(id))).toMatchObject({ status: 404 })
  expect(await errorOf(openai.files.delete(id))).toMatchObject({ status: 404 })
  expect(await errorOf(create(openai, id))).toMatchObject({ status: 400, param: 'input_file_id' })
  expect((await create(openai, id)).input_file_id).toBe(id)
})

test('the time and the calls of a lag, whichever is over first', async () => {
  const { clock, openai } = start({ fault: 'listing-lag', what: 'file', calls: 3, ms: 1000 })
  const shown = async () => (await openai.files.list()).data.length
  await upload(openai, chatLines(1))
  expect(await shown()).toBe(0)
  clock.advance(1000)
  expect(await shown()).toBe(1)
})

test('many pages of batches of other people, before and after ours', async () => {
  const { openai } = start({
    fault: 'listing-crowd',
    what: 'batch',
    before: 150,
    after: 250,
    metadata: { nightshift_tag: 'other-task-{n}' },
    when: { nth: 1 },
  })
  const ours = await submit(openai, chatLines(1))
  const latest = await submit(openai, chatLines(1))
  const all = []
  for await (const batch of openai.batches.list({ limit: 100 })) all.push(batch)
  const ids = all.map(({ id }) => id)
  expect(ids.indexOf(latest.id)).toBe(0)
  expect(ids.indexOf(ours.id)).toBe(251)
  expect(new Set(ids).size).toBe(402)
  const tags = all.flatMap(({ metadata }) => metadata?.nightshift_tag ?? [])
  expect(new Set(tags).size).toBe(400)
  expect(tags).toContain('other-task-1')
  expect(await openai.batches.retrieve(all[1]?.id ?? '')).toMatchObject({ status: 'completed' })
})

test('files of other people', async () => {
  const { openai } = start({ fault: 'listing-crowd', what: 'file', after: 3, filename: 'theirs-{n}.jsonl' })
  await upload(openai, chatLines(1))
  const names = (await openai.files.list()).data.map(({ filename }) => filename)
  expect(names).toEqual(['theirs-3.jsonl', 'theirs-2.jsonl', 'theirs-1.jsonl', 'input.jsonl'])
})

test('small pages', async () => {
  const { openai } = start(
    { fault: 'listing-pages', what: 'batch', size: 2 },
    { fault: 'listing-pages', what: 'file', size: 3 },
  )
  for (let batch = 0; batch < 5; batch++) await submit(openai, chatLines(1))
  const first = await openai.batches.list({ limit: 100 })
  expect(first.data).toHaveLength(2)
  expect(first.has_more).toBe(true)
  const ids = new Set<string>()
  for await (const { id } of openai.batches.list()) ids.add(id)
  expect(ids.size).toBe(5)
  for (const id of ids) await untilOver(openai, id)
  expect((await openai.files.list()).data).toHaveLength(3)
})
