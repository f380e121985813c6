import { execFile } from 'node:child_process'
import { join } from 'node:path'

/** A Python of its own with the `openai` package, or why there is none. */
export type Environment =
  | { readonly kind: 'ready'; readonly python: string; readonly version: string }
  | { readonly kind: 'absent'; readonly why: string }

interface Run {
  readonly isDone: boolean
  readonly stdout: string
  readonly stderr: string
}

const run = (command: string, args: readonly string[]): Promise<Run> =>
  new Promise((resolve) => {
    execFile(command, args, (error, stdout, stderr) => {
      resolve({ isDone: error === null, stdout, stderr: stderr || (error?.message ?? '') })
    })
  })

/** Makes an environment in an empty folder. `requirement`: as pip has it, `openai` or `openai==2.54.0`. */
export async function makeEnvironment(folder: string, requirement: string): Promise<Environment> {
  const made = await run('python3', ['-m', 'venv', folder])
  if (!made.isDone) return { kind: 'absent', why: `python3 makes no environment: ${lastLine(made)}` }
  const python = join(folder, 'bin', 'python')
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', requirement]
  const installed = await run(python, pip)
  if (!installed.isDone)
    return { kind: 'absent', why: `PyPI gives no ${requirement}: ${lastLine(installed)}` }
  const version = await run(python, ['-c', 'import openai; print(openai.__version__)'])
  return { kind: 'ready', python, version: version.stdout.trim() }
}

const lastLine = ({ stdout, stderr }: Run): string =>
  `${stdout}\n${stderr}`.trim().split('\n').at(-1) ?? 'it said nothing'
