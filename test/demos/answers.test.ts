import { describe, expect, test } from 'vitest'
import { charAnswers } from '../../demos/support/char-answers.ts'
import { printableCharacters } from '../../demos/support/characters.ts'
import { emotionAnswers } from '../../demos/support/emotion-answers.ts'
import { topicAnswers } from '../../demos/support/topic-answers.ts'
import { UTTERANCES } from '../../demos/support/utterances.ts'
import type { AnswerFunction } from '../../src/emulator/answers.ts'

const ask = async (answers: AnswerFunction, content: string, attempt = 0) => {
  const body = { model: 'm', messages: [{ role: 'user', content }] }
  return answers({ endpoint: '/v1/chat/completions', via: 'batch', attempt, body })
}

describe('answers about characters', () => {
  const right = (character: string) => ({
    character,
    sample_sentence: `The character ${character} looks like this: ${character}`,
  })

  test('are wrong now and then, but never twice', async () => {
    const characters = [...printableCharacters()].filter((character) => character !== ' ')
    const first = await Promise.all(characters.map((one) => ask(charAnswers, `Character: ${one}`)))
    const second = await Promise.all(characters.map((one) => ask(charAnswers, `Character: ${one}`, 1)))
    const wrong = first.filter((answer, index) => JSON.stringify(answer) !== JSON.stringify(second[index]))
    expect(wrong.length).toBeGreaterThan(5)
    expect(wrong.length).toBeLessThan(60)
    expect(second).toEqual(characters.map((one) => expect.objectContaining(right(one))))
  })

  test.each([
    ['" "', 'space'],
    ['A', 'uppercase letter'],
    ['ж', 'lowercase letter'],
    ['ʰ', 'modifier letter'],
    ['ª', 'other letter'],
    ['\u0483', 'combining mark'],
    ['7', 'digit'],
    ['"', 'punctuation'],
    ['£', 'currency sign'],
    ['~', 'symbol'],
  ])('know the type of %s', async (character, type) => {
    expect(await ask(charAnswers, `Character: ${character}`, 1)).toMatchObject({ type })
  })
})

test('answers about emotions differ for some utterances when they are asked for again', async () => {
  const torn = UTTERANCES.map(async (utterance) => {
    const answers = await Promise.all(
      [0, 1, 2, 3, 4].map((attempt) => ask(emotionAnswers, utterance, attempt)),
    )
    return new Set(answers.map((answer) => JSON.stringify(answer))).size > 1
  })
  const count = (await Promise.all(torn)).filter(Boolean).length
  expect(count).toBeGreaterThan(5)
  expect(count).toBeLessThan(25)
})

test('there are 45 utterances, all different', () => {
  expect(new Set(UTTERANCES).size).toBe(45)
})

test.each([
  ['She cooked the best dinner of the year', { topic: 'food', sentiment: 'positive' }],
  ['The government failed in the crisis', { topic: 'politics', sentiment: 'negative' }],
  ['Tuesday', { topic: 'something else', sentiment: 'neutral' }],
])('labels %j', async (sentence, label) => {
  expect(await ask(topicAnswers, sentence)).toEqual(label)
})
