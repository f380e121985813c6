import type { TerminalReporter } from '../progress/terminal-reporter.ts'

/** A terminal that a live display is drawn on, while others may write to it, too. */
export interface OwnTerminal {
  /** Writes for the display itself. */
  readonly write: (text: string) => void
  /** From now on the display hears what it must know: other writers, another size, suspension, the end. */
  serve(display: Display): void
  /** Gives everything back. */
  end(): void
}

type Display = Pick<TerminalReporter, 'giveWay' | 'pause' | 'resume' | 'redraw'>
type Stream = NodeJS.WriteStream

/**
 * Takes standard error, and standard output where it is a terminal, for a display. What a task prints in its hooks
 * goes to these streams, too: the display is told before, for it could not know otherwise where the cursor is.
 */
export function attachTerminal(): OwnTerminal {
  const write = process.stderr.write.bind(process.stderr)
  const undo: (() => void)[] = []
  return {
    write: (text) => void write(text),
    serve: (display) => {
      for (const stream of [process.stdout, process.stderr]) undo.push(announceWrites(stream, display))
      undo.push(followSize(display), followSuspension(display), followEnd(display))
    },
    end: () => {
      for (const one of undo.splice(0)) one()
    },
  }
}

function announceWrites(stream: Stream, display: Display): () => void {
  if (!stream.isTTY) return () => {}
  const write = stream.write
  const announced = new Proxy(write, {
    apply: (target, self, args: readonly unknown[]) => {
      display.giveWay(textOf(args[0]))
      return Reflect.apply(target, self, args)
    },
  })
  stream.write = announced
  return () => {
    // Somebody else may have put something before it.
    if (stream.write === announced) stream.write = write
  }
}

const textOf = (chunk: unknown): string =>
  chunk instanceof Uint8Array ? Buffer.from(chunk).toString() : String(chunk)

function followSize(display: Display): () => void {
  const onResize = (): void => display.redraw()
  process.stderr.on('resize', onResize)
  return () => process.stderr.off('resize', onResize)
}

/**
 * Ctrl+Z: the shell gets a clean screen, and `fg` brings the display back. The signal is sent again with nobody to
 * listen, so that the system decides what it does: it stops nothing where no shell is there that could go on with it.
 */
function followSuspension(display: Display): () => void {
  const onSuspend = (): void => {
    display.pause()
    process.off('SIGTSTP', onSuspend)
    process.kill(process.pid, 'SIGTSTP')
    // From here on it has been continued, or was never stopped.
    process.on('SIGTSTP', onSuspend)
    display.resume()
  }
  const onContinue = (): void => display.redraw()
  process.on('SIGTSTP', onSuspend)
  process.on('SIGCONT', onContinue)
  return () => {
    process.off('SIGTSTP', onSuspend)
    process.off('SIGCONT', onContinue)
  }
}

/** Ends that nobody can wait for: a third Ctrl+C, `process.exit` in a hook, an error that nobody caught. */
function followEnd(display: Display): () => void {
  const onEnd = (): void => display.pause()
  process.on('exit', onEnd)
  process.on('uncaughtExceptionMonitor', onEnd)
  return () => {
    process.off('exit', onEnd)
    process.off('uncaughtExceptionMonitor', onEnd)
  }
}
