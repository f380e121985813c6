import { fork } from 'node:child_process'
import { on, once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Moment, type News, newsSchema, type Order, type Report } from './emulator-messages.ts'
import { FROM_SOURCE } from './program.ts'

/** Share of the sentences that get no usable answer at first; `chanceOf` says which. */
export const HARD_SHARE = 0.04

/** An emulator in a process of its own, for programs in processes of theirs. */
export interface EmulatorProcess extends AsyncDisposable {
  /** Environment of a program that is to use it. */
  readonly env: Readonly<Record<string, string>>
  /** Kills a program at a moment that the server sees. */
  killAt(pid: number, signal: 'SIGINT' | 'SIGTERM' | 'SIGKILL', at: Moment): void
  /** From now on direct calls wait. Resolves when so many of them do. */
  hold(calls: number): Promise<void>
  /** Answers the direct calls that wait, and those to come. */
  release(): void
  report(): Promise<Report>
}

const CORPUS_SERVER = new URL('corpus-server.ts', import.meta.url)

/** `program`: one that calls `serveOrders` (emulator-server.ts). Default: the one for `demos/corpus-topics.ts`. */
export async function startEmulator(program: URL = CORPUS_SERVER): Promise<EmulatorProcess> {
  const server = fork(fileURLToPath(program), {
    execArgv: [],
    env: { PATH: process.env.PATH, ...FROM_SOURCE },
  })
  const order = (what: Order): void => void server.send(what)
  const news = async <Kind extends News['news']>(
    kind: Kind,
    isIt: (news: Extract<News, { news: Kind }>) => boolean = () => true,
  ): Promise<Extract<News, { news: Kind }>> => {
    for await (const [message] of on(server, 'message', { close: ['exit'] })) {
      const told = newsSchema.parse(message)
      if (isKind(told, kind) && isIt(told)) return told
    }
    throw new Error('the emulator ended')
  }
  const { url } = await news('ready')
  const stateDir = await mkdtemp(join(tmpdir(), 'nightshift-test-state-'))
  return {
    env: { OPENAI_API_KEY: 'sk-test', OPENAI_BASE_URL: `${url}/v1`, NIGHTSHIFT_STATE_DIR: stateDir },
    killAt: (pid, signal, at) => order({ do: 'kill', pid, signal, at }),
    hold: async (calls) => {
      order({ do: 'hold' })
      await news('held', (told) => told.calls >= calls)
    },
    release: () => order({ do: 'release' }),
    report: async () => {
      order({ do: 'report' })
      return (await news('report')).report
    },
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'exit')
      order({ do: 'close' })
      await closed
      await rm(stateDir, { recursive: true, force: true })
    },
  }
}

const isKind = <Kind extends News['news']>(news: News, kind: Kind): news is Extract<News, { news: Kind }> =>
  news.news === kind
