import { expect, test } from 'vitest'
import { rig } from './rig.ts'

const chat = (content: string, extra = {}) => ({ method: 'POST', body: JSON.stringify({ model: 'gpt-5-mini', messages: [{ role: 'user', content }], ...extra }) })
const COMPLETION = { id: 'c1', object: 'chat.completion', created: 1, model: 'gpt-5-mini', choices: [{ index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop' }] }
const until = async (what: () => boolean | Promise<boolean>) => { while (!(await what())) await new Promise(setImmediate) }

test('held, answered', async () => {
  const r = await rig()
  const held = Promise.resolve(r.app.request('/v1/chat/completions', chat('a')))
  await until(async () => (await r.store.counts()).queued === 1)
  await r.answerAll(() => ({ body: COMPLETION }))
  const res = await held
  expect(res.status).toBe(200)
  expect(await res.json()).toEqual(COMPLETION)
  console.log(Object.fromEntries(res.headers))
  const a = await r.app.request('/chat/completions', { ...chat('b'), headers: { 'x-nightshift-mode': 'async' } })
  console.log(a.status, await a.text(), Object.fromEntries(a.headers))
  const p = await r.app.request('/chat/completions', { ...chat('b'), headers: { 'x-nightshift-mode': 'poll' } })
  console.log(p.status, await p.text(), Object.fromEntries(p.headers))
  console.log(await (await r.app.request('/metrics')).text())
  console.log(await (await r.app.request('/v1/batches')).text())
  console.log(await (await r.app.request('/v1/batches?limit=0')).text())
  console.log((await r.app.request('/v1/batches', { method: 'POST' })).status, await (await r.app.request('/v1/nope')).text())
  console.log(await (await r.app.request('/healthz')).text())
  await r.close()
})

test('sockets', async () => {
  const r = await rig()
  const l = await r.listen()
  const held = fetch(`${l.url}/v1/chat/completions`, chat('a'))
  await until(async () => (await r.store.counts()).queued === 1)
  await r.answerAll(() => ({ body: COMPLETION }))
  const res = await held
  expect(await res.json()).toEqual(COMPLETION)
  const id = res.headers.get('x-nightshift-request-id') ?? ''
  await until(async () => (await r.store.request(id, 'default'))?.deliveredAt !== undefined)
  const s = fetch(`${l.url}/v1/chat/completions`, chat('a', { stream: true }))
  await until(async () => (await r.store.counts()).queued === 1)
  await r.answerAll(() => ({ body: COMPLETION }))
  console.log(await (await s).text())
  const g = fetch(`${l.url}/v1/requests/${id}`)
  console.log(await (await g).text())
  const held2 = fetch(`${l.url}/v1/chat/completions`, chat('a'))
  await until(async () => (await r.store.counts()).queued === 1)
  r.front.stop()
  const h2 = await held2
  console.log(h2.status, await h2.text())
  await l.close()
  await r.close()
})
