import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'

/** The library that draws the charts, as text that goes into the page. */
export interface PlotLibrary {
  readonly script: string
  readonly style: string
}

/** Reads it from its package. Throws the system's error when it is not installed. */
export async function readPlotLibrary(): Promise<PlotLibrary> {
  const { resolve } = createRequire(import.meta.url)
  const [script, style] = await Promise.all(
    ['uplot/dist/uPlot.iife.min.js', 'uplot/dist/uPlot.min.css'].map((file) =>
      readFile(resolve(file), 'utf8'),
    ),
  )
  return { script: script ?? '', style: style ?? '' }
}
