import { readOutput } from 'nightshift'
import type { z } from 'zod'

/** All lines of a task's output, checked. */
export async function* linesOf<Line>(
  files: readonly string[],
  schema: z.ZodType<Line>,
): AsyncGenerator<Line> {
  for (const file of files) {
    for await (const entry of readOutput(file)) yield schema.parse(entry)
  }
}

/** A table for the terminal: the first column to the left, the others to the right, in so many characters. */
export function tableOf(
  rows: readonly (readonly (string | number)[])[],
  [first, others]: readonly [number, number],
): string {
  const cell = (text: string, column: number): string =>
    column === 0 ? text.padEnd(first) : text.padStart(others)
  return rows.map((row) => row.map(String).map(cell).join('')).join('\n')
}
