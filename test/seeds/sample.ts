import { join } from 'node:path'
import { type Ended, type Program, startProgram } from '../support/program.ts'

type Variables = Readonly<Record<string, string>>

const SHELL = ['sh']

/** A sample of this folder as its users run it: `sample('batch-gpt/chat.sh', [url, model])`. */
export function startSample(file: string, args: readonly string[], env: Variables = {}): Program {
  const node = file.endsWith('.sh') ? SHELL : undefined
  return startProgram(join('test/seeds', file), args, env, node)
}

export const runSample = (file: string, args: readonly string[], env: Variables = {}): Promise<Ended> =>
  startSample(file, args, env).ended

/** What a sample by curl printed: the answer as it came, and its status below. */
export async function curled(file: string, args: readonly string[], env: Variables = {}) {
  const { stdout, stderr } = await runSample(file, args, env)
  const { body, status } = /^(?<body>.*)\n(?<status>\d{3})\n$/s.exec(stdout)?.groups ?? {}
  if (body === undefined) throw new Error(`${file} got nothing: ${stdout}${stderr}`)
  const parsed: unknown = JSON.parse(body)
  return { status: Number(status), body: parsed }
}
