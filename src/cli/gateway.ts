import { z } from 'zod'
import { gatewayHelpTable, gatewayTable } from '../util/gateway-options.ts'
import type { CommandIo } from './command-io.ts'
import { readCommand } from './command-line.ts'
import { renderHelp } from './help.ts'

const form = { table: gatewayTable, flags: z.object({}) } as const

/** `nightshift gateway [flags]`, and `gateway keys` and `gateway health`: resolves with the exit code. */
export async function gateway(argv: readonly string[], io: CommandIo): Promise<number> {
  const [first, ...rest] = argv
  if (first === 'keys') return (await import('./gateway-keys.ts')).gatewayKeys(rest, io)
  const isHealth = first === 'health'
  const command = isHealth
    ? readCommand(rest, { ...form, usage: 'nightshift gateway health' })
    : readCommand(argv, { ...form, usage: 'nightshift gateway' })
  if (command && isHealth) return (await import('./gateway-health.ts')).gatewayHealth(command.options, io)
  if (command) return (await import('./gateway-serve.ts')).serveGateway(command.options, io)
  io.stdout(gatewayHelp(io.columns))
  return 0
}

const ABOUT = `nightshift gateway: ordinary OpenAI calls in, half-price batches out

  nightshift gateway               serve at http://127.0.0.1:9487/v1
  nightshift gateway keys --help   keys for callers
  nightshift gateway health        ask the one on this machine how it is
`

const SECRETS = `Every flag has a variable, which the flag overrides: NIGHTSHIFT_ and its name,
as NIGHTSHIFT_WINDOW_MS. What is secret is a variable only:

  OPENAI_API_KEY              of the server that does the work; needed
  BATCH_SERVER_API_KEY        what callers use as their API key (or API_KEY)
  NIGHTSHIFT_WEBHOOK_SECRET   signs webhooks; without it there are none

See docs/gateway.md.`

function gatewayHelp(columns: number): string {
  const flags = renderHelp(gatewayHelpTable(), undefined, { name: 'nightshift gateway', columns })
  // What every help ends with, which is said here with more.
  const withoutEnd = flags.slice(0, flags.lastIndexOf('\n\n'))
  return `${ABOUT}\n${withoutEnd}\n\n${SECRETS}`
}
