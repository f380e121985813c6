import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { imageSizeOfDataUrl } from '../../src/tokens/data-url.ts'
import { dataUrl, gif, jpeg, png } from './pictures.ts'

describe('the size in a data URL', () => {
  test.each([
    ['a PNG', dataUrl(png(40, 30)), { width: 40, height: 30 }],
    ['a JPEG', dataUrl(jpeg(4032, 3024), 'image/jpeg'), { width: 4032, height: 3024 }],
    ['a GIF', dataUrl(gif(7, 9), 'image/gif'), { width: 7, height: 9 }],
    [
      'a JPEG after 5 KB of metadata',
      dataUrl(jpeg(20, 10, { metadata: 5000, scan: 9000 })),
      { width: 20, height: 10 },
    ],
    [
      'a JPEG after 300 KB of metadata',
      dataUrl(jpeg(20, 10, { metadata: 300_000 })),
      { width: 20, height: 10 },
    ],
    ['a type that is wrong', dataUrl(png(3, 2), 'image/jpeg'), { width: 3, height: 2 }],
    ['a type with parameters', dataUrl(png(3, 2), 'image/png;name=a.png'), { width: 3, height: 2 }],
  ])('%s', (_, url, size) => {
    expect(imageSizeOfDataUrl(url)).toEqual(size)
  })

  test.each([
    ['no data', 'data:image/png;base64,'],
    ['no comma', 'data:image/png;base64'],
    ['text', 'data:text/plain,hello'],
    ['an SVG that is not in base64', 'data:image/svg+xml,<svg width="3" height="2"/>'],
    ['a header that is cut', dataUrl(png(40, 30)).slice(0, 40)],
    ['no width', dataUrl(png(0, 30))],
    ['another URL', 'https://example.com/a.png'],
    ['a size behind more metadata than is looked at', dataUrl(jpeg(20, 10, { metadata: 3_000_000 }))],
  ])('is not known: %s', (_, url) => {
    expect(imageSizeOfDataUrl(url)).toBeUndefined()
  })

  test('never throws, whatever the bytes', () => {
    const starts = [png(9, 9), jpeg(9, 9), gif(9, 9), Buffer.from('RIFF....WEBPVP8X')]
    fc.assert(
      fc.property(fc.constantFrom(...starts), fc.nat(40), fc.uint8Array(), (start, kept, rest) => {
        const size = imageSizeOfDataUrl(dataUrl(Buffer.concat([start.subarray(0, kept), rest])))
        expect(size === undefined || (size.width > 0 && size.height > 0)).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  test('of 10 MB only the first bytes are decoded', () => {
    const url = dataUrl(jpeg(4000, 3000, { scan: 10_000_000 }))
    const decode = vi.spyOn(Buffer, 'from')
    expect(imageSizeOfDataUrl(url)).toEqual({ width: 4000, height: 3000 })
    expect(decode.mock.calls.map(([text]) => String(text).length)).toEqual([1368])
    decode.mockRestore()
  })
})
