/** The server that does the work, as `startEmulator` (../emulator.ts) starts it. Argument: how many doors it has. */
import { Hono } from 'hono'
import { z } from 'zod'
import { createEmulator, type Emulator, serveEmulator } from '../../../../src/emulator/index.ts'
import { callOf, KillSwitch } from '../../../support/kill-switch.ts'
import { type Call, type News, type Order, orderSchema, type Report } from '../messages.ts'
import { answers, serialIn } from '../workload.ts'

const LATENCY = {
  validateMs: 40,
  runMs: 150,
  perRequestMs: 5,
  finalizeMs: 40,
  cancelMs: 40,
  directMs: 150,
  flexMs: 100,
}

const Create = z.object({ input_file_id: z.string(), metadata: z.record(z.string(), z.string()) })
const Listed = z.object({
  data: z.array(z.object({ id: z.string(), status: z.string() })),
  has_more: z.boolean(),
})
const Created = z.object({ id: z.string() })
const Files = z.object({ data: z.array(z.object({ filename: z.string() })) })
const DIRECT = ['POST /v1/chat/completions', 'POST /v1/responses', 'POST /v1/embeddings']

interface Batch {
  readonly at: number
  readonly tag: string
  readonly serials: readonly number[]
}

const tell = (news: News): void => void process.send?.(news)

/** What was asked of it, by whomever. */
class Records {
  readonly #emulator: Emulator
  /** By remote id. */
  readonly #batches = new Map<string, Batch>()
  readonly #calls: Call[] = []

  constructor(emulator: Emulator) {
    this.#emulator = emulator
  }

  async act(door: number, request: Request): Promise<Response> {
    const call = callOf(request)
    if (DIRECT.includes(call)) return this.#direct(door, request)
    return call === 'POST /v1/batches' ? this.#create(request) : this.#pass(request)
  }

  async report(): Promise<Report> {
    const files = Files.parse(await (await this.#ask('/v1/files')).json())
    const statuses = await this.#statuses()
    return {
      batches: [...this.#batches].map(([id, { at, tag, serials }]) => ({
        status: statuses.get(id) ?? 'unknown',
        at,
        tag,
        serials: [...serials],
      })),
      calls: this.#calls,
      files: files.data.map(({ filename }) => filename),
    }
  }

  async #direct(door: number, request: Request): Promise<Response> {
    const text = await request.clone().text()
    const isFlex = text.includes('"service_tier":"flex"')
    const call: Call = { serial: serialIn(text) ?? 0, door, isFlex, from: Date.now() }
    this.#calls.push(call)
    try {
      return await this.#pass(request)
    } finally {
      call.to = Date.now()
    }
  }

  /** By the time of the report the input is gone. */
  async #create(request: Request): Promise<Response> {
    const { input_file_id: input, metadata } = Create.parse(await request.clone().json())
    const content = await (await this.#ask(`/v1/files/${input}/content`)).text()
    const response = await this.#pass(request)
    if (response.ok) {
      const { id } = Created.parse(await response.clone().json())
      const serials = content.split('\n').flatMap((line) => serialIn(line) ?? [])
      this.#batches.set(id, { at: Date.now(), tag: metadata.nightshift_tag ?? '', serials })
    }
    return response
  }

  async #statuses(): Promise<ReadonlyMap<string, string>> {
    const all = new Map<string, string>()
    for (let hasMore = true; hasMore; ) {
      const after = [...all.keys()].at(-1)
      const page = await this.#ask(`/v1/batches?limit=100${after === undefined ? '' : `&after=${after}`}`)
      const { data, has_more } = Listed.parse(await page.json())
      for (const { id, status } of data) all.set(id, status)
      hasMore = has_more
    }
    return all
  }

  #ask(path: string): Promise<Response> {
    return this.#pass(new Request(`http://emulator${path}`))
  }

  #pass(request: Request): Promise<Response> {
    return Promise.resolve(this.#emulator.app.fetch(request))
  }
}

/** An address of the server that one gateway alone calls. */
class Door {
  readonly killSwitch = new KillSwitch()
  readonly #app = new Hono()

  constructor(number: number, records: Records) {
    this.#app.all('*', ({ req: { raw } }) => this.killSwitch.pass(raw, () => records.act(number, raw)))
    this.#app.onError((error) => {
      throw error
    })
  }

  async open(): Promise<string> {
    const { url } = await serveEmulator({ app: this.#app }, { port: 0 })
    return url
  }
}

const emulator = createEmulator({ answer: answers, latency: LATENCY })
const records = new Records(emulator)
const doors = Array.from({ length: Number(process.argv[2] ?? 1) }, (_, number) => new Door(number, records))

async function obey(order: z.output<typeof orderSchema>): Promise<void> {
  switch (order.do) {
    case 'kill':
      return doors[order.door]?.killSwitch.arm({
        do: 'kill',
        pid: order.pid,
        signal: 'SIGKILL',
        at: order.at,
      })
    case 'spare':
      return doors[order.door]?.killSwitch.disarm()
    case 'report':
      return tell({ news: 'report', report: await records.report() })
    case 'close':
      return process.disconnect()
    default:
      order satisfies never
  }
}

// Also when whoever started it is gone: all is in memory.
process.once('disconnect', () => process.exit())
process.on('message', (message: Order) => void obey(orderSchema.parse(message)))
tell({ news: 'ready', urls: await Promise.all(doors.map((door) => door.open())) })
