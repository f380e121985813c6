import type { AnswerFunction } from 'nightshift/emulator'
import { chanceOf, lastMessage } from './prompt.ts'

const SIGNS = [
  ['joy', /\b(best|won|got the job|laughed|finally|thank you|snowing)\b/i],
  ['disgust', /\b(eww|smell|hair|mouth open|bare hands|microwave)\b/i],
  ['fear', /\b(attic|shaking|behind us|on my own|what if|lose the house)\b/i],
  ['sadness', /\b(goodbye|miss|nobody came|voice|get up|left without)\b/i],
  ['anger', /\b(get out|dare|stop blaming|third time|lied|credit card|flat tyre|whatever)\b/i],
  ['surprise', /\b(wait|again|never thought|you mean|a hundred people|known)\b/i],
] as const

/** The opinion of a model that changes its mind about some utterances when it is asked again. */
export const emotionAnswers: AnswerFunction = ({ body, attempt }) => {
  const text = lastMessage(body)
  const likely = SIGNS.filter(([, pattern]) => pattern.test(text)).map(([emotion]) => emotion)
  const [first = 'neutral', second = 'neutral'] = likely
  const isTorn = chanceOf(text) < 0.3
  const dissents = isTorn && chanceOf(`${text} ${attempt}`) < 0.4
  return { emotion: dissents ? (first === second ? 'surprise' : second) : first, is_clear: !isTorn }
}
