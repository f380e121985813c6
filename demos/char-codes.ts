/**
 * Describes every printable character of nine Unicode ranges, checks the answers, and writes one JSON file.
 *
 *     npx tsx demos/char-codes.ts --emulator
 */
import {
  accept,
  JsonOutput,
  retry,
  runTask,
  TaskManager,
  type TaskRequest,
  type TaskResponse,
} from 'nightshift'
import { z } from 'zod'
import { charAnswers } from './support/char-answers.ts'
import { characterOf, codeOf, printableCharacters } from './support/characters.ts'

const TYPES = [
  'uppercase letter',
  'lowercase letter',
  'modifier letter',
  'other letter',
  'combining mark',
  'digit',
  'punctuation',
  'currency sign',
  'symbol',
  'space',
] as const

const CharInfo = z.object({
  character: z.string().describe('The character itself, and nothing else'),
  type: z.enum(TYPES),
  description: z.string().describe('What the character is called, and what it is used for'),
  sample_sentence: z.string().describe('A sentence in which the character occurs at least twice'),
})
type CharInfo = z.infer<typeof CharInfo>

const INSTRUCTIONS =
  'You are an expert on Unicode. Describe the character you are given, and write a sentence in its language ' +
  'in which it occurs at least twice, exactly as given.'

const promptFor = (character: string): string =>
  `Character: ${/\s/.test(character) ? JSON.stringify(character) : character}`

const countOf = (character: string, text: string): number => text.split(character).length - 1

/** One object for each character, by code point. A map, because an object would put the digits first. */
async function byCharacter(entries: AsyncIterable<CharInfo>): Promise<{ chars: Map<string, object> }> {
  const infos: CharInfo[] = []
  for await (const info of entries) infos.push(info)
  infos.sort((a, b) => (a.character < b.character ? -1 : 1))
  return { chars: new Map(infos.map(({ character, ...info }) => [character, info])) }
}

class CharCodes extends TaskManager<CharInfo> {
  override answerSchema = CharInfo

  override createOutput() {
    return new JsonOutput(byCharacter)
  }

  *generateRequests(): Iterable<TaskRequest> {
    for (const character of printableCharacters()) {
      const messages = [
        { role: 'system' as const, content: INSTRUCTIONS },
        { role: 'user' as const, content: promptFor(character) },
      ]
      yield { key: codeOf(character), body: { model: 'gpt-5-mini', max_completion_tokens: 2000, messages } }
    }
  }

  processResponse({ key, answer }: TaskResponse<CharInfo>) {
    const character = characterOf(key)
    if (answer.character !== character) {
      return retry(`asked for ${JSON.stringify(character)}, but got ${JSON.stringify(answer.character)}`)
    }
    const count = countOf(character, answer.sample_sentence)
    if (count < 2) return retry(`the sample sentence contains the character ${count} times, not twice`)
    return accept(answer)
  }
}

await runTask(CharCodes, {
  name: 'char-codes',
  answers: charAnswers,
})
