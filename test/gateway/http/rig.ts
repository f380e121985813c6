import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EmulatedRequest } from '../../../src/emulator/answers.ts'
import { createEmulator, type Emulator } from '../../../src/emulator/create-emulator.ts'
import type { EmulatorOptions } from '../../../src/emulator/options.ts'
import { type Gateway, openGateway } from '../../../src/gateway/gateway.ts'
import type { Log, LogFields } from '../../../src/gateway/log.ts'
import type { GatewaySettings } from '../../../src/gateway/settings.ts'
import { type Clock, systemClock } from '../../../src/util/clock.ts'
import { Secret } from '../../../src/util/secret.ts'
import { INSTANT } from '../../emulator/helpers.ts'

export const UPSTREAM_KEY = 'sk-upstream-key-of-the-gateway'

export const settingsFor = (dataDir: string, over: Partial<GatewaySettings> = {}): GatewaySettings => ({
  store: { kind: 'sqlite', dataDir },
  upstream: {
    apiKey: new Secret(UPSTREAM_KEY),
    baseUrl: 'http://emulator.local/v1',
    organization: undefined,
    project: undefined,
    fetch: undefined,
  },
  access: { kind: 'open', why: 'loopback' },
  mode: 'sync',
  windowMs: 5,
  maxBatchRequests: 50_000,
  maxBatchBytes: 200_000_000,
  maxBatchTokens: 1e9,
  pollMinMs: 10,
  pollMaxMs: 50,
  directBelow: 0,
  cacheMs: 0,
  claimMs: 86_400_000,
  maxHoldMs: 600_000,
  heartbeatMs: 15_000,
  maxBodyBytes: 1_000_000,
  maxQueued: 100_000,
  callConcurrency: 8,
  maxAttempts: 2,
  maxExpiries: 3,
  requestTimeoutMs: 60_000,
  createGraceMs: 10,
  retentionMs: 7 * 86_400_000,
  webhookSecret: undefined,
  ...over,
})

export interface RigOptions {
  readonly settings?: Partial<GatewaySettings>
  readonly emulator?: EmulatorOptions
  readonly clock?: Clock
  readonly log?: Log
  /** Of an earlier rig, whose data are still there. */
  readonly dataDir?: string
  /** The upstream of the settings is asked by sockets, not the emulator. */
  readonly ownFetch?: boolean
  /** Leads to the emulator of another rig. */
  readonly fetch?: typeof fetch
}

export interface Rig extends AsyncDisposable {
  readonly gateway: Gateway
  readonly emulator: Emulator
  readonly dataDir: string
  /** Listens on a free port of loopback; gives the URL, without a path. */
  url(): Promise<string>
}

/** A gateway over a real store and the emulator, all in this process. */
export async function openRig(options: RigOptions = {}): Promise<Rig> {
  const { clock = systemClock, log } = options
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'nightshift-gateway-')))
  const emulator = createEmulator({ latency: INSTANT, clock, ...options.emulator })
  const settings = settingsFor(dataDir, options.settings)
  const upstream = {
    ...settings.upstream,
    fetch: options.ownFetch ? undefined : (options.fetch ?? emulator.fetch),
  }
  const gateway = await openGateway({ ...settings, upstream }, { clock, ...(log && { log }) })
  return {
    gateway,
    emulator,
    dataDir,
    url: async () => (await gateway.listen({ port: 0 })).url,
    [Symbol.asyncDispose]: async () => {
      await gateway.close()
      await emulator.close()
      if (!options.dataDir) await rm(dataDir, { recursive: true, force: true })
    },
  }
}

/** Answers that wait until they are let go. */
export class AnswerGate {
  readonly #opened = Promise.withResolvers<void>()
  /** Questions that were asked so far. */
  asked = 0

  open(): void {
    this.#opened.resolve()
  }

  /** An answer function for the emulator: says what it was asked. */
  readonly answer = async ({ body }: EmulatedRequest): Promise<string> => {
    this.asked++
    await this.#opened.promise
    return `answer to ${JSON.stringify(body.messages ?? body.input)}`
  }
}

/** Looks again and again until it is so; a test's own timeout is what ends it otherwise. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 5))
}

/** What calls were answered with, and what was warned of. */
export class CallLog implements Log {
  readonly calls: (LogFields | undefined)[] = []
  readonly warned: string[] = []

  info(event: string, fields?: LogFields): void {
    if (event === 'call') this.calls.push(fields)
  }

  get statuses(): (LogFields[string] | undefined)[] {
    return this.calls.map((fields) => fields?.status)
  }

  warn(event: string): void {
    this.warned.push(event)
  }

  error(event: string): void {
    this.warned.push(event)
  }
}

export interface AskOptions {
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** A POST without a socket. `body`: an object, or text as it is to be sent. */
export async function ask(
  { gateway }: Pick<Rig, 'gateway'>,
  body: object | string,
  { path = '/v1/chat/completions', headers, signal }: AskOptions = {},
): Promise<Response> {
  return gateway.app.request(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(signal && { signal }),
  })
}

export const chat = (content: string, more: object = {}): object => ({
  model: 'gpt-5-mini',
  messages: [{ role: 'user', content }],
  ...more,
})

/** A number of the page of metrics; 0 when it is not there. */
export async function metric({ gateway }: Pick<Rig, 'gateway'>, name: string): Promise<number> {
  const text = await (await gateway.app.request('/metrics')).text()
  const line = text.split('\n').find((one) => one.startsWith(`nightshift_${name} `))
  return Number(line?.split(' ').at(-1) ?? 0)
}

/** Requests that are known to the gateway, ended or not. */
export async function requestsIn(rig: Pick<Rig, 'gateway'>): Promise<number> {
  const names = ['queued', 'batched', 'calling'].map((state) => metric(rig, `requests{state="${state}"}`))
  const open = await Promise.all(names)
  const endings = await Promise.all(
    ['succeeded', 'failed', 'cancelled'].map((ending) =>
      metric(rig, `requests_ended_total{ending="${ending}",route="batch"}`),
    ),
  )
  return [...open, ...endings].reduce((sum, one) => sum + one, 0)
}

export const held = (rig: Pick<Rig, 'gateway'>): Promise<number> => metric(rig, 'held_calls')
