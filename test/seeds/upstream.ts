import { createEmulator, serveEmulator } from '../../src/emulator/index.ts'

/** What every question is answered with. */
export const ANSWER = 'One of them.'
const LATENCY = { validateMs: 5, runMs: 5, perRequestMs: 0, finalizeMs: 5, cancelMs: 5 }

/** The server that does the work. */
export interface Upstream extends AsyncDisposable {
  /** With `/v1`. */
  readonly url: string
  /** Of each question that was answered: its model, and `batch` or `direct`. */
  readonly answered: readonly string[]
  /** From now on questions are left unanswered, until they are let go. */
  hold(): void
  letGo(): void
}

export async function startUpstream(): Promise<Upstream> {
  const answered: string[] = []
  let gate: PromiseWithResolvers<void> | undefined
  const emulator = createEmulator({
    latency: LATENCY,
    answer: async ({ body, via }) => {
      await gate?.promise
      answered.push(`${String(body.model)} ${via}`)
      return ANSWER
    },
  })
  const server = await serveEmulator(emulator, { port: 0 })
  const letGo = () => {
    gate?.resolve()
    gate = undefined
  }
  return {
    url: `${server.url}/v1`,
    answered,
    hold: () => {
      gate ??= Promise.withResolvers()
    },
    letGo,
    [Symbol.asyncDispose]: async () => {
      letGo()
      await emulator.close()
      await server.close()
    },
  }
}
