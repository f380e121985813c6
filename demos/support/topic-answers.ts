import type { AnswerFunction } from 'nightshift/emulator'
import { lastMessage } from './prompt.ts'

/** The first that fits wins. */
const TOPICS = [
  [
    'food',
    /\b(eat\w*|food|drinks?|restaurants?|cook\w*|wine|beer|coffee|chicken|cheese|dinner|lunch|kitchen)\b/i,
  ],
  [
    'games',
    /\b(games?|play\w*|teams?|seasons?|league|match|scor\w+|goals?|champion\w*|cup|press|points?)\b/i,
  ],
  [
    'art',
    /\b(books?|films?|movies?|songs?|music|sing\w*|wrote|poems?|novels?|stor(?:y|ies)|actors?|shows?)\b/i,
  ],
  [
    'politics',
    /\b(government\w*|president|laws?|courts?|shall|part(?:y|ies)|states?|war|agreement|nation\w*)\b/i,
  ],
  [
    'nature',
    /\b(sea|water|animals?|trees?|earth|sun|sky|rain|species|energy|body|scien\w*|temperature|river)\b/i,
  ],
  [
    'family',
    /\b(mother|father|mom|dad|famil\w*|home|house|wife|husband|sons?|child\w*|brother|sister|marr\w*)\b/i,
  ],
  [
    'love',
    /\b(lov\w+|hearts?|kiss\w*|girls?|boys?|baby|dreams?|cry|alone|friends?|feel\w*|honey|darling)\b/i,
  ],
] as const

const GOOD =
  /\b(good|great|best|excellent|love\w*|beautiful|success\w*|enjoy\w*|wonderful|perfect\w*|peace)\b/gi
const BAD =
  /\b(bad|worst|terrible|hat(?:e|ed)|crisis|fail\w*|kill\w*|poor\w*|violence|boring|death|problems?)\b/gi

const countOf = (pattern: RegExp, text: string): number => text.match(pattern)?.length ?? 0

/** What a model that only looks at single words would say about a sentence. */
export const topicAnswers: AnswerFunction = ({ body }) => {
  const sentence = lastMessage(body)
  const mood = countOf(GOOD, sentence) - countOf(BAD, sentence)
  return {
    topic: TOPICS.find(([, pattern]) => pattern.test(sentence))?.[0] ?? 'something else',
    sentiment: mood > 0 ? 'positive' : mood < 0 ? 'negative' : 'neutral',
  }
}
