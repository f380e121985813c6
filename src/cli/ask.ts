import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'

export interface AskOptions {
  readonly input: Readable
  readonly output: Writable
  /** Aborted to take the question back. */
  readonly signal: AbortSignal
}

/**
 * Asks a question that is answered by a line. Anything but `y` or `yes` is a no, and so is the end of the input, a
 * terminal that went away, or the signal.
 */
export function askYesNo(question: string, { input, output, signal }: AskOptions): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false)
  output.write(question)
  // Not as a terminal: Ctrl+C is to stay a signal to the process.
  const lines = createInterface({ input, terminal: false })
  const done = new AbortController()
  return new Promise<string | undefined>((resolve) => {
    const onEnd = (): void => resolve(undefined)
    signal.addEventListener('abort', onEnd, { once: true, signal: done.signal })
    lines.once('line', resolve)
    lines.once('close', onEnd)
    // It stays: what fails after the answer is no fault of the run either.
    lines.on('error', onEnd)
  }).then((answer) => {
    done.abort()
    if (answer === undefined) output.write('\n')
    lines.close()
    // Otherwise it would keep the process alive.
    input.pause()
    return answer !== undefined && /^\s*y(es)?\s*$/i.test(answer)
  })
}
