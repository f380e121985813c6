import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { Addresses } from './addresses.ts'
import type { Got } from './got.ts'
import { type Ask, answerText, promptOf, type Urgency } from './workload.ts'

const HOUR_S = 3600
const HEADERS: Readonly<Record<Urgency, Readonly<Record<string, string>>>> = {
  none: {},
  high: { 'X-Nightshift-Priority': 'high' },
  now: { 'X-Nightshift-Deadline': '10' },
  soon: { 'X-Nightshift-Deadline': '500' },
  later: { 'X-Nightshift-Deadline': `${6 * HOUR_S}` },
}

/** What a call says of itself beside its body. */
export const headersOf = ({ hasKey, urgency, serial }: Ask): Record<string, string> => ({
  ...HEADERS[urgency],
  ...(hasKey && { 'Idempotency-Key': `key of ${serial}` }),
})

const ASK_MS = 1500
const PASSING = [429, 502, 503]

const Accepted = z.object({ id: z.string() })
const Failure = z.object({ error: z.object({ message: z.string() }) })
const Status = z.object({
  status: z.string(),
  result: z.object({ status_code: z.number(), body: z.unknown() }).nullable(),
})
const Answer = z.union([
  z.object({ choices: z.tuple([z.object({ message: z.object({ content: z.string() }) })]) }),
  z.object({
    output: z.tuple([z.object({ content: z.tuple([z.object({ text: z.string() })]) })]),
  }),
  z.object({ data: z.tuple([z.object({ embedding: z.tuple([z.number()]) })]) }),
])

/** A call as a script makes it that does not want to be held: it asks again and again. */
export async function askByFetch(ask: Ask, addresses: Addresses, signal: AbortSignal): Promise<Got> {
  const caller = new FetchCaller(ask, addresses, signal)
  try {
    return ask.way === 'polled' ? await caller.poll() : await caller.sendAndAsk()
  } catch (error) {
    return { kind: 'broken', why: String(error) }
  }
}

class FetchCaller {
  readonly #ask: Ask
  readonly #addresses: Addresses
  readonly #signal: AbortSignal

  constructor(ask: Ask, addresses: Addresses, signal: AbortSignal) {
    this.#ask = ask
    this.#addresses = addresses
    this.#signal = signal
  }

  /** Sends the same body until it is answered. */
  async poll(): Promise<Got> {
    for (;;) {
      const { status, body } = await this.#post('poll')
      if (status !== 422) return this.#gotOf(status, body)
      await sleep(ASK_MS, undefined, { signal: this.#signal })
    }
  }

  /** Sends it once, and asks for what became of it. */
  async sendAndAsk(): Promise<Got> {
    const sent = await this.#post('async')
    if (sent.status !== 202) return this.#gotOf(sent.status, sent.body)
    const { id } = Accepted.parse(sent.body)
    for (;;) {
      await sleep(ASK_MS, undefined, { signal: this.#signal })
      const asked = await this.#fetch(`/v1/requests/${id}`)
      if (PASSING.includes(asked.status)) continue
      if (asked.status !== 200) return this.#gotOf(asked.status, asked.body)
      const { result } = Status.parse(asked.body)
      if (result) return this.#gotOf(result.status_code, result.body)
    }
  }

  #post(mode: string) {
    const { model, endpoint } = this.#ask
    const prompt = promptOf(this.#ask)
    const isChat = endpoint === '/v1/chat/completions'
    const text = isChat ? { messages: [{ role: 'user', content: prompt }] } : { input: prompt }
    return this.#fetch(endpoint, {
      method: 'POST',
      headers: { ...headersOf(this.#ask), 'X-Nightshift-Mode': mode },
      body: JSON.stringify({ model, ...text }),
    })
  }

  /** Tries again, elsewhere, while no gateway is there. */
  async #fetch(
    path: string,
    init: RequestInit = {},
  ): Promise<{ readonly status: number; readonly body: unknown }> {
    for (;;) {
      this.#signal.throwIfAborted()
      try {
        const response = await this.#addresses.fetch(`http://gateway${path}`, {
          ...init,
          signal: this.#signal,
        })
        return { status: response.status, body: await response.json() }
      } catch {
        await sleep(ASK_MS, undefined, { signal: this.#signal })
      }
    }
  }

  #gotOf(status: number, body: unknown): Got {
    if (PASSING.includes(status)) return { kind: 'broken', why: `status ${status}` }
    if (status >= 400) return { kind: 'error', status, message: Failure.parse(body).error.message }
    return { kind: 'answer', text: this.#textOf(body) }
  }

  #textOf(body: unknown): string {
    const answer = Answer.parse(body)
    if ('choices' in answer) return answer.choices[0].message.content
    if ('output' in answer) return answer.output[0].content[0].text
    const [vector] = answer.data[0].embedding
    const { serial } = this.#ask
    return vector === serial ? answerText(serial) : `vector of ${vector}`
  }
}
