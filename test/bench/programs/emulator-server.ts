/** An emulator that answers at once. Argument: the folder of its data. Tells its address, and serves until it is killed. */
import { createEmulator } from '../../../src/emulator/create-emulator.ts'
import { serveEmulator } from '../../../src/emulator/serve.ts'
import { ANSWER } from '../workload.ts'

const emulator = createEmulator({
  answer: () => ANSWER,
  dataDir: process.argv[2] ?? '',
  latency: { validateMs: 0, runMs: 0, perRequestMs: 0, finalizeMs: 0, directMs: 0, cancelMs: 0 },
})
const { url } = await serveEmulator(emulator, { port: 0 })
process.stdout.write(`${url}\n`)
