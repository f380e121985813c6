import { JsonReporter } from '../progress/json-reporter.ts'
import type { Reporter } from '../progress/reporter.ts'
import { TerminalReporter } from '../progress/terminal-reporter.ts'
import type { DirectVerbose } from '../progress/terminal-text.ts'
import { systemClock } from '../util/clock.ts'
import { resolveOptions, type TaskOptions } from '../util/options.ts'
import { oneLine } from '../util/text.ts'
import { attachTerminal, type OwnTerminal } from './own-terminal.ts'

/** What a run says on standard error. */
export interface Screen {
  readonly reporter: Reporter
  /** Whether people can be asked something there. */
  readonly mayAsk: boolean
  /** Says that the run was told to stop. */
  stopping(message: string): void
  /** Says what is wrong beside the run, when no event can. */
  warn(message: string): void
  /** Says why the run ended, as far as no event did. The text is safe for a terminal. */
  fail(text: string): void
  /** Leaves the bottom of the screen to somebody else, until `resume`. */
  pause(): void
  resume(): void
  /** Gives the terminal back as it was. */
  end(): void
}

/** Screen as the option `log`, the terminal and the environment have it. */
export function openScreen(options: TaskOptions): Screen {
  const { log, directVerbose } = resolveOptions(options).options
  return log === 'json' ? jsonScreen(directVerbose) : terminalScreen(options)
}

function jsonScreen(directVerbose: DirectVerbose): Screen {
  const write = (line: string): void => void process.stderr.write(line)
  const reporter = new JsonReporter({ write, clock: systemClock, directVerbose })
  const nothing = (): void => {}
  return {
    reporter,
    mayAsk: false,
    stopping: (message) => reporter.note('note', message),
    warn: (message) => reporter.note('warning', message),
    fail: (text) => reporter.fail(text),
    pause: nothing,
    resume: nothing,
    end: nothing,
  }
}

function terminalScreen(options: TaskOptions): Screen {
  const { isTTY = false } = process.stderr
  const own = isLive(options, isTTY) ? attachTerminal() : undefined
  const reporter = terminalReporter(options, isTTY, own)
  own?.serve(reporter)
  return {
    reporter,
    mayAsk: (process.stdin.isTTY ?? false) && isTTY,
    stopping: (message) => reporter.stopping(message),
    warn: (message) => process.stderr.write(`warning: ${oneLine(message)}\n`),
    fail: (text) => process.stderr.write(`error: ${text}\n`),
    pause: () => reporter.pause(),
    resume: () => reporter.resume(),
    end: () => own?.end(),
  }
}

/** `live` insists on it also under CI; a terminal that cannot move its cursor never has it. */
function isLive(options: TaskOptions, isTTY: boolean): boolean {
  const { options: chosen, environment } = resolveOptions(options)
  if (!isTTY || environment.isDumb) return false
  return chosen.log === 'live' || (chosen.log === 'auto' && environment.mayRedraw)
}

function terminalReporter(
  options: TaskOptions,
  isTTY: boolean,
  own: OwnTerminal | undefined,
): TerminalReporter {
  const { options: chosen, environment } = resolveOptions(options)
  const { showWarnings, showErrors, directVerbose } = chosen
  return new TerminalReporter({
    write: own?.write ?? ((text) => process.stderr.write(text)),
    isTTY: own !== undefined,
    columns: () => process.stderr.columns ?? 0,
    rows: () => process.stderr.rows ?? 0,
    clock: systemClock,
    color: environment.color && (isTTY || environment.forceColor),
    showWarnings,
    showErrors,
    directVerbose,
  })
}
