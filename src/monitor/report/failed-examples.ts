import { failedLineSchema } from '../../requester/failed-line.ts'
import type { FileSystem } from '../../state/file-system.ts'
import { readLines } from '../../state/json-lines.ts'
import { parsedJson } from '../../util/parsed-json.ts'
import { systemCode } from '../../util/system-code.ts'
import { cutText } from '../../util/text.ts'
import type { FailurePlace } from './failure-log.ts'

/** A request that failed for good. */
export interface FailureExample {
  readonly key: string
  readonly reason: string
  readonly attempts: number
  /** The last reply, as JSON over several lines or as the text it was, cut; null when there was none. */
  readonly reply: string | null
}

const MOST_REASON = 1_000
const MOST_REPLY = 2_000
const MOST_KEY = 200

/**
 * Reads single entries of a file of failed requests: no more of it than the parts that hold them, each once. Entries
 * that are no longer there, as a run may have put the requests back meanwhile, are left out.
 */
export async function readExamples(
  fs: FileSystem,
  path: string,
  places: readonly FailurePlace[],
): Promise<ReadonlyMap<FailurePlace, FailureExample>> {
  const found = new Map<FailurePlace, FailureExample>()
  for (const part of Map.groupBy(places, ({ start }) => start).values())
    for (const [place, text] of await linesAt(fs, path, part)) {
      const example = readExample(text, place)
      if (example) found.set(place, example)
    }
  return found
}

/** The lines at some places of one part. */
async function linesAt(
  fs: FileSystem,
  path: string,
  places: readonly FailurePlace[],
): Promise<ReadonlyMap<FailurePlace, string>> {
  const found = new Map<FailurePlace, string>()
  const [{ start, end } = { start: 0, end: 0 }] = places
  const wanted = new Map(places.map((place) => [place.index, place]))
  let at = 0
  try {
    for await (const { text } of readLines(fs, path, { start, end, chunkBytes: CHUNK_BYTES })) {
      const place = wanted.get(at++)
      if (place) found.set(place, text)
      if (found.size === wanted.size) break
    }
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
  }
  return found
}

const CHUNK_BYTES = 64 * 1024

function readExample(text: string, place: FailurePlace): FailureExample | undefined {
  const line = failedLineSchema.safeParse(parsedJson(text))
  if (!line.success || line.data.reason !== place.reason) return undefined
  const { key, reason, attempts, reply } = line.data
  return {
    key: cutText(key, MOST_KEY),
    reason: cutText(reason, MOST_REASON),
    attempts,
    reply:
      reply === undefined || reply === null
        ? null
        : cutText(replyText(reply).slice(0, 2 * MOST_REPLY), MOST_REPLY),
  }
}

const replyText = (reply: unknown): string =>
  typeof reply === 'string' ? reply : (JSON.stringify(reply, null, 2) ?? '')
