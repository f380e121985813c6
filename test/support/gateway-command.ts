import { gateway } from '../../src/cli/gateway.ts'
import { describeError } from '../../src/cli/report-error.ts'
import { systemClock } from '../../src/util/clock.ts'

/** What a command came to, as a shell would see it. */
export interface CommandEnd {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/**
 * `nightshift gateway ...` in this process, for what ends by itself: without the second that a process of its own takes to
 * start. Of the environment it gets what is given.
 */
export async function gatewayCommand(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<CommandEnd> {
  const lines: string[] = []
  const io = {
    stdout: (line: string) => void lines.push(`${line}\n`),
    signal: new AbortController().signal,
    columns: 80,
    clock: systemClock,
    env,
  }
  try {
    const code = await gateway(argv, io)
    return { code, stdout: lines.join(''), stderr: '' }
  } catch (error) {
    const { text, exitCode } = describeError(error)
    return { code: exitCode, stdout: lines.join(''), stderr: `${text}\n` }
  }
}
