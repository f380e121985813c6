import { describe, expect, test } from 'vitest'
import { errorEvent } from '../../../src/gateway/answers/error-events.ts'
import { HEARTBEAT } from '../../../src/gateway/answers/event-text.ts'
import { openaiErrorText } from '../../../src/gateway/body/openai-error.ts'
import { SDKS } from './sdk-streams.ts'

const CHAT = '/v1/chat/completions'
const body = openaiErrorText({ status: 400, code: 'too_hot', message: 'it is too hot', param: 'temperature' })
const answer = { status: 400, body }

/** What was thrown. */
async function thrown(work: Promise<unknown>): Promise<object> {
  try {
    await work
  } catch (error) {
    return Object(error)
  }
  throw new Error('nothing was thrown')
}

describe.each(SDKS)('the stream of openai $version', (sdk) => {
  const waited = (event: string) => [HEARTBEAT, HEARTBEAT, event]

  test('raises what a chat ends with', async () => {
    for (const read of [sdk.chat, sdk.chunks]) {
      const error = await thrown(read(waited(errorEvent(CHAT, answer))))
      expect(error).toMatchObject({
        message: expect.stringContaining('it is too hot'),
        code: 'too_hot',
        param: 'temperature',
      })
    }
  })

  test('raises what a response ends with', async () => {
    for (const read of [sdk.response, sdk.events]) {
      const error = await thrown(read(waited(errorEvent('/v1/responses', answer))))
      expect(error).toMatchObject({
        message: expect.stringContaining('it is too hot'),
        code: 'too_hot',
        param: 'temperature',
      })
    }
  })

  test.each(['{"detail":"no such thing"}', '{"error":"no such thing"}', 'no such thing', '"no such thing"'])(
    'raises %s, which is no error of OpenAI',
    async (odd) => {
      const { message } = Object(await thrown(sdk.chunks([errorEvent(CHAT, { status: 502, body: odd })])))
      expect(message).toContain('no such thing')
      const event = Object(
        await thrown(sdk.events([errorEvent('/v1/responses', { status: 502, body: odd })])),
      )
      expect(event.message).toContain('no such thing')
    },
  )
})

test('an error is sent as it is written, on one line', () => {
  const odd = '{\n "error": {"message": "x\u2028y",\r\n "code": 1.50}}'
  expect(errorEvent(CHAT, { status: 500, body: odd })).toBe(
    'data: {"error":{"message": "x\\u2028y",   "code": 1.50}}\n\n',
  )
})

test('the error of a response has its number', () => {
  const [, data] = errorEvent('/v1/responses', answer, 7).split('data: ')
  expect(JSON.parse(data ?? '')).toEqual({
    type: 'error',
    sequence_number: 7,
    code: 'too_hot',
    message: 'it is too hot',
    param: 'temperature',
    error: JSON.parse(body).error,
  })
})
