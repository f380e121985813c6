import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { StoreError } from '../../../src/gateway/store/store-error.ts'
import type { Fetch } from '../../../src/util/fetch.ts'

/** Where a process ends: at its nth commit or call, before or after that was carried out. */
export interface Death {
  readonly at: 'commit' | 'call'
  readonly nth: number
  readonly acted: boolean
}

const READS: ReadonlySet<string> = new Set([
  ...[
    'now',
    'request',
    'requests',
    'answers',
    'finishedAmong',
    'onDone',
    'loads',
    'nextReadyAt',
    'dueBatches',
  ],
  ...[
    'openBatches',
    'lines',
    'waitingFor',
    'batchByRemoteId',
    'remoteBatches',
    'retiredTags',
    'litter',
    'counts',
  ],
  ...['refusedModels', 'tenants', 'keys', 'pressed', 'batchTimes'],
])

/** A process that ends at some moment: from then on nothing that it does gets anywhere. */
export class Mortal {
  readonly #death: Death | undefined
  #commits = 0
  #calls = 0
  isDead = false

  constructor(death?: Death) {
    this.#death = death
  }

  /** How many commits it has made. */
  get commits(): number {
    return this.#commits
  }

  store(store: GatewayStore): GatewayStore {
    return new Proxy(store, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        return (...given: unknown[]) => this.#act(String(name), () => Reflect.apply(value, target, given))
      },
    })
  }

  #act(name: string, act: () => unknown): unknown {
    if (this.isDead) throw gone()
    return READS.has(name) ? act() : this.#commit(act)
  }

  async #commit(act: () => unknown): Promise<unknown> {
    this.#commits++
    return this.#mortally('commit', this.#commits, async () => act(), gone())
  }

  fetch(next: Fetch): Fetch {
    return (input, init) => {
      if (this.isDead) return Promise.reject(new TypeError('the process is gone'))
      this.#calls++
      return this.#mortally(
        'call',
        this.#calls,
        () => next(input, init),
        new TypeError('the process is gone'),
      )
    }
  }

  async #mortally<Result>(
    at: Death['at'],
    nth: number,
    act: () => Promise<Result>,
    end: Error,
  ): Promise<Result> {
    const death = this.#death
    if (death?.at !== at || death.nth !== nth) return act()
    this.isDead = true
    // Whatever comes of it, nobody hears of it.
    if (death.acted) await Promise.allSettled([act()])
    throw end
  }
}

const gone = (): StoreError => new StoreError('store_unavailable', 'the process is gone', { retryable: true })

/** A process that is suspended at some call, as a laptop is when its lid is closed, and wakes up later. */
export class Suspended {
  readonly #isAt: (call: string) => boolean
  readonly #acted: boolean
  readonly #awake = Promise.withResolvers<void>()
  #isAsleep = false

  /** `call`: method and URL. `acted`: the server carries it out meanwhile. */
  constructor(isAt: (call: string) => boolean, acted: boolean) {
    this.#isAt = isAt
    this.#acted = acted
  }

  get isAsleep(): boolean {
    return this.#isAsleep
  }

  wake(): void {
    this.#isAsleep = false
    this.#awake.resolve()
  }

  store(store: GatewayStore): GatewayStore {
    return new Proxy(store, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        const act = (...given: unknown[]): unknown => Reflect.apply(value, target, given)
        return (...given: unknown[]) =>
          this.#isAsleep ? this.#awake.promise.then(() => act(...given)) : act(...given)
      },
    })
  }

  fetch(next: Fetch): Fetch {
    return async (input, init) => {
      if (!this.#isAsleep && !this.#isAt(`${init?.method} ${String(input)}`)) return next(input, init)
      this.#isAsleep = true
      const early = this.#acted ? next(input, { ...init, signal: null }) : undefined
      await this.#awake.promise
      return early ?? next(input, { ...init, signal: null })
    }
  }
}
