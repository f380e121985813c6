import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { rawBody } from '../../../src/emulator/answers.ts'
import type { Intercept } from '../../../src/emulator/options.ts'
import { ask, chat, openRig, until } from './rig.ts'

/** Hears of the lines of all batches as they come to the server. */
function lineTap() {
  const lines: string[] = []
  const intercept: Intercept = async (request, next) => {
    if (request.method === 'POST' && new URL(request.url).pathname === '/v1/files') {
      const form = await request.clone().formData()
      const file = form.get('file')
      if (file instanceof File) lines.push(...(await file.text()).split('\n').filter((line) => line !== ''))
    }
    return next()
  }
  return { lines, intercept }
}

/** What the line of a body has for its body: all that follows. */
const bodyOf = (line: string | undefined): string | undefined => /"body":(.*)\}$/s.exec(line ?? '')?.[1]

const ODD = `{"model":"gpt-5-mini", "temperature": 0,"top_p":0.0, "seed":1E+2,"max_completion_tokens":  64 ,
  "messages":[{"role":"user","content":"tab\\t \\u00e9 \\/ \\"quoted\\" {\\"stream\\":true}"} ],
  "z_last":1,"a_first":[1.50, -0, 1e-7, 123456789012345678901234567890],"unknown":{"b":null,"a":{}},
  "metadata":{"k":"1"},\t"metadata":{"k":"2"},"stream":false,"response_format":{"type":"json_schema","json_schema":
  {"name":"n","schema":{"type":"object","properties":{"zeta":{},"alpha":{}}}}},"service_tier":"default","logit_bias":{}}`

describe('the server gets', () => {
  test('what the caller wrote, byte for byte, on one line, without what a batch cannot have', async () => {
    const { lines, intercept } = lineTap()
    await using rig = await openRig({ emulator: { intercept } })
    expect((await ask(rig, ODD)).status).toBe(200)
    expect(lines).toHaveLength(1)
    expect(bodyOf(lines[0])).toBe(
      `{"model":"gpt-5-mini", "temperature": 0,"top_p":0.0, "seed":1E+2,"max_completion_tokens":  64 ,   "messages":[{"role":"user","content":"tab\\t \\u00e9 \\/ \\"quoted\\" {\\"stream\\":true}"} ],   "z_last":1,"a_first":[1.50, -0, 1e-7, 123456789012345678901234567890],"unknown":{"b":null,"a":{}},   "metadata":{"k":"1"},\t"metadata":{"k":"2"},"response_format":{"type":"json_schema","json_schema":   {"name":"n","schema":{"type":"object","properties":{"zeta":{},"alpha":{}}}}},"logit_bias":{}}`,
    )
  })

  test('any text of any body as it was sent', async () => {
    const { lines, intercept } = lineTap()
    await using rig = await openRig({ emulator: { intercept }, settings: { mode: 'async', windowMs: 1 } })
    const value = fc.jsonValue({ maxDepth: 4 })
    const bodies = fc.sample(fc.dictionary(fc.string({ minLength: 1 }), value), 60)
    const sent = bodies.map((extra, index) =>
      JSON.stringify({
        ...extra,
        ...chat(`question ${index}`),
        stream: undefined,
        stream_options: undefined,
        service_tier: undefined,
      }),
    )
    const responses = await Promise.all(sent.map((text) => ask(rig, text)))
    const accepted = sent.filter((_, index) => responses[index]?.status === 202)
    expect(accepted.length).toBeGreaterThan(50)
    await until(() => lines.length === accepted.length)
    expect(new Set(lines.map(bodyOf))).toEqual(new Set(accepted))
  })
})

test('the caller gets what the server wrote, but for white space that no reader of JSON sees', async () => {
  const answer = { z: 0, a: [1.5, null], big: 12345678901234, text: 'é\u2028"\\', choices: [] }
  await using rig = await openRig({ emulator: { answer: () => rawBody(answer) } })
  const response = await ask(rig, chat('a'))
  expect(await response.text()).toBe(JSON.stringify(answer))
})
