import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chatEvents } from '../../../src/gateway/answers/chat-events.ts'
import { responsesEvents } from '../../../src/gateway/answers/responses-events.ts'
import { chatAnswers, responseAnswers } from './answer-shapes.ts'
import { SDKS } from './sdk-streams.ts'

/** What clients add to what they put together is taken off again. */
const ADDED = new Set(['parsed', 'parsed_arguments', 'output_parsed', 'output_text'])
const plain = (value: object): unknown =>
  JSON.parse(JSON.stringify(value, (name, inner) => (ADDED.has(name) ? undefined : inner)))

/** Of an empty text, older clients make none, whoever streams it to them. */
const withoutEmpty = (value: object): unknown =>
  JSON.parse(JSON.stringify(value, (name, inner) => (name === 'content' && inner === '' ? null : inner)))

describe.each(SDKS)('what the stream helper of openai $version puts together is what was answered', (sdk) => {
  test('a chat completion of any shape', async () => {
    const asPutTogether = sdk.version > 6 ? plain : withoutEmpty
    await fc.assert(
      fc.asyncProperty(chatAnswers, async (answer) => {
        const events = chatEvents(JSON.stringify(answer), { includeUsage: true })
        expect(plain(await sdk.chat(events))).toEqual(asPutTogether(answer))
      }),
      { numRuns: 60 },
    )
  })

  test('a response of any shape', async () => {
    await fc.assert(
      fc.asyncProperty(responseAnswers, async (answer) => {
        expect(plain(await sdk.response(responsesEvents(JSON.stringify(answer))))).toEqual(plain(answer))
      }),
      { numRuns: 60 },
    )
  })
})
