import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'

export interface AskOptions {
  readonly input: Readable
  readonly output: Writable
  /** Aborted to take the question back. */
  readonly signal: AbortSignal
}

/** Asks a question that is answered by a line. Anything but `y` or `yes`, an end of the input or the signal is a no. */
export function askYesNo(question: string, { input, output, signal }: AskOptions): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false)
  output.write(question)
  // Not as a terminal: Ctrl+C is to stay a signal to the process.
  const lines = createInterface({ input, terminal: false })
  return new Promise((resolve) => {
    const take = (answer: string | undefined): void => {
      signal.removeEventListener('abort', onEnd)
      lines.off('close', onEnd)
      if (answer === undefined) output.write('\n')
      lines.close()
      // Otherwise it would keep the process alive.
      input.pause()
      resolve(answer !== undefined && /^\s*y(es)?\s*$/i.test(answer))
    }
    const onEnd = (): void => take(undefined)
    signal.addEventListener('abort', onEnd, { once: true })
    lines.once('line', take)
    lines.once('close', onEnd)
  })
}
