import { afterEach, describe, expect, test, vi } from 'vitest'
import { createImageSizes } from '../../src/openai/image-sizes.ts'
import type { Fetch } from '../../src/util/fetch.ts'
import { dataUrl, jpeg, png } from '../tokens/pictures.ts'

type Answer = (url: string, init: RequestInit) => Response | Promise<Response>

/** A web of pictures that remembers what it was asked. */
function web(answer: Answer) {
  const asked: { readonly url: string; readonly init: RequestInit }[] = []
  const fetch: Fetch = async (input, init = {}) => {
    asked.push({ url: String(input), init })
    return answer(String(input), init)
  }
  return { fetch, asked, urls: () => asked.map(({ url }) => url) }
}

const picture = (width: number, height: number, status = 206): Response =>
  new Response(Uint8Array.from(png(width, height)), { status })
const redirect = (location: string): Response => new Response(null, { status: 302, headers: { location } })

const A = 'https://example.com/a.png'
const B = 'http://example.com/b.png'

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

describe('sizes of remote images', () => {
  test('are known once they are loaded, and asked for once', async () => {
    const { fetch, urls } = web((url) => (url === A ? picture(30, 20) : picture(7, 9, 200)))
    const sizes = createImageSizes({ fetch })
    expect(sizes.sizeOf(A)).toBeUndefined()
    await Promise.all([sizes.load([A, B, A]), sizes.load([B])])
    await sizes.load([A])
    expect([sizes.sizeOf(A), sizes.sizeOf(B)]).toEqual([
      { width: 30, height: 20 },
      { width: 7, height: 9 },
    ])
    expect(urls().toSorted()).toEqual([B, A])
  })

  test('are read from the first 64 KB, whatever the server sends', async () => {
    let sent = 0
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        const piece = sent === 0 ? Uint8Array.from(jpeg(300, 200)) : new Uint8Array(16 * 1024)
        sent += piece.length
        controller.enqueue(piece)
      },
    })
    const { fetch, asked } = web(() => new Response(endless))
    const sizes = createImageSizes({ fetch })
    await sizes.load([A])
    expect(sizes.sizeOf(A)).toEqual({ width: 300, height: 200 })
    expect(sent).toBeLessThan(128 * 1024)
    expect(new Headers(asked[0]?.init.headers).get('range')).toBe('bytes=0-65535')
    expect(asked[0]?.init.signal?.aborted).toBe(true)
  })

  test('a size behind the first 64 KB is not known', async () => {
    const { fetch } = web(() => new Response(Uint8Array.from(jpeg(300, 200, { metadata: 70_000 }))))
    const sizes = createImageSizes({ fetch })
    await sizes.load([A])
    expect(sizes.sizeOf(A)).toBeUndefined()
  })

  test.each<[string, Answer]>([
    ['404', () => picture(30, 20, 404)],
    ['a page', () => new Response('<html>')],
    ['nothing', () => new Response(null)],
    [
      'a dead connection',
      () => {
        throw new TypeError('fetch failed')
      },
    ],
    ['endless redirects', (url) => redirect(`${url}x`)],
    ['a redirect to a file', () => redirect('file:///etc/passwd')],
    ['a redirect to data', () => redirect(dataUrl(png(3, 2)))],
    ['a redirect to nowhere', () => redirect('https://')],
  ])('%s means that the size is not known, and that is remembered', async (_, answer) => {
    const { fetch, asked } = web(answer)
    const sizes = createImageSizes({ fetch })
    await sizes.load([A])
    const calls = asked.length
    await sizes.load([A])
    expect(sizes.sizeOf(A)).toBeUndefined()
    expect(calls).toBeLessThanOrEqual(6)
    expect(asked).toHaveLength(calls)
  })

  test('follow redirects on the web', async () => {
    const { fetch, urls } = web((url) => (url === A ? redirect('/c.png') : picture(30, 20)))
    const sizes = createImageSizes({ fetch })
    await sizes.load([A])
    expect(sizes.sizeOf(A)).toEqual({ width: 30, height: 20 })
    expect(urls()).toEqual([A, 'https://example.com/c.png'])
  })

  test('are not waited for longer than the time allows, redirects and body included', async () => {
    vi.useFakeTimers()
    const silent = (_: string, { signal }: RequestInit): Promise<Response> =>
      new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new Error('aborted'))))
    const { fetch } = web((url, init) => (url === A ? redirect(B) : silent(url, init)))
    const sizes = createImageSizes({ fetch, timeoutMs: 5000 })
    const loaded = vi.fn()
    const load = sizes.load([A]).then(loaded)
    await vi.advanceTimersByTimeAsync(4999)
    expect(loaded).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1)
    await load
    expect(sizes.sizeOf(A)).toBeUndefined()
  })

  test('leave no timer behind that would keep a program from ending', async () => {
    const timeoutMs = 54_321
    const set = vi.spyOn(globalThis, 'setTimeout')
    const clear = vi.spyOn(globalThis, 'clearTimeout')
    const { fetch } = web(() => picture(30, 20))
    await createImageSizes({ fetch, timeoutMs }).load([A])
    const timers = set.mock.results.filter((_, call) => set.mock.calls[call]?.[1] === timeoutMs)
    expect(timers).toHaveLength(1)
    expect(clear).toHaveBeenCalledWith(timers[0]?.value)
  })

  test('at most so many are asked for at once', async () => {
    let open = 0
    let most = 0
    const { fetch, asked } = web(async () => {
      most = Math.max(most, ++open)
      await new Promise((resolve) => setImmediate(resolve))
      open--
      return picture(3, 2)
    })
    const sizes = createImageSizes({ fetch, concurrency: 3 })
    await sizes.load(Array.from({ length: 20 }, (_, at) => `https://example.com/${at}.png`))
    expect(asked).toHaveLength(20)
    expect(most).toBe(3)
  })

  test('only so many are kept, those that were used last', async () => {
    const { fetch } = web(() => picture(3, 2))
    const sizes = createImageSizes({ fetch, maxKept: 2 })
    await sizes.load([A, B])
    sizes.sizeOf(A)
    await sizes.load(['https://example.com/c.png'])
    expect([sizes.sizeOf(A), sizes.sizeOf(B)]).toEqual([{ width: 3, height: 2 }, undefined])
  })
})

test('nothing but http and https is fetched', async () => {
  const { fetch, asked } = web(() => picture(3, 2))
  await createImageSizes({ fetch }).load(['file:///etc/passwd', 'ftp://example.com/a.png', 'nonsense', ''])
  expect(asked).toEqual([])
})

test('data URLs are read in place', async () => {
  const { fetch, asked } = web(() => picture(3, 2))
  const sizes = createImageSizes({ fetch })
  const url = dataUrl(png(40, 30))
  await sizes.load([url])
  expect(sizes.sizeOf(url)).toEqual({ width: 40, height: 30 })
  expect(asked).toEqual([])
})
