import { existsSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { z } from 'zod'

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

/** A real browser without a window. Throws what to install where there is none. */
export function openBrowser(): Promise<Browser> {
  const executablePath = PLACES.find((path) => existsSync(path))
  if (executablePath === undefined)
    throw new Error('pages are checked in Chromium, which is not installed: apt-get install chromium')
  // The sandbox of Chromium cannot be had by root, as who tests in a container often is.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  return chromium.launch({ executablePath, args })
}

export interface Viewing {
  readonly scheme: 'light' | 'dark'
  readonly width: number
}

/** A page as it was opened from a file, and all that it did beside showing itself. */
export interface Viewed {
  readonly page: Page
  /** Messages on the console, errors, and requests for anything but the file. */
  readonly noise: readonly string[]
}

/** One tab for many files: a new one for each view takes longer than all that is looked at in it. */
export interface Viewer {
  /** Loads a file anew. What was noted of the one before is forgotten. */
  show(path: string, viewing: Viewing): Promise<Viewed>
}

/** A tab without a network. Every text that is drawn on a canvas is noted: see `labelsOf`. */
export async function openViewer(browser: Browser): Promise<Viewer> {
  const context = await browser.newContext({ offline: true })
  await context.addInitScript(NOTE_TEXTS)
  const page = await context.newPage()
  let [noise, url]: [string[], string] = [[], '']
  page.on('console', (message) => noise.push(`${message.type()}: ${message.text()}`))
  page.on('pageerror', (error) => noise.push(`error: ${error.message}`))
  page.on('dialog', (dialog) => {
    noise.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('request', (request) => {
    if (request.url() !== url && !request.url().startsWith('data:')) noise.push(`request: ${request.url()}`)
  })
  return {
    show: async (path, { scheme, width }) => {
      await page.goto('about:blank')
      await page.setViewportSize({ width, height: 900 })
      await page.emulateMedia({ colorScheme: scheme, media: 'screen' })
      noise = []
      url = pathToFileURL(path).href
      await page.goto(url)
      return { page, noise }
    },
  }
}

const NOTE_TEXTS = `
  const write = CanvasRenderingContext2D.prototype.fillText
  CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
    const { a, d, e, f } = this.getTransform()
    const { width, actualBoundingBoxAscent: up, actualBoundingBoxDescent: down } = this.measureText(text)
    const start = { left: 0, start: 0, center: width / 2, right: width, end: width }[this.textAlign]
    const box = { text, left: x * a + e - start, right: x * a + e - start + width, top: y * d + f - up, bottom: y * d + f + down, at: performance.now() }
    ;(this.canvas.texts ??= []).push(box)
    return write.call(this, text, x, y)
  }
  const clear = CanvasRenderingContext2D.prototype.clearRect
  CanvasRenderingContext2D.prototype.clearRect = function (...box) {
    this.canvas.texts = []
    return clear.apply(this, box)
  }
`

const BOXES = `
  const overlaps = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1
  const clashes = (boxes) => {
    const found = []
    boxes.sort((a, b) => a.top - b.top)
    for (const [at, box] of boxes.entries())
      for (let next = at + 1; next < boxes.length && boxes[next].top < box.bottom; next++)
        if (boxes[next].owner !== box.owner && overlaps(box, boxes[next])) found.push(box.text + ' | ' + boxes[next].text)
    return found
  }
`

const texts = z.array(z.string())

/** Pairs of texts of the page that are drawn over each other. */
export const overlappingTexts = async (page: Page): Promise<readonly string[]> =>
  texts.parse(
    await page.evaluate(`(() => {
      ${BOXES}
      const boxes = []
      const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (node.data.trim() === '' || !node.parentElement.checkVisibility()) continue
        const range = document.createRange()
        range.selectNodeContents(node)
        const frame = node.parentElement.closest('pre, .scroll')?.getBoundingClientRect()
        for (const rect of range.getClientRects()) {
          // What is scrolled out of its frame is not to be seen.
          if (frame && (rect.bottom > frame.bottom || rect.left > frame.right || rect.top < frame.top)) continue
          const { left, top, bottom } = rect
          const right = Math.min(rect.right, frame?.right ?? rect.right)
          // Letters do not fill the height of their line.
          const lead = (bottom - top) * 0.15
          boxes.push({ left, right, top: top + lead, bottom: bottom - lead, text: node.data.trim().slice(0, 40), owner: node })
        }
      }
      return clashes(boxes)
    })()`),
  )

/** Pairs of texts on one canvas that are drawn over each other, and texts that stand out of it. */
export const misplacedLabels = async (page: Page): Promise<readonly string[]> =>
  texts.parse(
    await page.evaluate(`(() => {
      ${BOXES}
      return [...document.querySelectorAll('canvas')].flatMap((canvas) => {
        const boxes = (canvas.texts ?? []).map((box) => ({ ...box, owner: box }))
        const cut = boxes.filter(({ left, right, top, bottom }) => left < -1 || right > canvas.width + 1 || top < -1 || bottom > canvas.height + 1)
        return [...clashes(boxes), ...cut.map(({ text }) => 'cut: ' + text)]
      })
    })()`),
  )

const labelsSchema = z.array(z.object({ id: z.string(), labels: texts }))

/** For each chart the texts that are drawn on its canvas. */
export const labelsOf = async (page: Page) =>
  labelsSchema.parse(
    await page.evaluate(`[...document.querySelectorAll('.plot')].map((plot) => ({
      id: plot.id,
      labels: (plot.querySelector('canvas')?.texts ?? []).map(({ text }) => text),
    }))`),
  )

const drawnSchema = z.array(z.object({ id: z.string(), colours: z.number(), share: z.number() }))

/** For each chart: how many colours its canvas has, and the share of it that is drawn on. */
export const drawnCharts = async (page: Page) =>
  drawnSchema.parse(
    await page.evaluate(`[...document.querySelectorAll('.plot')].map((plot) => {
      const canvas = plot.querySelector('canvas')
      if (!canvas) return { id: plot.id, colours: 0, share: 0 }
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
      const colours = new Map()
      for (let at = 0; at < data.length; at += 4)
        if (data[at + 3] > 200) {
          const colour = (data[at] << 16) | (data[at + 1] << 8) | data[at + 2]
          colours.set(colour, (colours.get(colour) ?? 0) + 1)
        }
      const solid = [...colours.values()].filter((count) => count > 40)
      return { id: plot.id, colours: solid.length, share: solid.reduce((a, b) => a + b, 0) / (data.length / 4) }
    })`),
  )

/** How far the page, or anything that is not in a frame of its own, stands out to the right, in pixels. */
export const overhang = async (page: Page): Promise<number> =>
  z.number().parse(
    await page.evaluate(`(() => {
      const width = document.documentElement.clientWidth
      const edges = [...document.querySelectorAll('body *')]
        .map((element) => ({ element, right: element.getBoundingClientRect().right }))
        .filter(({ element, right }) => right > width && !element.parentElement.closest('.scroll, svg') && element.checkVisibility())
        .map(({ right }) => right)
      return Math.max(width, document.documentElement.scrollWidth, ...edges) - width
    })()`),
  )
