/** The least that the same direct calls cost: the SDK and a limit. Argument: JSON, see `DirectFloorOrder`. */
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import OpenAI from 'openai'
import pLimit from 'p-limit'
import { measure } from '../measured.ts'
import { outputOf, workOf } from '../workload.ts'

export interface DirectFloorOrder {
  readonly requests: number
  readonly concurrency: number
  readonly folder: string
}

const { requests, concurrency, folder }: DirectFloorOrder = JSON.parse(process.argv[2] ?? '')

await measure(async () => {
  const client = new OpenAI()
  const limit = pLimit(concurrency)
  const lines: string[] = []
  const ask = async (index: number): Promise<void> => {
    const { key, body } = workOf(index)
    const { choices } = await client.chat.completions.create(body)
    lines.push(`${JSON.stringify(outputOf(key, choices[0]?.message.content ?? ''))}\n`)
  }
  await Promise.all(Array.from({ length: requests }, (_, index) => limit(() => ask(index))))
  const output = await open(join(folder, 'output.jsonl'), 'w')
  await output.write(lines.join(''))
  await output.close()
  return lines.length
})
