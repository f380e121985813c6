/** What a sample of a task's requests taught about its text: weighted sums over the samples, images left out. */
export interface Calibration {
  readonly samples: number
  /** How many requests the samples stand for. */
  readonly weight: number
  /** UTF-8 bytes of the bodies' text. */
  readonly bytes: number
  /** Tokens that this text was counted as. */
  readonly tokens: number
  /** Sum of 1 / bytes. */
  readonly perByte: number
  /** Sum of tokens / bytes. */
  readonly density: number
}

export const noCalibration: Calibration = Object.freeze({
  samples: 0,
  weight: 0,
  bytes: 0,
  tokens: 0,
  perByte: 0,
  density: 0,
})

/** What a byte of text counts for while nothing is known: English has about 4 bytes for each token. */
const BYTES_PER_TOKEN = 4

/**
 * One more sample. `weight` says how many requests it stands for (`sampleWeight`), so that the dense sample of a
 * task's beginning does not speak for all of it. A body without text teaches nothing.
 */
export function withSample(c: Calibration, textBytes: number, textTokens: number, weight = 1): Calibration {
  if (!(textBytes > 0 && textTokens >= 0 && weight > 0)) return c
  return {
    samples: c.samples + 1,
    weight: c.weight + weight,
    bytes: c.bytes + weight * textBytes,
    tokens: c.tokens + weight * textTokens,
    perByte: c.perByte + weight / textBytes,
    density: c.density + (weight * textTokens) / textBytes,
  }
}

/**
 * Whole tokens of a body with that many bytes of text, never more than one a byte. Without samples: 4 bytes for each.
 *
 * A straight line through the samples: what every body has (instructions, a schema) and what a byte more costs.
 * The squares of the errors count by 1 / bytes, because long texts err by more; such a line meets the sum of the
 * samples exactly, so the errors of single requests cancel out in the sum of a task.
 */
export function estimateText(c: Calibration, textBytes: number): number {
  const { base, slope } = lineThrough(c)
  return Math.max(0, Math.min(Math.round(base + slope * textBytes), Math.ceil(textBytes)))
}

/** With fewer samples than these a text counts by the mean of a byte. */
const LINE_SAMPLES = 8

interface Line {
  /** Tokens. */
  readonly base: number
  /** Tokens for each byte. */
  readonly slope: number
}

function lineThrough(c: Calibration): Line {
  if (c.bytes <= 0) return { base: 0, slope: 1 / BYTES_PER_TOKEN }
  const ratio: Line = { base: 0, slope: c.tokens / c.bytes }
  const spread = c.perByte * c.bytes - c.weight ** 2
  // Few samples, or lengths that hardly differ, cannot tell the base from the slope.
  if (c.samples < LINE_SAMPLES || spread < 1e-3 * c.weight ** 2) return ratio
  const base = (c.density * c.bytes - c.tokens * c.weight) / spread
  const slope = (c.tokens - base * c.weight) / c.bytes
  // Texts of two kinds can give lines that no kind of text has. A base below zero is common: JSON around the text
  // that is no part of the prompt.
  return slope >= 0 && slope <= 1 ? { base, slope } : ratio
}

/** All requests before this one are sampled; after it the distance between samples grows. */
const DENSE = 32

/**
 * Whether a task's request (from 0, in order of coming) is sampled: the first 32, then those at j^3 / 8. That makes 45
 * of 1,000 requests, 118 of 100,000 and 225 of 1,000,000.
 */
export const isSampled = (index: number): boolean => index < DENSE || sampleAt(cubeStep(index)) === index

/** How many requests the sample at this index stands for: itself and those since the sample before. */
export function sampleWeight(index: number): number {
  if (index < DENSE) return 1
  return index - Math.max(DENSE - 1, sampleAt(cubeStep(index) - 1))
}

const sampleAt = (step: number): number => Math.floor(step ** 3 / 8)

/** The first step whose sample lies at or after the index. */
function cubeStep(index: number): number {
  const near = Math.floor(2 * Math.cbrt(index))
  return [near - 1, near, near + 1].find((step) => sampleAt(step) >= index) ?? near + 2
}
