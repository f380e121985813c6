import { createHash } from 'node:crypto'
import { z } from 'zod'
import { lastMessage } from '../../demos/support/prompt.ts'
import {
  type AnswerFunction,
  createEmulator,
  type EmulatedRequest,
  type Emulator,
  type ServedEmulator,
  serveEmulator,
} from '../../src/emulator/index.ts'
import { type News, type Order, orderSchema, type Report } from './emulator-messages.ts'
import { callOf, KillSwitch } from './kill-switch.ts'

const tell = (news: News): void => void process.send?.(news)

/** Marks the requests that this program itself sends. */
const OWN = 'x-own'
const LATENCY = { validateMs: 20, runMs: 50, perRequestMs: 0.1, finalizeMs: 20, cancelMs: 20 }

const Create = z.object({ input_file_id: z.string() })
const Created = z.object({ id: z.string() })
const Batches = z.object({
  data: z.array(
    z.object({
      id: z.string(),
      status: z.string(),
      request_counts: z.object({ total: z.number() }),
      metadata: z.record(z.string(), z.string()),
    }),
  ),
  has_more: z.boolean(),
})
const Files = z.object({ data: z.array(z.object({ filename: z.string() })) })

/** Counts what is answered. */
class AnswerBook {
  readonly #inBatches = new Map<string, number>()
  readonly #directly = new Map<string, number>()
  readonly #lines = new Map<string, number>()

  count({ via, customId, body }: EmulatedRequest): void {
    add(via === 'batch' ? this.#inBatches : this.#directly, lastMessage(body))
    if (customId !== undefined) add(this.#lines, customId)
  }

  get pages() {
    return {
      inBatches: Object.fromEntries(this.#inBatches),
      directly: Object.fromEntries(this.#directly),
      lines: Object.fromEntries(this.#lines),
    }
  }
}

const add = (counts: Map<string, number>, name: string): void =>
  void counts.set(name, (counts.get(name) ?? 0) + 1)

/** Direct calls that wait until they are let go. */
class Gate {
  #open: PromiseWithResolvers<void> | undefined
  #held = 0

  shut(): void {
    this.#open = Promise.withResolvers()
    this.#held = 0
  }

  open(): void {
    this.#open?.resolve()
    this.#open = undefined
  }

  async pass(): Promise<void> {
    if (!this.#open) return
    this.#held++
    tell({ news: 'held', calls: this.#held })
    await this.#open.promise
  }
}

/** An emulator that does what it is told, and keeps a record of what it was asked. */
class OrderedEmulator {
  readonly #book = new AnswerBook()
  readonly #gate = new Gate()
  readonly #killSwitch = new KillSwitch()
  /** Hash of each batch's input: by the time of the report the file is gone. */
  readonly #inputs = new Map<string, string>()
  readonly #emulator: Emulator
  #server: ServedEmulator | undefined

  constructor(answer: AnswerFunction) {
    this.#emulator = createEmulator({
      answer: (request) => {
        this.#book.count(request)
        return answer(request)
      },
      intercept: async (request, next) => {
        if (request.headers.has(OWN)) return next()
        return this.#killSwitch.pass(request, () => this.#act(request, next))
      },
      latency: LATENCY,
    })
  }

  async serve(): Promise<string> {
    this.#server = await serveEmulator(this.#emulator, { port: 0 })
    return this.#server.url
  }

  async obey(order: z.output<typeof orderSchema>): Promise<void> {
    switch (order.do) {
      case 'kill':
        return this.#killSwitch.arm(order)
      case 'hold':
        return this.#gate.shut()
      case 'release':
        return this.#gate.open()
      case 'report':
        return tell({ news: 'report', report: await this.#report() })
      case 'close':
        return this.#close()
      default:
        order satisfies never
    }
  }

  async #act(request: Request, next: () => Promise<Response>): Promise<Response> {
    const call = callOf(request)
    if (call === 'POST /v1/chat/completions') await this.#gate.pass()
    if (call !== 'POST /v1/batches') return next()
    const hash = await this.#inputHash(Create.parse(await request.clone().json()).input_file_id)
    const response = await next()
    if (response.ok) this.#inputs.set(Created.parse(await response.clone().json()).id, hash)
    return response
  }

  async #inputHash(id: string): Promise<string> {
    const content = await (await this.#ask(`/v1/files/${id}/content`)).text()
    return createHash('sha256').update(content).digest('hex')
  }

  #ask(path: string): Promise<Response> {
    return this.#emulator.fetch(`http://emulator${path}`, { headers: { [OWN]: 'yes' } })
  }

  async #report(): Promise<Report> {
    const files = Files.parse(await (await this.#ask('/v1/files')).json())
    return {
      batches: (await this.#batches()).map(({ id, status, request_counts, metadata }) => ({
        status,
        requests: request_counts.total,
        tag: metadata.nightshift_tag ?? '',
        file: metadata.nightshift_file ?? '',
        input: this.#inputs.get(id) ?? '',
      })),
      files: files.data.map(({ filename }) => filename),
      ...this.#book.pages,
    }
  }

  async #batches() {
    const all: z.output<typeof Batches>['data'] = []
    for (let hasMore = true; hasMore; ) {
      const after = all.at(-1)?.id
      const page = await this.#ask(`/v1/batches?limit=100${after === undefined ? '' : `&after=${after}`}`)
      const { data, has_more } = Batches.parse(await page.json())
      all.push(...data)
      hasMore = has_more
    }
    return all
  }

  async #close(): Promise<void> {
    process.disconnect()
    this.#gate.open()
    await this.#emulator.close()
    await this.#server?.close()
  }
}

/** Serves an emulator, as `startEmulator` (emulator-process.ts) wants it, until it is told to close. */
export async function serveOrders(answer: AnswerFunction): Promise<void> {
  const emulator = new OrderedEmulator(answer)
  process.on('message', (message: Order) => void emulator.obey(orderSchema.parse(message)))
  tell({ news: 'ready', url: await emulator.serve() })
}
