import { fork } from 'node:child_process'
import { on, once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Moment } from '../../support/emulator-messages.ts'
import { FROM_SOURCE } from '../../support/program.ts'
import { type News, newsSchema, type Order, type Report } from './messages.ts'

/** The server that does the work, in a process of its own that nobody kills. */
export interface EmulatorProcess extends AsyncDisposable {
  /** Base URLs, one for each gateway: by them it is known who calls. */
  readonly baseUrls: readonly string[]
  /** Kills a gateway at one of its calls to come. */
  killAt(door: number, pid: number, at: Moment): void
  /** That gateway is not to be killed any more. */
  spare(door: number): void
  report(): Promise<Report>
}

const PROGRAM = fileURLToPath(new URL('programs/emulator.ts', import.meta.url))

export async function startEmulator(doors: number): Promise<EmulatorProcess> {
  const server = fork(PROGRAM, [`${doors}`], {
    execArgv: [],
    env: { PATH: process.env.PATH, ...FROM_SOURCE },
  })
  const order = (what: Order): void => void server.send(what)
  const news = async <Kind extends News['news']>(kind: Kind): Promise<Extract<News, { news: Kind }>> => {
    for await (const [message] of on(server, 'message', { close: ['exit'] })) {
      const told = newsSchema.parse(message)
      if (isKind(told, kind)) return told
    }
    throw new Error('the emulator ended')
  }
  const { urls } = await news('ready')
  return {
    baseUrls: urls.map((url) => `${url}/v1`),
    killAt: (door, pid, at) => order({ do: 'kill', door, pid, at }),
    spare: (door) => order({ do: 'spare', door }),
    report: async () => {
      order({ do: 'report' })
      return (await news('report')).report
    },
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'exit')
      order({ do: 'close' })
      await closed
    },
  }
}

const isKind = <Kind extends News['news']>(news: News, kind: Kind): news is Extract<News, { news: Kind }> =>
  news.news === kind
