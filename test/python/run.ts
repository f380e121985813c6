/**
 * Runs the Python samples on the Python `openai` client, against a gateway and a server of its own:
 *
 *     npm run test:python [-- openai==2.54.0]
 *
 * Takes one or more requirements as pip has them; by itself the newest client, which it installs from PyPI into a
 * folder that it removes. Exit code 1 when anything is not as it must be, 77 when there is no Python or no PyPI.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errorText } from '../../src/errors.ts'
import { CHECKS, type Check } from './checks.ts'
import { makeEnvironment } from './environment.ts'
import { startWorld } from './world.ts'

const CANNOT_RUN = 77
const say = (text: string): void => void process.stdout.write(`${text}\n`)

const given = process.argv.slice(2)
const folder = await mkdtemp(join(tmpdir(), 'nightshift-python-'))
try {
  for (const [at, requirement] of (given.length > 0 ? given : ['openai']).entries())
    await runAll(requirement, join(folder, String(at)))
} finally {
  await rm(folder, { recursive: true, force: true })
}

async function runAll(requirement: string, place: string): Promise<void> {
  const environment = await makeEnvironment(join(place, 'venv'), requirement)
  if (environment.kind === 'absent') {
    say(`cannot run: ${environment.why}`)
    process.exitCode ||= CANNOT_RUN
    return
  }
  say(`openai ${environment.version}`)
  for (const [at, check] of CHECKS.entries())
    if (!(await passes(check, environment.python, join(place, `data-${at}`)))) process.exitCode = 1
}

async function passes({ name, flags, run }: Check, python: string, dataDir: string): Promise<boolean> {
  const begunMs = performance.now()
  try {
    await using world = await startWorld(python, dataDir, flags)
    await run(world)
    say(`  ok    ${name} (${((performance.now() - begunMs) / 1000).toFixed(1)} s)`)
    return true
  } catch (error) {
    say(`  FAIL  ${name}\n${errorText(error)}`)
    return false
  }
}
