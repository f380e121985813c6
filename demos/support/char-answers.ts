import type { AnswerFunction } from 'nightshift/emulator'
import { codeOf } from './characters.ts'
import { chanceOf, lastMessage } from './prompt.ts'

const TYPES = [
  ['space', /\p{Zs}/u],
  ['uppercase letter', /\p{Lu}/u],
  ['lowercase letter', /\p{Ll}/u],
  ['modifier letter', /\p{Lm}/u],
  ['other letter', /\p{L}/u],
  ['combining mark', /\p{M}/u],
  ['digit', /\p{Nd}/u],
  ['punctuation', /\p{P}/u],
  ['currency sign', /\p{Sc}/u],
] as const

const SCRIPTS = [
  ['Latin', /\p{Script=Latin}/u],
  ['Greek', /\p{Script=Greek}/u],
  ['Cyrillic', /\p{Script=Cyrillic}/u],
  ['Coptic', /\p{Script=Coptic}/u],
] as const

const firstMatch = (character: string, table: readonly (readonly [string, RegExp])[]): string | undefined =>
  table.find(([, pattern]) => pattern.test(character))?.[0]

/** The character that the prompt asks about; whitespace stands between quotes there. */
const asked = (prompt: string): string => prompt.replace(/^Character: /, '').replace(/^"(\s)"$/, '$1')

/** What a model that makes a mistake now and then, but not twice, would say about a character. */
export const charAnswers: AnswerFunction = ({ body, attempt }) => {
  const character = asked(lastMessage(body))
  const type = firstMatch(character, TYPES) ?? 'symbol'
  const script = firstMatch(character, SCRIPTS)
  const chance = attempt === 0 ? chanceOf(character) : 1
  return {
    character: chance < 0.01 ? '?!' : character,
    type,
    description: `${codeOf(character)}, ${script ? `${type} of the ${script} script` : type}.`,
    sample_sentence:
      chance > 0.02 ? `The character ${character} looks like this: ${character}` : `Forgotten-${character}`,
  }
}
