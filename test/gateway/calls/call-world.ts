import type { EmulatedRequest, EmulatorOptions } from '../../../src/emulator/index.ts'
import { httpAnswer } from '../../../src/emulator/index.ts'
import type { Arrival } from '../../../src/gateway/domain/arrival.ts'
import type { StoredRequest } from '../../../src/gateway/domain/request.ts'
import type { CallRunner } from '../../../src/gateway/engine/call-runner.ts'
import { createCalls } from '../../../src/gateway/engine/calls/calls.ts'
import { createValuer } from '../../../src/gateway/engine/money/valuer.ts'
import { StoreTime } from '../../../src/gateway/engine/store-time.ts'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { questionIn, World, type WorldOptions } from '../engine/world.ts'

export { httpAnswer, questionIn }

export const valuer = createValuer()
export const MODEL = 'gpt-5-mini'
export const TOKENS = {
  requests: 1,
  input: 20,
  output: 50,
  mostInput: 40,
  mostOutput: 100,
  longest: 40,
  unbounded: 0,
} as const

export const MOST = {
  batch: valuer.mostNanoUsd(MODEL, 'batch', TOKENS, Date.UTC(2026, 0, 1)) ?? 0,
  direct: valuer.mostNanoUsd(MODEL, 'direct', TOKENS, Date.UTC(2026, 0, 1)) ?? 0,
}

/** A request that is to be called directly, and may cost what its tokens say. */
export const priced = (parts: Partial<Arrival> = {}): Partial<Arrival> => ({
  tokens: TOKENS,
  mostNanoUsd: MOST.batch,
  mostDirectlyNanoUsd: MOST.direct,
  route: 'direct',
  ...parts,
})

/** A world in which calls are made, and what the server saw of them. */
export class CallWorld implements AsyncDisposable {
  readonly world: World
  /** Bodies of the calls that were answered by the model, in their order. */
  readonly bodies: EmulatedRequest['body'][] = []
  readonly #runners = new Set<CallRunner>()
  #replicas = 0

  constructor(world: World, bodies: EmulatedRequest['body'][]) {
    this.world = world
    this.bodies = bodies
  }

  static async open({ emulator = {}, ...options }: WorldOptions = {}): Promise<CallWorld> {
    const bodies: EmulatedRequest['body'][] = []
    const world = await World.open({ ...options, emulator: seen(emulator, bodies) })
    return new CallWorld(world, bodies)
  }

  get store(): GatewayStore {
    return this.world.store
  }

  get clock() {
    return this.world.clock
  }

  /** Another process that calls, at work. */
  start(wrap: (store: GatewayStore) => GatewayStore = (store) => store): CallRunner {
    const { clock, log, settings } = this.world
    const store = wrap(this.store)
    const replica = `rep_calls_${++this.#replicas}`
    const time = new StoreTime(store, clock)
    const runner = createCalls({ store, api: this.world.api(), settings, clock, time, log, replica, valuer })
    this.#runners.add(runner)
    runner.start()
    return runner
  }

  /** Puts priced requests on record, one for each text. */
  ask(texts: readonly string[], parts: Partial<Arrival> = {}): Promise<string[]> {
    const arrival = priced(parts)
    const { model = MODEL, endpoint = '/v1/chat/completions', tenant = 'default' } = parts
    return this.world.ask(undefined, ...texts.map((text) => ({ text, model, endpoint, tenant, arrival })))
  }

  /** Puts one on record, has it called, and gives it when it has ended. */
  async askAndFinish(parts: Partial<Arrival> = {}): Promise<StoredRequest> {
    const [id = ''] = await this.ask(['question'], parts)
    this.start()
    await this.world.finish([id], 3_600_000)
    return this.request(id)
  }

  async request(id: string): Promise<StoredRequest> {
    const [request] = await this.store.requests([id])
    if (!request) throw new Error(`there is no ${id}`)
    return request
  }

  /** Calls that reached the server, whatever it made of them. */
  get sent(): number {
    return this.world.calls.filter((call) => call === 'POST /v1/chat/completions').length
  }

  async close(runner: CallRunner): Promise<void> {
    this.#runners.delete(runner)
    await runner.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const runner of this.#runners) await runner.close()
    await this.world[Symbol.asyncDispose]()
  }
}

/** The same server, whose model writes down what it is asked. */
const seen = (options: EmulatorOptions, bodies: EmulatedRequest['body'][]): EmulatorOptions => ({
  ...options,
  answer: (request) => {
    bodies.push(request.body)
    return options.answer ? options.answer(request) : `re: ${questionIn(request)}`
  },
})
