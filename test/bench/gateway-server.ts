import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ProbedServer, startProbed } from './probed-server.ts'
import { pathOf, type Server, STATE_DIR } from './processes.ts'

const COMMAND = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

export interface GatewayOrder {
  /** Of its own: data, or at least its log. */
  readonly folder: string
  /** The server that does the work. */
  readonly upstream: Server
  readonly flags: readonly string[]
  /** The database; without it the data are in the folder. */
  readonly postgres?: string | undefined
  /** Where a profile goes. */
  readonly profile?: string | undefined
}

/**
 * `nightshift gateway` as a process of its own, with its log in a file. It is started from source, of which Node keeps
 * what it has compiled: so it holds no compiler, as what is installed holds none.
 */
export async function startGateway(order: GatewayOrder): Promise<ProbedServer> {
  const { folder, upstream, flags, postgres, profile } = order
  const store = postgres === undefined ? ['--data-dir', join(folder, 'data')] : ['--postgres', postgres]
  const log = openSync(join(folder, 'gateway.log'), 'a')
  try {
    return await startProbed({
      file: COMMAND,
      args: ['gateway', '--port', '0', ...store, ...flags],
      env: { ...upstream.env, NODE_COMPILE_CACHE: join(STATE_DIR, 'compiled') },
      flags: profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`],
      log,
    })
  } finally {
    closeSync(log)
  }
}

export const startBare = (): Promise<ProbedServer> => startProbed({ file: pathOf('bare-server') })
