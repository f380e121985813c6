/** What floor and runner both do, so that they differ in nothing but how. */
export const MODEL = 'gpt-5-mini'
/** Lines of one batch file, for both. */
export const BATCH_REQUESTS = 50_000
/** How often running batches are asked for, by both; the least that the runner allows. */
export const POLL_SECONDS = 1

const BODY_BYTES = 1024
const ANSWER_BYTES = 640

const SENTENCE = 'The rain had stopped, and the harbour lay quiet under a thin light. '
const filler = (bytes: number): string => SENTENCE.repeat(Math.ceil(bytes / SENTENCE.length)).slice(0, bytes)

const bodyOf = (content: string) => ({ model: MODEL, messages: [{ role: 'user' as const, content }] })

const FRAME_BYTES = JSON.stringify(bodyOf('')).length
const NUMBER_BYTES = 10
const TEXT = filler(BODY_BYTES - FRAME_BYTES - NUMBER_BYTES)

export interface Work {
  readonly key: string
  readonly body: ReturnType<typeof bodyOf>
}

/** One request, whose body has 1,024 bytes. */
export const workOf = (index: number): Work => ({
  key: `request-${index}`,
  body: bodyOf(String(index).padStart(NUMBER_BYTES, '0') + TEXT),
})

/** What everything is answered with: with all that stands around it, a reply is a little over 1 KB. */
export const ANSWER = filler(ANSWER_BYTES)

/** An answer that no other request has: with it, what comes back can be told to be its own. */
export const ownAnswer = ({ messages }: Pick<Work['body'], 'messages'>): string =>
  `${messages[0]?.content.slice(0, NUMBER_BYTES) ?? ''} ${ANSWER}`

/** One line of output. */
export const outputOf = (key: string, text: string) => ({ key, text })
