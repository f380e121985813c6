import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { printableCharacters } from '../../demos/support/characters.ts'
import { drawings } from '../../demos/support/mosaic.ts'
import { UTTERANCES } from '../../demos/support/utterances.ts'
import { readOutput } from '../../src/task/output-reader.ts'
import { contentsOf, temporaryFolder } from '../support/folder.ts'
import { runProgram } from '../support/program.ts'

async function outputOf(file: string): Promise<unknown[]> {
  const entries: unknown[] = []
  for await (const entry of readOutput(file)) entries.push(entry)
  return entries
}

/**
 * Runs a demo as the readme says, but with a hard cap, which only requests with a maximum of output tokens can keep
 * to; then once more. Checks that the second run only says that all is done. Gives what the first one said at the end.
 */
async function runTwice(name: string, taskDir: string, flags: readonly string[]): Promise<string> {
  const args = ['--emulator', '--max-spend', '10', '--task-dir', taskDir, ...flags]
  const { code, stdout, stderr } = await runProgram(`demos/${name}.ts`, args)
  expect(code, stderr).toBe(0)
  expect(stdout).toContain(`${name}: complete\n`)
  expect(stdout).toContain('0 failed, 0 pending')

  const isKept = (file: string) => !/_(state\.json|progress\.jsonl)/.test(file)
  const before = await contentsOf(taskDir, isKept)
  const again = await runProgram(`demos/${name}.ts`, args)
  expect(again.code, again.stderr).toBe(0)
  expect(again.stdout).toContain(`${name}: complete; there was nothing left to do\n`)
  expect(again.stderr).not.toMatch(/batch \d|direct calls|added/)
  expect(await contentsOf(taskDir, isKept)).toEqual(before)
  return stdout
}

const CharInfo = z.object({ sample_sentence: z.string(), description: z.string(), type: z.string() })
const Characters = z.object({ chars: z.record(z.string(), CharInfo) })

const Sight = z.object({
  picture: z.string(),
  detail: z.enum(['low', 'high']),
  ground: z.string(),
  squares: z.number(),
  inputTokens: z.number(),
  cost: z.number().gt(0),
})

/** The lines of the pictures demo, by picture and detail; each once. */
async function sightsOf(taskDir: string): Promise<ReadonlyMap<string, z.infer<typeof Sight>>> {
  const sights = z.array(Sight).parse(await outputOf(join(taskDir, 'pictures_output.jsonl')))
  const byKey = new Map(sights.map((sight) => [`${sight.picture} ${sight.detail}`, sight]))
  expect(byKey.size).toBe(sights.length)
  return byKey
}

describe.concurrent('a demo on the emulator, and once more', { timeout: 60_000 }, () => {
  test('char-codes describes each printable character once, with a sentence that has it twice', async () => {
    await using folder = await temporaryFolder()
    await runTwice('char-codes', folder.path, [])
    const [object, ...more] = await outputOf(join(folder.path, 'char-codes_output.json'))
    expect(more).toEqual([])
    const { chars } = Characters.parse(object)
    expect(Object.keys(chars).sort()).toEqual([...printableCharacters()].sort())
    const wrong = Object.entries(chars).filter(
      ([character, { sample_sentence }]) => sample_sentence.split(character).length < 3,
    )
    expect(wrong).toEqual([])
  })

  test('corpus-topics labels each sentence once', async () => {
    await using folder = await temporaryFolder()
    await runTwice('corpus-topics', folder.path, ['--sentences', '1500'])
    const entries = await outputOf(join(folder.path, 'corpus-topics_output.jsonl'))
    const keys = z
      .array(z.object({ key: z.string(), topic: z.string(), sentiment: z.string() }))
      .parse(entries)
      .map(({ key }) => key)
    expect(keys).toHaveLength(1500)
    expect(new Set(keys)).toEqual(new Set(Array.from({ length: 1500 }, (_, index) => `sentence-${index}`)))
  })

  test('utterance-emotion comes to one conclusion about each utterance', async () => {
    await using folder = await temporaryFolder()
    await runTwice('utterance-emotion', folder.path, ['--opinions-max', '7', '--confidence', '0.8'])
    const entries = await outputOf(join(folder.path, 'utterance-emotion_output.jsonl'))
    const concluded = z.array(z.object({ utterance: z.string() })).parse(entries)
    expect(concluded.map(({ utterance }) => utterance).sort()).toEqual([...UTTERANCES].sort())
  })

  test.each([
    ['in a batch', [], '1 batch'],
    ['directly', ['--force-direct'], '0 batches'],
  ])('pictures sees what is drawn, %s, and pays more for high detail', async (_, flags, said) => {
    await using folder = await temporaryFolder()
    expect(await runTwice('pictures', folder.path, flags)).toContain(said)
    const sights = await sightsOf(folder.path)
    expect(sights.size).toBe(2 * drawings.length)
    for (const { name, ground, squares } of drawings) {
      const [low, high] = [sights.get(`${name} low`), sights.get(`${name} high`)]
      expect([low, high]).toMatchObject(Array(2).fill({ ground, squares }))
      expect(low?.inputTokens).toBeLessThan(high?.inputTokens ?? 0)
      expect(low?.cost).toBeLessThan(high?.cost ?? 0)
    }
  })
})
