import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createEmulator, type EmulatorOptions } from '../../src/emulator/index.ts'
import { type MultipartEvent, multipartEvents } from '../../src/emulator/multipart.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import { clientOf, errorOf } from './helpers.ts'

const DAY_MS = 86_400_000

function setUp(options: EmulatorOptions = {}) {
  const clock = new VirtualClock()
  const emulator = createEmulator({ clock, ...options })
  return { clock, emulator, openai: clientOf(emulator) }
}

describe('an upload', () => {
  test('comes back byte by byte', async () => {
    const { openai } = setUp()
    const content = Buffer.from(`\uFEFFä\r\n--\r\n${'x'.repeat(300_000)}\0`)
    const file = await openai.files.create({ purpose: 'batch', file: new File([content], 'ä "b".jsonl') })
    expect(file).toMatchObject({ bytes: content.length, filename: 'ä "b".jsonl', status: 'processed' })
    const answer = await openai.files.content(file.id)
    expect(answer.headers.get('content-length')).toBe(String(content.length))
    expect(Buffer.from(await answer.arrayBuffer()).equals(content)).toBe(true)
  })

  test('may be empty', async () => {
    const { openai } = setUp()
    const { id } = await openai.files.create({ purpose: 'batch', file: new File([''], 'a.jsonl') })
    expect(await (await openai.files.content(id)).text()).toBe('')
  })

  test('is refused for batches unless it is named .jsonl and fits', async () => {
    const { openai } = setUp({ limits: { maxFileBytes: 10 } })
    const create = (name: string, text: string) =>
      openai.files.create({ purpose: 'batch', file: new File([text], name) })
    expect(await errorOf(create('a.json', '{}'))).toMatchObject({ status: 400 })
    expect(await errorOf(create('a.jsonl', 'x'.repeat(11)))).toMatchObject({ status: 400, param: 'file' })
    expect((await create('a.jsonl', 'x'.repeat(10))).bytes).toBe(10)
    expect((await openai.files.list()).data).toHaveLength(1)
  })

  test('is refused when the form is not what it should be', async () => {
    const { emulator } = setUp()
    const send = async (fields: Readonly<Record<string, string | File>>) => {
      const form = new FormData()
      for (const [name, value] of Object.entries(fields)) form.append(name, value)
      const answer = await emulator.app.request('/v1/files', { method: 'POST', body: form })
      const body: unknown = await answer.json()
      return { status: answer.status, body }
    }
    const file = new File(['{}'], 'a.jsonl')
    expect(await send({ file })).toMatchObject({ status: 400, body: { error: { param: 'purpose' } } })
    expect(await send({ purpose: 'batch' })).toMatchObject({
      status: 400,
      body: { error: { param: 'file' } },
    })
    expect(await send({ purpose: 'lunch', file })).toMatchObject({
      status: 400,
      body: { error: { param: 'purpose' } },
    })
    const soon = { 'expires_after[anchor]': 'created_at', 'expires_after[seconds]': '60' }
    expect(await send({ purpose: 'batch', file, ...soon })).toMatchObject({ status: 400 })
    const plain = await emulator.app.request('/v1/files', { method: 'POST', body: '{}' })
    expect(plain.status).toBe(400)
  })

  test('that breaks off leaves nothing', async () => {
    const { emulator, openai } = setUp()
    const head = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{"half'
    const answer = await emulator.app.request('/v1/files', {
      method: 'POST',
      body: head,
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
    })
    expect(answer.status).toBe(400)
    expect((await openai.files.list()).data).toEqual([])
  })
})

test('files vanish when their time is over', async () => {
  const { clock, openai } = setUp()
  const file = (name: string) => new File(['{}'], name)
  const usual = await openai.files.create({ purpose: 'batch', file: file('a.jsonl') })
  const expires_after = { anchor: 'created_at', seconds: 3600 } as const
  const short = await openai.files.create({ purpose: 'batch', file: file('b.jsonl'), expires_after })
  const kept = await openai.files.create({ purpose: 'user_data', file: file('c.txt') })
  expect(usual.expires_at).toBe(usual.created_at + 30 * 86_400)
  expect(kept.expires_at).toBeNull()
  clock.advance(3_600_000)
  expect(await errorOf(openai.files.retrieve(short.id))).toMatchObject({ status: 404 })
  expect((await openai.files.list()).data.map(({ id }) => id)).toEqual([kept.id, usual.id])
  clock.advance(30 * DAY_MS)
  expect((await openai.files.list()).data.map(({ id }) => id)).toEqual([kept.id])
})

async function* inPieces(bytes: Buffer, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    yield bytes.subarray(at, at + size)
    at += size
  }
}

async function partsOf(events: AsyncIterable<MultipartEvent>) {
  const parts: { name: string; filename: string | undefined; text: string }[] = []
  for await (const event of events) {
    if (event.kind === 'part') parts.push({ name: event.name, filename: event.filename, text: '' })
    else {
      const last = parts.at(-1)
      if (last) last.text += Buffer.from(event.bytes).toString('latin1')
    }
  }
  return parts
}

test('a form is read the same however its bytes are cut into pieces', async () => {
  const content = fc.oneof(
    fc.string(),
    fc.constantFrom('', '\r\n', '--', '\r\n--', '\r\n--XYZ', '\r\n--XY\r\n'),
  )
  const text = fc
    .array(content)
    .map((pieces) => pieces.join(''))
    .filter((whole) => !whole.includes('\r\n--XYZW'))
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.stringMatching(/^[a-z]{1,8}$/), text)),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      async (fields, sizes) => {
        const body = Buffer.from(
          `${fields
            .map(
              ([name, text]) => `--XYZW\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${text}\r\n`,
            )
            .join('')}--XYZW--\r\n`,
          'latin1',
        )
        const parts = await partsOf(
          multipartEvents(inPieces(body, sizes), 'multipart/form-data; boundary=XYZW'),
        )
        const latin1 = (text: string): string => Buffer.from(text, 'latin1').toString('latin1')
        expect(parts).toEqual(
          fields.map(([name, text]) => ({ name, filename: undefined, text: latin1(text) })),
        )
      },
    ),
    { numRuns: 200 },
  )
})
