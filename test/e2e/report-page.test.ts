import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { report } from '../../src/cli/report.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import { writeBigTask } from '../support/big-task.ts'
import {
  drawnCharts,
  labelsOf,
  misplacedLabels,
  openBrowser,
  openViewer,
  overhang,
  overlappingTexts,
  type Viewed,
  type Viewer,
  type Viewing,
} from '../support/browser.ts'
import { command } from '../support/command.ts'
import { emptyTask, failedTask, finishedTask, Plain, whileRunning } from '../support/report-tasks.ts'
import { ask, type Harness, harness } from '../support/task-harness.ts'

let browser: Browser
let viewer: Viewer
const folder = mkdtempSync(join(tmpdir(), 'nightshift-pages-'))
beforeAll(async () => {
  browser = await openBrowser()
  viewer = await openViewer(browser)
})
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await browser?.close()
})

const VIEWS: readonly Viewing[] = [
  { scheme: 'light', width: 1600 },
  { scheme: 'dark', width: 1280 },
  { scheme: 'light', width: 360 },
  { scheme: 'dark', width: 360 },
]

/** Pictures stay where this says, for whoever wants to look at them. */
const pictures = process.env.REPORT_PICTURES

async function pageOf(rig: Harness, name: string): Promise<string> {
  const path = join(folder, `${name}.html`)
  await command(report, rig, { more: ['--out', path] })
  return path
}

let finished: Promise<string> | undefined
/** The page of a finished task, which is made once. */
const finishedPage = (): Promise<string> => {
  finished ??= finishedTask().then((rig) => pageOf(rig, 'finished'))
  return finished
}

/** Opens a page in every view, and looks at what no page may do. */
async function inAllViews(
  path: string,
  name: string,
  look: (viewed: Viewed, view: Viewing) => Promise<void>,
): Promise<void> {
  for (const view of VIEWS) {
    const viewed = await viewer.show(path, view)
    const { page, noise } = viewed
    const where = `${name}, ${view.scheme}, ${view.width} px`
    const picture = join(pictures ?? '', `${name}-${view.scheme}-${view.width}.png`)
    if (pictures) await page.screenshot({ path: picture, fullPage: true })
    await look(viewed, view)
    await page.evaluate('document.querySelectorAll("details").forEach((one) => { one.open = true })')
    expect(await overhang(page), where).toBe(0)
    expect(await overlappingTexts(page), where).toEqual([])
    expect(await misplacedLabels(page), where).toEqual([])
    expect(unevenScales(await labelsOf(page)), where).toEqual([])
    expect(noise, where).toEqual([])
    if (pictures && name === 'finished')
      await page.screenshot({ path: picture.replace('.png', '-open.png'), fullPage: true })
  }
}

/** Charts whose labels of money are not at even distances, as their lines are. */
const unevenScales = (charts: Awaited<ReturnType<typeof labelsOf>>): readonly string[] =>
  charts
    .map(({ labels }) => labels.filter((label) => label.startsWith('$')))
    .filter((labels) => {
      const values = labels.map((label) => Number(label.slice(1).replaceAll(',', '')))
      const [first = 0, second = 0] = values
      return values.some((value, at) => Math.abs(value - at * (second - first)) > 1e-9)
    })
    .map((labels) => labels.join(' '))

if (pictures) mkdirSync(pictures, { recursive: true })

class Single extends TaskManager {
  *generateRequests() {
    yield { key: 'one', body: ask('one') }
  }

  processResponse() {
    return accept()
  }
}

const CHARTS = [
  'plot-requests',
  'plot-cost',
  'plot-tokens',
  'plot-verdicts',
  'plot-durations',
  'plot-timeline',
]

describe('the report in a browser', () => {
  test('of a finished task has every chart drawn, and its figures', async () => {
    const path = await finishedPage()
    await inAllViews(path, 'finished', async ({ page }) => {
      const charts = await drawnCharts(page)
      expect(charts.map(({ id }) => id)).toEqual(CHARTS)
      for (const { colours, share } of charts) {
        expect(colours).toBeGreaterThan(0)
        expect(share).toBeGreaterThan(0.003)
      }
      expect((await labelsOf(page)).flatMap(({ labels }) => labels).length).toBeGreaterThan(20)
      expect(await page.title()).toBe('task: Complete – Nightshift report')
      const text = await page.locator('body').innerText()
      expect(text).toContain('540 requests succeeded, 60 failed.')
      expect(text).toContain('12 batches ended')
      expect(await page.locator('.cluster').count()).toBe(1)
      expect(await page.locator('.cluster .what').innerText()).toContain('no use for k-#')
    })
  })

  test('of a failed task shows its failures, and runs nothing of what they say', async () => {
    const path = await pageOf(await failedTask(), 'failed')
    await inAllViews(path, 'failed', async ({ page }) => {
      expect(await page.title()).toBe('task: Failed – Nightshift report')
      expect(await page.locator('.lead').first().innerText()).toContain(
        'could not be sent on: <b>403</b></script>',
      )
      expect(await page.locator('.cluster').count()).toBe(40)
      const counts = (await page.locator('.cluster .count').allInnerTexts()).map((text) =>
        Number.parseInt(text, 10),
      )
      expect(counts).toEqual(counts.toSorted((a, b) => b - a))
      expect(counts.reduce((sum, count) => sum + count)).toBe(400)
      await page.locator('.cluster > summary').first().click()
      expect(await page.locator('.cluster').first().locator('.example').count()).toBe(3)
      expect(await page.locator('img, svg:not(.bar), script:not([type])').count()).toBe(2)
      expect(await page.locator('.example').first().innerText()).toMatch(/<|\\u/)
    })
  })

  test('of a task without requests says so', async () => {
    const path = await pageOf(await emptyTask(), 'empty')
    await inAllViews(path, 'empty', async ({ page }) => {
      expect(await page.locator('canvas').count()).toBe(0)
      expect(await page.locator('body').innerText()).toContain('Nothing to show yet')
    })
  })

  test('of a single request has scales of small numbers', async () => {
    const rig = harness({ latency: { runMs: 3_600_000 } })
    await new Single(rig.options()).run()
    const path = await pageOf(rig, 'single')
    await inAllViews(path, 'single', async ({ page }) => {
      expect((await drawnCharts(page)).map(({ id }) => id)).toEqual(CHARTS)
      expect(await page.locator('.badge').first().innerText()).toBe('Complete')
    })
  })

  test('of a task that took no time at all shows the moment', async () => {
    const rig = harness()
    await new Plain(rig.options({ forceDirect: true })).run()
    const path = await pageOf(rig, 'moment')
    await inAllViews(path, 'moment', async ({ page }) => {
      const charts = (await labelsOf(page)).filter(({ labels }) => labels.length > 0)
      expect(charts).toHaveLength(5)
      for (const { id, labels } of charts) expect(labels.join(' '), id).toContain('00:00:00.')
    })
  })

  test('of a task at work says so, and goes up to now', async () => {
    await whileRunning(async (rig) => {
      const path = await pageOf(rig, 'running')
      await inAllViews(path, 'running', async ({ page }) => {
        expect(await page.title()).toBe('task: Running – Nightshift report')
        expect((await drawnCharts(page)).length).toBeGreaterThanOrEqual(4)
      })
    })
  })

  test('of a huge task is drawn whole', { timeout: 120_000 }, async () => {
    const rig = harness()
    writeBigTask(rig.dir, { batches: 5_000, requestsPerBatch: 20 })
    const path = await pageOf(rig, 'huge')
    expect(statSync(path).size).toBeLessThan(2_000_000)
    await inAllViews(path, 'huge', async ({ page }) => {
      expect((await drawnCharts(page)).map(({ id }) => id)).toEqual(CHARTS)
      expect(await page.locator('body').innerText()).toContain('100,000')
    })
  })
})

describe('the page', () => {
  test('is drawn anew when the theme or the width changes, and for print', async () => {
    const path = await finishedPage()
    const { page, noise } = await viewer.show(path, { scheme: 'light', width: 1280 })
    const picture = () => page.evaluate('document.querySelector("#plot-requests canvas").toDataURL()')
    const light = await picture()
    await page.emulateMedia({ colorScheme: 'dark' })
    await expect.poll(picture).not.toBe(light)
    await page.emulateMedia({ colorScheme: 'dark', media: 'print' })
    const isPrinting = () => page.evaluate('document.documentElement.classList.contains("printing")')
    await expect.poll(isPrinting).toBe(true)
    await page.emulateMedia({ colorScheme: 'light', media: 'screen' })
    await expect.poll(isPrinting).toBe(false)
    await page.setViewportSize({ width: 500, height: 900 })
    const widths =
      'Math.max(...[...document.querySelectorAll("canvas")].map((one) => one.getBoundingClientRect().right))'
    await expect.poll(() => page.evaluate(widths)).toBeLessThan(500)
    await expect.poll(() => overhang(page)).toBe(0)
    expect(await drawnCharts(page)).toHaveLength(CHARTS.length)
    if (pictures) await page.pdf({ path: join(pictures, 'finished.pdf') })
    expect(noise).toEqual([])
  })

  test('tells what is under the pointer', async () => {
    const path = await finishedPage()
    const { page, noise } = await viewer.show(path, { scheme: 'light', width: 1280 })
    for (const id of CHARTS) {
      const plot = page.locator(`#${id}`)
      await plot.scrollIntoViewIfNeeded()
      const tip = plot.locator('.tip')
      for (const x of [0.85, 0.6, 0.5, 0.4, 0.3]) {
        const box = await plot.boundingBox()
        if (!box) throw new Error(`${id} is not to be seen`)
        await page.mouse.move(box.x + box.width * x, box.y + box.height * 0.7)
        if (await tip.isVisible()) break
      }
      expect(await tip.innerText(), id).toMatch(/\d/)
    }
    expect(noise).toEqual([])
  })

  test('can be read without scripts', async () => {
    const path = await finishedPage()
    const context = await browser.newContext({ javaScriptEnabled: false, offline: true })
    const page = await context.newPage()
    await page.goto(`file://${path}`)
    expect(await page.locator('.plot').first().isVisible()).toBe(false)
    await page.locator('figure summary').first().click()
    expect(await page.locator('figure table').first().innerText()).toContain('2026-01-01')
    await context.close()
  })
})
