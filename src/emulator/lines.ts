import { setImmediate as turn } from 'node:timers/promises'

const NEWLINE = 0x0a

/**
 * The lines of a text that arrives in pieces, without their line ends, as many at a time as a piece completes.
 * Lets other work of the process run between pieces.
 */
export async function* linesOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<readonly string[]> {
  let held: Uint8Array[] = []
  for await (const piece of pieces) {
    const end = piece.lastIndexOf(NEWLINE)
    if (end < 0) {
      held.push(piece)
      continue
    }
    const text = decode([...held, piece.subarray(0, end)])
    held = end + 1 < piece.length ? [piece.subarray(end + 1)] : []
    yield text.split('\n').map(withoutReturn)
    await turn()
  }
  if (held.length > 0) yield decode(held).split('\n').map(withoutReturn)
}

function decode(pieces: readonly Uint8Array[]): string {
  const [only] = pieces
  const bytes = pieces.length === 1 && only ? only : Buffer.concat(pieces)
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}

const withoutReturn = (line: string): string => (line.endsWith('\r') ? line.slice(0, -1) : line)
