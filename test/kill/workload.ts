import { chanceOf, lastMessage } from '../../demos/support/prompt.ts'
import { type AnswerFunction, httpAnswer } from '../../src/emulator/index.ts'

/**
 * The work that is done while processes are killed: every sample is asked about once, an unsure one twice. What
 * becomes of a request depends on its key alone, so that everybody knows what must come out in the end.
 */
export interface Ask {
  readonly key: string
  readonly sample: string
  readonly model: string
  readonly text: string
}

/** Of the last there are too few requests for a batch. */
const MODELS = ['gpt-5-mini', 'gpt-5-nano', 'gpt-4.1-mini'] as const
const RARE = 25
const FILLER = 'What is this about? '.repeat(20)

export function askAbout(index: number, round: 1 | 2): Ask {
  const key = `s${index}-${round}`
  const model = index % RARE === 0 ? MODELS[2] : MODELS[index % 2 === 0 ? 0 : 1]
  return { key, sample: `s${index}`, model, text: `${key}: ${FILLER}` }
}

/** `garbled` and `broken`: no usable answer, or an HTTP error, when it is asked for the first time. */
type Fate = 'plain' | 'unsure' | 'garbled' | 'broken' | 'refused'

function fateOf(key: string): Fate {
  const chance = chanceOf(key)
  if (chance < 0.03) return 'garbled'
  if (chance < 0.05) return 'broken'
  if (chance < 0.06) return 'refused'
  return chance < 0.15 && key.endsWith('-1') ? 'unsure' : 'plain'
}

export const GARBLED = '?!'
export const REFUSED = 'I would rather not say.'
export const UNSURE = 'I am not sure.'

const ERROR = {
  error: { message: 'The server had an error.', type: 'server_error', param: null, code: null },
}

/** The key that a message asks about. */
export const keyOf = (message: string): string => message.split(':', 1)[0] ?? ''

const labelOf = (key: string): string => `label ${Math.floor(chanceOf(`label of ${key}`) * 1000)}`

/** What the server answers. */
export const answers: AnswerFunction = ({ body, attempt }) => {
  const key = keyOf(lastMessage(body))
  const fate = fateOf(key)
  if (fate === 'refused') return REFUSED
  if (fate === 'unsure') return UNSURE
  if (attempt > 0 || fate === 'plain') return labelOf(key)
  return fate === 'garbled' ? GARBLED : httpAnswer(500, ERROR)
}

/** What must have become of a key in the end. */
export interface Expected {
  /** Undefined for a request that fails for good. */
  readonly label: string | undefined
  /** Answers that are needed for it. */
  readonly answers: number
}

export function expectedOf(samples: number): Map<string, Expected> {
  const expected = new Map<string, Expected>()
  for (let index = 0; index < samples; index++) {
    const first = askAbout(index, 1).key
    expected.set(first, outcomeOf(first))
    if (fateOf(first) !== 'unsure') continue
    const second = askAbout(index, 2).key
    expected.set(second, outcomeOf(second))
  }
  return expected
}

function outcomeOf(key: string): Expected {
  const fate = fateOf(key)
  if (fate === 'refused') return { label: undefined, answers: 1 }
  if (fate === 'unsure') return { label: UNSURE, answers: 1 }
  return { label: labelOf(key), answers: fate === 'plain' ? 1 : 2 }
}
