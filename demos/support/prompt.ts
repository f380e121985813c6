import { z } from 'zod'

const Body = z.object({ messages: z.array(z.object({ content: z.string() })).min(1) })

/** The text of the last message of a chat request. */
export const lastMessage = (body: unknown): string => Body.parse(body).messages.at(-1)?.content ?? ''

/** A number from 0 to below 1 that depends on the text alone, evenly spread (FNV-1a). */
export function chanceOf(text: string): number {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return (Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0) / 2 ** 32
}
