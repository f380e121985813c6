import { parseCustomId } from '../../src/batch/custom-id.ts'
import type { Evidence } from './fault-world.ts'
import { answerTo, keyIn } from './twelve-task.ts'
import type { Exchange } from './wire-tap.ts'

/** Tokens as a server bills them. */
export interface Bill {
  readonly input: number
  readonly output: number
}

/** One line of a result file that arrived, or one direct reply. */
export interface Arrived {
  /** Of a line; undefined for a direct reply. */
  readonly customId: string | undefined
  /** Whose request it answers as it should be answered; undefined when it answers none. */
  readonly key: string | undefined
  readonly bill: Bill
}

const NOTHING: Bill = { input: 0, output: 0 }

export const billSum = (bills: readonly Bill[]): Bill =>
  bills.reduce(
    (sum, { input, output }) => ({ input: sum.input + input, output: sum.output + output }),
    NOTHING,
  )

const CONTENT = /^\/v1\/files\/([^/]+)\/content$/

export const isDirect = ({ path }: Exchange): boolean =>
  /^\/v1\/(chat\/completions|responses|embeddings)$/.test(path)

/** The key of the request that a direct call is for. */
export const keyOf = ({ body }: Pick<Exchange, 'body'>): string => keyIn(body)

/** What came of whole downloads: of a file that was read more than once, the last time. */
export const arrivedLines = (exchanges: readonly Exchange[]): readonly Arrived[] =>
  [...downloads(exchanges).values()].flatMap(linesIn)

function downloads(exchanges: readonly Exchange[]): ReadonlyMap<string, string> {
  const texts = new Map<string, string>()
  for (const { method, path, status, text } of exchanges) {
    const id = method === 'GET' ? CONTENT.exec(path)?.[1] : undefined
    if (id !== undefined && status === 200 && text !== undefined) texts.set(id, text)
  }
  return texts
}

const linesIn = (text: string): readonly Arrived[] => text.split('\n').flatMap(arrivedLine)

/** Of what came of whole downloads, what a batch was billed for: a line that is repeated was worked on once. */
export function billedLines({ exchanges, batches }: Pick<Evidence, 'exchanges' | 'batches'>): Arrived[] {
  const texts = downloads(exchanges)
  return batches.flatMap(({ outputFileId, errorFileId }) => {
    const lines = [outputFileId, errorFileId].flatMap((id) => linesIn(texts.get(id ?? '') ?? ''))
    const first = new Map(lines.toReversed().map((line) => [line.customId, line]))
    return [...first.values()]
  })
}

function arrivedLine(text: string): readonly Arrived[] {
  const line = parsed(text)
  if (!isObject(line) || typeof line.custom_id !== 'string') return []
  const { status_code: status, body } = isObject(line.response) ? line.response : {}
  const isOurs = parseCustomId(line.custom_id) !== undefined
  const isGood = isOurs && Number(status) === 200
  return [{ customId: line.custom_id, key: isGood ? keyAnswered(body) : undefined, bill: billOf(body) }]
}

/** Direct replies that arrived whole. */
export const arrivedReplies = (exchanges: readonly Exchange[]): readonly Arrived[] =>
  exchanges.flatMap((exchange) => {
    if (!isDirect(exchange) || exchange.text === undefined) return []
    const body = parsed(exchange.text)
    const key = exchange.status === 200 ? keyAnswered(body) : undefined
    return [{ customId: undefined, key, bill: billOf(body) }]
  })

/** What the server bills for batches, whatever it shows of them. */
export const batchBill = ({ batches }: Pick<Evidence, 'batches'>): Bill =>
  billSum(batches.map(({ kept }) => kept ?? NOTHING))

/** The key that a chat completion is a usable answer for. */
function keyAnswered(body: unknown): string | undefined {
  const [choice] = isObject(body) && Array.isArray(body.choices) ? body.choices : []
  const message = isObject(choice) && isObject(choice.message) ? choice.message : {}
  const answer = typeof message.content === 'string' ? parsed(message.content) : undefined
  const said = isObject(answer) && typeof answer.answer === 'string' ? answer.answer : ''
  const key = keyIn(said)
  return said === answerTo(key) ? key : undefined
}

function billOf(body: unknown): Bill {
  const usage = isObject(body) && isObject(body.usage) ? body.usage : {}
  const amount = (value: unknown): number => (typeof value === 'number' ? value : 0)
  return { input: amount(usage.prompt_tokens), output: amount(usage.completion_tokens) }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
