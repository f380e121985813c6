import { assertNever } from '../util/exhaustive.ts'
import type { EncodingName } from './families.ts'
import type { CountText } from './schema-tokens.ts'

export const ENCODINGS = ['o200k_base', 'cl100k_base'] as const satisfies readonly EncodingName[]

/** Loads an encoding (1 to 2 MB, about 0.2 s) and gives its counter. Special tokens in a text are ordinary text. */
export async function loadEncoding(name: EncodingName): Promise<CountText> {
  const { countTokens } = await importEncoding(name)
  const options = { disallowedSpecial: new Set<string>() }
  return (text) => {
    let sum = 0
    for (const piece of shortRuns(text)) sum += countTokens(piece, options)
    return sum
  }
}

function importEncoding(name: EncodingName) {
  switch (name) {
    case 'o200k_base':
      return import('gpt-tokenizer/encoding/o200k_base')
    case 'cl100k_base':
      return import('gpt-tokenizer/encoding/cl100k_base')
    default:
      return assertNever(name)
  }
}

/**
 * The tokenizer takes a run of letters, of blanks or of signs as one word, and the time for a word grows with the square
 * of its length: 100,000 blanks, or Chinese without a comma, take 10 seconds. A cut costs at most about a token.
 */
const LONG_RUN = /[\p{L}\p{M}]{512}|\s{512}|[^\s\p{L}\p{N}]{512}/gu

function* shortRuns(text: string): Generator<string> {
  let start = 0
  for (const run of text.matchAll(LONG_RUN)) {
    const end = run.index + run[0].length
    yield text.slice(start, end)
    start = end
  }
  yield text.slice(start)
}
