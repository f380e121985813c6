import { once } from 'node:events'
import { z } from 'zod'
import { type NodeProgram, startNode } from './processes.ts'
import { ask } from './talk.ts'

const usedSchema = z.object({
  /** User and system time since its start, in seconds. */
  cpuSeconds: z.number(),
  /** The resident set, now and at its largest. */
  rssMb: z.number(),
  peakMb: z.number(),
})
/** What a server has used so far. */
export type Used = z.infer<typeof usedSchema>

/** A server that tells what it uses while it serves. It is ended as its user would end it, and waited for. */
export interface ProbedServer extends AsyncDisposable {
  readonly url: string
  used(): Promise<Used>
}

const PROBE = ['--import', new URL('programs/probe.ts', import.meta.url).href]

/** Starts a server, and waits for the line in which it tells its address. */
export async function startProbed(program: NodeProgram): Promise<ProbedServer> {
  const { child, stdout } = startNode({
    ...program,
    flags: [...PROBE, ...(program.flags ?? [])],
    hasChannel: true,
  })
  const closed = once(child, 'close')
  const url = await Promise.race([addressOf(stdout), closed.then(() => undefined)])
  if (url === undefined) throw new Error(`${program.file} ended before it served`)
  return {
    url,
    used: async () => usedSchema.parse(await ask(child, {})),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGTERM')
      await closed
    },
  }
}

/** The first address that is printed. What comes after it is read, too, and dropped. */
function addressOf(output: NodeJS.ReadableStream): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  let printed = ''
  output.setEncoding('utf8').on('data', (text: string) => {
    if (printed.length < 10_000) printed += text
    const address = /http:\/\/[\d.]+:\d+/.exec(printed.slice(0, printed.lastIndexOf('\n') + 1))?.[0]
    if (address !== undefined) resolve(address)
  })
  return promise
}
