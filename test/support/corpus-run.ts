import { watch } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import corpus from 'nlp-corpus'
import { z } from 'zod'
import { chanceOf } from '../../demos/support/prompt.ts'
import { type EmulatorProcess, HARD_SHARE } from './emulator-process.ts'
import { jsonLines } from './folder.ts'
import { type Program, startProgram } from './program.ts'

/** Of a run as `startCorpusTopics` starts it by default. */
export const SENTENCES = 600
const PER_BATCH = 200
export const BATCHES = SENTENCES / PER_BATCH

/** How many of the first sentences are asked for twice, the second time in a direct call. */
export const hardAmong = (sentences: number): number =>
  corpus.some(sentences).filter((sentence) => chanceOf(sentence) < HARD_SHARE).length

/** Starts `demos/corpus-topics.ts` on a task folder and a server. */
export const startCorpusTopics = (
  taskDir: string,
  { env }: Pick<EmulatorProcess, 'env'>,
  more: readonly string[] = ['--sentences', `${SENTENCES}`, '--max-batch-requests', `${PER_BATCH}`],
): Program =>
  startProgram(
    'demos/corpus-topics.ts',
    ['--task-dir', taskDir, '--remote-update-interval', '1', '--create-grace-ms', '200', ...more],
    env,
  )

const Entry = z.object({ key: z.string() })

/** The output, by key and without an order; throws when a key is there twice. */
export async function outputOf(taskDir: string): Promise<Map<string, unknown>> {
  const output = new Map<string, unknown>()
  for (const value of await jsonLines(join(taskDir, 'corpus-topics_output.jsonl'))) {
    const { key } = Entry.parse(value)
    if (output.has(key)) throw new Error(`${key} is in the output twice`)
    output.set(key, value)
  }
  return output
}

const State = z.object({
  requests: z.record(z.string(), z.number()),
  tally: z.object({ uncertain: z.number(), batches: z.number() }),
})

export const stateOf = async (taskDir: string): Promise<z.infer<typeof State>> =>
  State.parse(JSON.parse(await readFile(join(taskDir, 'corpus-topics_state.json'), 'utf8')))

/** Resolves when the task's ledger has grown by so many lines since the call. */
export async function untilLedgerGrew(taskDir: string, lines: number): Promise<void> {
  const path = join(taskDir, 'corpus-topics_ledger.jsonl')
  const wanted = (await jsonLines(path).catch(() => [])).length + lines
  const { promise, resolve } = Promise.withResolvers<void>()
  const look = async (): Promise<void> => {
    const text = await readFile(path, 'utf8').catch(() => '')
    if (text.split('\n').length > wanted) resolve()
  }
  const watcher = watch(taskDir, () => void look())
  await promise
  watcher.close()
}
