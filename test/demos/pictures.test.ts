import { describe, expect, test } from 'vitest'
import { encodeJpeg } from '../../demos/support/jpeg.ts'
import { type Drawing, drawings, mosaicOf } from '../../demos/support/mosaic.ts'
import { look, pictureAnswers } from '../../demos/support/picture-answers.ts'
import { encodePng } from '../../demos/support/png.ts'
import { imageSizeOfDataUrl } from '../../src/tokens/data-url.ts'

const encoders = { png: encodePng, jpg: encodeJpeg }
const drawing = { name: 'a', width: 320, height: 240, ground: 'blue', ink: 'yellow', squares: 5 } as const
const ask = async (bytes: Buffer) => {
  const content = [
    { type: 'text', text: 'What is it?' },
    { type: 'image_url', image_url: { url: `data:image/png;base64,${bytes.toString('base64')}` } },
  ]
  const body = { model: 'm', messages: [{ role: 'user', content }] }
  return pictureAnswers({ endpoint: '/v1/chat/completions', via: 'batch', attempt: 0, body })
}

describe.each(Object.entries(encoders))('a drawing as %s', (type, encode) => {
  test('is a file that others can read, of the size it was drawn in', () => {
    const url = `data:image/${type};base64,${encode(mosaicOf(drawing)).toString('base64')}`
    expect(imageSizeOfDataUrl(url)).toEqual({ width: 320, height: 240 })
  })

  test.each<Partial<Drawing>>([
    {},
    { squares: 1 },
    { squares: 9 },
    { ground: 'white', ink: 'yellow' },
    { ground: 'red', ink: 'green', width: 800, height: 600 },
  ])('is seen as it is drawn: %o', (change) => {
    const drawn = { ...drawing, ...change }
    expect(look(encode(mosaicOf(drawn)))).toEqual({ ground: drawn.ground, squares: drawn.squares })
  })

  test('is looked at anew for each answer', async () => {
    const [one, other] = [mosaicOf(drawing), mosaicOf({ ...drawing, ground: 'red', squares: 6 })].map(encode)
    expect(one && (await ask(one))).toEqual({ ground: 'blue', squares: 5 })
    expect(other && (await ask(other))).toEqual({ ground: 'red', squares: 6 })
  })
})

test('what is neither PNG nor JPEG is not guessed at', () => {
  expect(() => look(Buffer.from('GIF89a'))).toThrow('neither a PNG nor a JPEG')
})

test('the drawings are enough for a batch, in two formats, in several sizes, and none is like another', () => {
  expect(2 * drawings.length).toBeGreaterThan(101)
  expect(new Set(drawings.map(({ name }) => name)).size).toBe(drawings.length)
  expect(new Set(drawings.map(({ name }) => name.split('.')[1])).size).toBe(2)
  expect(new Set(drawings.map(({ width, height }) => `${width}x${height}`)).size).toBe(5)
  const looks = drawings.map(({ name, ...seen }) => JSON.stringify({ ...seen, type: name.split('.')[1] }))
  expect(new Set(looks).size).toBe(drawings.length)
  expect(drawings.filter(({ ground, ink }) => ground === ink)).toEqual([])
})
