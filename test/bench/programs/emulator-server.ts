/**
 * An emulator that answers at once. Arguments: the folder of its data, and `own` for answers that no other request has.
 * Tells its address, and serves until it is killed.
 */
import { z } from 'zod'
import { createEmulator } from '../../../src/emulator/create-emulator.ts'
import { serveEmulator } from '../../../src/emulator/serve.ts'
import { ANSWER, ownAnswer } from '../workload.ts'

const asked = z.object({ messages: z.array(z.object({ role: z.literal('user'), content: z.string() })) })
const hasOwn = process.argv[3] === 'own'

const emulator = createEmulator({
  answer: ({ body }) => (hasOwn ? ownAnswer(asked.parse(body)) : ANSWER),
  dataDir: process.argv[2] ?? '',
  latency: { validateMs: 0, runMs: 0, perRequestMs: 0, finalizeMs: 0, directMs: 0, cancelMs: 0 },
})
const { url } = await serveEmulator(emulator, { port: 0 })
process.stdout.write(`${url}\n`)
