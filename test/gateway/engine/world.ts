import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import {
  createEmulator,
  type EmulatedRequest,
  type Emulator,
  type EmulatorOptions,
} from '../../../src/emulator/index.ts'
import { batchLineBytes } from '../../../src/gateway/body/line.ts'
import type { Arrival } from '../../../src/gateway/domain/arrival.ts'
import type { StoredAnswer } from '../../../src/gateway/domain/request.ts'
import { createEngine, type EngineOptions } from '../../../src/gateway/engine/create-engine.ts'
import type { Engine } from '../../../src/gateway/engine/engine.ts'
import type { Log, LogFields } from '../../../src/gateway/log.ts'
import type { GatewaySettings } from '../../../src/gateway/settings.ts'
import { openStore } from '../../../src/gateway/store/open-store.ts'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { OpenAIRemoteApi } from '../../../src/openai/remote-api.ts'
import type { Endpoint } from '../../../src/openai/wire.ts'
import { type Clock, systemClock } from '../../../src/util/clock.ts'
import type { Fetch } from '../../../src/util/fetch.ts'
import { Secret } from '../../../src/util/secret.ts'
import { hurryBackoffs } from '../../support/fault-world.ts'
import { arrivalOf } from '../../support/gateway-stores.ts'
import { uploadingAtOnce } from '../../support/upload-at-once.ts'
import { clockOfFastDisk, VirtualClock } from '../../support/virtual-clock.ts'

import { Mortal } from './mortal.ts'

export const BASE_URL = 'http://api.test/v1'
const MINUTE_MS = 60_000

export interface Asked {
  readonly text: string
  readonly model?: string
  readonly tenant?: string
  readonly endpoint?: Endpoint
  readonly arrival?: Partial<Arrival>
}

export interface LogLine {
  readonly level: 'info' | 'warn' | 'error'
  readonly event: string
  readonly fields: LogFields
}

/** A batch as the server made it, and the requests in its input file. */
export interface Made {
  readonly id: string
  readonly ids: readonly string[]
  /** Of its requests those that were in another unfinished batch when it was made. */
  readonly doubled: readonly string[]
}

export interface WorldOptions {
  readonly emulator?: EmulatorOptions
  readonly settings?: Partial<GatewaySettings>
  readonly engine?: Partial<EngineOptions>
  readonly clock?: Clock
  /** How long the wait for something to happen is between two looks, in milliseconds. Default: a second. */
  readonly stepMs?: number
  /** Default: a new SQLite folder. */
  readonly store?: GatewayStore
  /** How long a call may take, in milliseconds of real time. Default: a minute. */
  readonly timeoutMs?: number
  /** Between the engine and the server. */
  readonly fetch?: (next: Fetch) => Fetch
}

export const settingsOf = (dataDir: string, over: Partial<GatewaySettings> = {}): GatewaySettings => ({
  store: { kind: 'sqlite', dataDir },
  upstream: {
    apiKey: new Secret('sk-test'),
    baseUrl: BASE_URL,
    organization: undefined,
    project: undefined,
    fetch: undefined,
  },
  access: { kind: 'open', why: 'loopback' },
  mode: 'sync',
  windowMs: 5_000,
  maxBatchRequests: 50_000,
  maxBatchBytes: 200_000_000,
  maxBatchTokens: 1e9,
  pollMinMs: 5_000,
  pollMaxMs: 60_000,
  directBelow: 0,
  cacheMs: 0,
  claimMs: 86_400_000,
  maxHoldMs: 600_000,
  heartbeatMs: 15_000,
  maxBodyBytes: 10_000_000,
  maxQueued: 100_000,
  callConcurrency: 4,
  maxAttempts: 3,
  maxExpiries: 3,
  requestTimeoutMs: 60_000,
  createGraceMs: 30_000,
  retentionMs: 7 * 86_400_000,
  webhookSecret: undefined,
  ...over,
})

/** What a request asks, and is answered with: the answer names the question. */
export const questionIn = ({ body }: Pick<EmulatedRequest, 'body'>): string => {
  const { messages, input }: { messages?: unknown; input?: unknown } = body
  const last: unknown = Array.isArray(messages) ? messages.at(-1) : { content: input }
  return typeof last === 'object' && last !== null && 'content' in last ? String(last.content) : ''
}

const bodyOf = ({ text, model = 'gpt-5-mini', endpoint = '/v1/chat/completions' }: Asked): object =>
  endpoint === '/v1/chat/completions'
    ? { model, messages: [{ role: 'user', content: text }] }
    : { model, input: text }

let counter = 0

export function asked(question: Asked): Arrival {
  const { model = 'gpt-5-mini', tenant = 'default', endpoint = '/v1/chat/completions', arrival } = question
  const id = `req_${(++counter).toString(36)}_${question.text.replace(/\W/g, '_').slice(0, 20)}`
  const bodyText = JSON.stringify(bodyOf(question))
  const input = Math.ceil(Buffer.byteLength(bodyText) / 4)
  return arrivalOf({
    id,
    tenant,
    endpoint,
    model,
    bodyText,
    lineBytes: batchLineBytes({ id, endpoint, bodyText }),
    tokens: {
      requests: 1,
      input,
      output: 50,
      mostInput: input,
      mostOutput: 100,
      longest: input,
      unbounded: 0,
    },
    inputs: endpoint === '/v1/embeddings' ? 1 : 0,
    ...arrival,
  })
}

/** What is between an engine and the world, as long as its process is as it should be: nothing. */
export type Between = Pick<Mortal, 'store' | 'fetch'>

/** A server, a store, a clock, and engines on them, one after another or at once. */
export class World implements AsyncDisposable {
  readonly clock: Clock
  readonly dir = mkdtempSync(join(tmpdir(), 'nightshift-engine-'))
  readonly logs: LogLine[] = []
  readonly made: Made[] = []
  /** Ids of all requests that were put on record. */
  readonly ids: string[] = []
  /** How often each id was answered by the model in a batch. */
  readonly asks = new Map<string, number>()
  /** Method and path of each call that reached the server, ids left out. */
  readonly calls: string[] = []
  readonly #options: WorldOptions
  readonly #files = new Map<string, readonly string[]>()
  readonly #engines = new Set<Engine>()
  #store: GatewayStore | undefined
  #emulator: Emulator | undefined
  #replicas = 0

  constructor(options: WorldOptions = {}) {
    this.#options = options
    this.clock = options.clock ?? clockOfFastDisk()
  }

  static async open(options: WorldOptions = {}): Promise<World> {
    // Real time is not to be hurried.
    if (options.clock !== systemClock) hurryBackoffs()
    const world = new World(options)
    const dataDir = join(world.dir, 'store')
    world.#store = options.store ?? (await openStore({ kind: 'sqlite', dataDir, serve: true }, world.clock))
    world.serve(options.emulator)
    return world
  }

  get store(): GatewayStore {
    if (!this.#store) throw new Error('the world is not open')
    return this.#store
  }

  get emulator(): Emulator {
    if (!this.#emulator) throw new Error('the world is not open')
    return this.#emulator
  }

  get settings(): GatewaySettings {
    return settingsOf(join(this.dir, 'store'), this.#options.settings)
  }

  serve(options: EmulatorOptions = {}): void {
    const answer = (request: EmulatedRequest) => {
      const { customId } = request
      if (customId !== undefined) this.asks.set(customId, (this.asks.get(customId) ?? 0) + 1)
      return options.answer ? options.answer(request) : `re: ${questionIn(request)}`
    }
    const { clock } = this
    this.#emulator = createEmulator({
      clock,
      ...options,
      answer,
      intercept: (request, next) => this.#seen(request, next),
    })
  }

  /** A new engine on the store, with what may be between them. A mortal one ends at some moment. */
  engine(over: Partial<EngineOptions> = {}, process: Between = new Mortal()): Engine {
    const { clock, settings } = this
    const replica = `rep_${++this.#replicas}`
    const engine = createEngine({
      store: process.store(this.store),
      api: this.api(process),
      settings,
      clock,
      log: this.log,
      replica,
      spoolDir: join(this.dir, `spool-${replica}`),
      ...this.#options.engine,
      ...over,
    })
    this.#engines.add(engine)
    return engine
  }

  api(process: Between = new Mortal(), apiKey = 'sk-test'): OpenAIRemoteApi {
    const { clock } = this
    const { timeoutMs = MINUTE_MS } = this.#options
    const direct: Fetch = (input, init) => this.emulator.fetch(input, init)
    const send = clock instanceof VirtualClock ? uploadingAtOnce(direct, clock) : direct
    const fetch = process.fetch(this.#options.fetch?.(send) ?? send)
    return new OpenAIRemoteApi({ apiKey, baseURL: BASE_URL, fetch, timeoutMs, clock })
  }

  get log(): Log {
    const at =
      (level: LogLine['level']) =>
      (event: string, fields: LogFields = {}) =>
        void this.logs.push({ level, event, fields })
    return { info: at('info'), warn: at('warn'), error: at('error') }
  }

  events(event: string): LogFields[] {
    return this.logs.filter((line) => line.event === event).map(({ fields }) => fields)
  }

  /** Puts requests on record and tells the engine. Gives their ids. */
  async ask(engine: Engine | undefined, ...questions: readonly Asked[]): Promise<string[]> {
    const arrivals = questions.map(asked)
    const acceptances = await this.store.accept(arrivals, { maxQueued: 1e6 })
    for (const acceptance of acceptances)
      if (acceptance.kind !== 'new') throw new Error(`not new: ${JSON.stringify(acceptance)}`)
    engine?.arrived(arrivals)
    const ids = arrivals.map(({ id }) => id)
    this.ids.push(...ids)
    return ids
  }

  /** Lets time pass until all that was asked has ended. Fails after so much of it. */
  async finish(ids: readonly string[] = this.ids, mostMs = 4 * 24 * 60 * MINUTE_MS): Promise<void> {
    const { stepMs = 1_000 } = this.#options
    const begun = this.clock.now()
    const end = begun + mostMs
    while ((await this.store.finishedAmong(ids)).length < ids.length) {
      if (this.clock.now() > end) throw new Error(`not finished: ${await this.#report(ids)}`)
      await this.clock.sleep(stepMs + (this.clock.now() - begun) / 50)
    }
  }

  async #report(ids: readonly string[]): Promise<string> {
    const open = await this.store.openBatches()
    const requests = (await this.store.requests(ids)).filter(({ state }) => state !== 'done')
    return JSON.stringify({ open, requests: requests.slice(0, 5), logs: this.logs.slice(-10) }, undefined, 1)
  }

  /** Lets time pass until no batch is open and no remote file is left that is of no more use. */
  async settle(mostMs = 24 * 60 * MINUTE_MS): Promise<void> {
    const end = this.clock.now() + mostMs
    const isOpen = async () =>
      (await this.store.openBatches()).length > 0 || (await this.store.litter(1)).length > 0
    while (await isOpen()) {
      if (this.clock.now() > end) throw new Error(`not settled: ${await this.#report([])}`)
      await this.clock.sleep(this.#options.stepMs ?? 1_000)
    }
  }

  async answer(id = ''): Promise<StoredAnswer> {
    const answer = (await this.store.answers([id])).get(id)
    if (!answer) throw new Error(`${id} has no answer`)
    return answer
  }

  /** What each got: the text of an answer, or status and code of an error. */
  async results(ids: readonly string[] = this.ids): Promise<string[]> {
    const answers = await this.store.answers(ids)
    return ids.map((id) => {
      const answer = answers.get(id)
      return answer ? resultOf(answer) : 'nothing'
    })
  }

  /** Names of the gateway's files at the server. */
  async remoteFiles(): Promise<string[]> {
    const { data } = fileList.parse(await this.#peek('files'))
    return data.map(({ filename }) => filename).filter((name) => !name.startsWith('other-'))
  }

  /** Of all that were ever made, batches that are not over. */
  async liveBatches(): Promise<number> {
    let live = 0
    for (const { id } of this.made) if (await this.#isLive(id)) live++
    return live
  }

  async #isLive(id: string): Promise<boolean> {
    const { status } = z.object({ status: z.string() }).parse(await this.#peek(`batches/${id}`))
    return !['completed', 'failed', 'expired', 'cancelled'].includes(status)
  }

  /** What the server says, whatever faults it was told to have. */
  async #peek(path: string): Promise<unknown> {
    for (let tries = 0; tries < 20; tries++) {
      const response = await this.emulator
        .fetch(`${BASE_URL}/${path}`, { headers: { peek: '1' } })
        .catch(() => undefined)
      if (response?.ok) return await response.json()
    }
    throw new Error(`the server does not say ${path}`)
  }

  async close(engine: Engine): Promise<void> {
    this.#engines.delete(engine)
    await engine.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const engine of this.#engines) await engine.close()
    await this.#emulator?.close()
    await this.#store?.close()
    rmSync(this.dir, { recursive: true, force: true })
  }

  async #seen(request: Request, next: () => Promise<Response>): Promise<Response> {
    if (request.headers.has('peek')) return next()
    const { pathname } = new URL(request.url)
    const call = `${request.method} ${pathname.replace(/(file-|batch_)[^/]+/, ':id')}`
    this.calls.push(call)
    const isUpload = call === 'POST /v1/files'
    const isCreate = call === 'POST /v1/batches'
    const sent = isUpload || isCreate ? await request.clone().text() : ''
    const response = await next()
    if (response.ok && isUpload) this.#files.set(await idIn(response), customIds(sent))
    if (response.ok && isCreate) await this.#note(response)
    return response
  }

  async #note(response: Response): Promise<void> {
    const { id, input_file_id } = created.parse(await response.clone().json())
    const ids = this.#files.get(input_file_id) ?? []
    const before = this.made.filter((one) => one.ids.some((other) => ids.includes(other)))
    const live: Made[] = []
    for (const one of before) if (await this.#isLive(one.id)) live.push(one)
    this.made.push({ id, ids, doubled: ids.filter((one) => live.some((other) => other.ids.includes(one))) })
  }
}

const created = z.object({ id: z.string(), input_file_id: z.string() })
const fileList = z.object({ data: z.array(z.object({ id: z.string(), filename: z.string() })) })
const idIn = async (response: Response): Promise<string> =>
  z.object({ id: z.string() }).parse(await response.clone().json()).id

const customIds = (upload: string): string[] =>
  [...upload.matchAll(/^\{"custom_id":"([^"]+)"/gm)].map(([, id]) => id ?? '')

const chatAnswer = z.object({ choices: z.array(z.object({ message: z.object({ content: z.string() }) })) })
const errorAnswer = z.object({ error: z.object({ code: z.string().nullable().optional() }) })

function resultOf({ status, body }: StoredAnswer): string {
  const value: unknown = JSON.parse(body)
  const chat = chatAnswer.safeParse(value)
  if (chat.success) return chat.data.choices[0]?.message.content ?? ''
  const error = errorAnswer.safeParse(value)
  return error.success ? `${status} ${error.data.error.code}` : `${status} ${body.slice(0, 40)}`
}

export const many = (count: number, parts: Omit<Asked, 'text'> = {}, prefix = 'q'): Asked[] =>
  Array.from({ length: count }, (_, index) => ({ text: `${prefix}${index}`, ...parts }))
