/**
 * The least that the same batches cost: written, uploaded, created, waited for, downloaded, parsed, written out. It
 * keeps no state, checks nothing and is lost when it is stopped. Argument: JSON, see `FloorOrder`.
 */
import { openAsBlob } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import OpenAI from 'openai'
import { measure } from '../measured.ts'
import { BATCH_REQUESTS, outputOf, POLL_SECONDS, workOf } from '../workload.ts'

export interface FloorOrder {
  readonly requests: number
  readonly folder: string
}

/** Lines that are written at once. */
const LINES_AT_ONCE = 500

const { requests, folder }: FloorOrder = JSON.parse(process.argv[2] ?? '')
const client = new OpenAI()

async function writeInput(path: string, first: number, last: number): Promise<void> {
  const file = await open(path, 'w')
  for (let from = first; from < last; from += LINES_AT_ONCE) {
    const lines: string[] = []
    for (let index = from; index < Math.min(last, from + LINES_AT_ONCE); index++) {
      const { key, body } = workOf(index)
      const line = { custom_id: key, method: 'POST', url: '/v1/chat/completions', body }
      lines.push(`${JSON.stringify(line)}\n`)
    }
    await file.write(lines.join(''))
  }
  await file.close()
}

async function submit(first: number): Promise<string> {
  const path = join(folder, `batch-${first}.jsonl`)
  await writeInput(path, first, Math.min(requests, first + BATCH_REQUESTS))
  const content = new File([await openAsBlob(path)], 'batch.jsonl')
  const { id } = await client.files.create({ file: content, purpose: 'batch' })
  await rm(path)
  const batch = await client.batches.create({
    input_file_id: id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  })
  return batch.id
}

async function outputOfBatch(id: string): Promise<string> {
  for (;;) {
    const batch = await client.batches.retrieve(id)
    if (batch.output_file_id) return batch.output_file_id
    if (batch.status === 'failed') throw new Error(JSON.stringify(batch.errors))
    await sleep(POLL_SECONDS * 1000)
  }
}

async function collect(id: string, output: FileHandle): Promise<number> {
  const response = await client.files.content(await outputOfBatch(id))
  const decoder = new TextDecoder()
  let rest = ''
  let done = 0
  for await (const piece of response.body ?? []) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    const outputs = lines.map(outputLine)
    if (outputs.length > 0) await output.write(outputs.join(''))
    done += outputs.length
  }
  return done
}

function outputLine(line: string): string {
  const { custom_id, response } = JSON.parse(line)
  return `${JSON.stringify(outputOf(custom_id, response.body.choices[0].message.content))}\n`
}

await measure(async () => {
  const output = await open(join(folder, 'output.jsonl'), 'w')
  const batches: string[] = []
  for (let first = 0; first < requests; first += BATCH_REQUESTS) batches.push(await submit(first))
  let done = 0
  for (const id of batches) done += await collect(id, output)
  await output.close()
  return done
})
