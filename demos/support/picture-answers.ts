import type { AnswerFunction } from 'nightshift/emulator'
import { z } from 'zod'
import { decodeJpeg, isJpeg } from './jpeg.ts'
import { COLOURS, type Colour, isColour, type Mosaic } from './mosaic.ts'
import { decodePng, isPng } from './png.ts'

const Part = z.object({ image_url: z.object({ url: z.string() }) })
const Body = z.object({
  messages: z.array(z.object({ content: z.union([z.string(), z.array(z.unknown())]) })),
})

/** What is seen in a picture. */
export interface Sight {
  readonly ground: Colour
  readonly squares: number
}

/** What a model with good eyes would say: it reads the picture in the request, pixel by pixel. */
export const pictureAnswers: AnswerFunction = ({ body }) => look(pictureOf(body))

/** The bytes of the last picture of a request. */
function pictureOf(body: unknown): Buffer {
  const parts = Body.parse(body).messages.flatMap(({ content }) =>
    typeof content === 'string' ? [] : content,
  )
  const picture = parts.map((part) => Part.safeParse(part).data).findLast((part) => part !== undefined)
  if (!picture) throw new Error('there is no picture in the request')
  const { url } = picture.image_url
  return Buffer.from(url.slice(url.indexOf(',') + 1), 'base64')
}

/** Finds the commonest colour of a picture, and counts the patches of other colours. Throws for other formats. */
export function look(bytes: Buffer): Sight {
  const { columns, cells } = decode(bytes)
  const names = cells.map(nearestColour)
  const ground = commonest(names)
  const isPatch = names.map((name) => name !== ground)
  let squares = 0
  for (let start = isPatch.indexOf(true); start >= 0; start = isPatch.indexOf(true, start)) {
    squares++
    erasePatch(isPatch, start, columns)
  }
  return { ground, squares }
}

function decode(bytes: Buffer): Mosaic {
  if (isPng(bytes)) return decodePng(bytes)
  if (isJpeg(bytes)) return decodeJpeg(bytes)
  throw new Error('the picture is neither a PNG nor a JPEG')
}

function nearestColour(rgb: number): Colour {
  const distance = (other: number): number =>
    [16, 8, 0].reduce((sum, shift) => sum + (((rgb >> shift) & 0xff) - ((other >> shift) & 0xff)) ** 2, 0)
  return Object.keys(COLOURS)
    .filter(isColour)
    .reduce((best, name) => (distance(COLOURS[name]) < distance(COLOURS[best]) ? name : best))
}

function commonest(names: readonly Colour[]): Colour {
  const counts = new Map<Colour, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  const [first] = [...counts].toSorted(([, a], [, b]) => b - a)
  if (!first) throw new Error('the picture is empty')
  return first[0]
}

/** Follows a patch over cells that touch. */
function erasePatch(isPatch: boolean[], start: number, columns: number): void {
  const found = [start]
  for (let cell = found.pop(); cell !== undefined; cell = found.pop()) {
    if (!isPatch[cell]) continue
    isPatch[cell] = false
    found.push(cell - columns, cell + columns)
    if (cell % columns > 0) found.push(cell - 1)
    if (cell % columns < columns - 1) found.push(cell + 1)
  }
}
