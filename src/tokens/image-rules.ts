/** Pixels. */
export interface ImageSize {
  readonly width: number
  readonly height: number
}

/** How a family of models turns an image into tokens. */
export type ImageRule = TileRule | PatchRule

/**
 * Tiles of 512 pixels, after the image was fitted into 2048 x 2048 and its shorter side brought down to 768: `base` and
 * `tile` for each; low detail is the base alone.
 */
export interface TileRule {
  readonly kind: 'tiles'
  readonly base: number
  readonly tile: number
}

/** Patches of 32 pixels, after the image was scaled down to the budget of its detail. */
export interface PatchRule {
  readonly kind: 'patches'
  /** Tokens for 100 patches, as measured. */
  readonly rate: number
  /** The same for a ceiling: the highest that was ever measured or documented. */
  readonly mostRate: number
  readonly low: PatchBudget
  readonly high: PatchBudget
  /** Also for `original`, and where the request says nothing. */
  readonly auto: PatchBudget
}

/** Neither side is longer than `side` pixels and there are at most `patches`; undefined: no such limit. */
export interface PatchBudget {
  readonly side?: number | undefined
  readonly patches?: number | undefined
}

const TILE = 512
const TILES_FIT = 2048
const TILES_SHORT_SIDE = 768
const PATCH = 32
/** The longest side that is documented for any detail (gpt-5.4, `original`). */
const LONGEST_SIDE = 6000

/** Prompt tokens of an image of that size. */
export function ruleTokens(rule: ImageRule, detail: string | undefined, size: ImageSize): number {
  const real = atLeastOnePixel(size)
  return rule.kind === 'tiles'
    ? tileTokens(rule, detail, tileCount(real))
    : patchTokens(rule.rate, patchCount(real, budgetOf(rule, detail)))
}

/**
 * The most that an image can cost: one of that size, or of any size when none is given. Low detail is not trusted to
 * make patches fewer, because models were measured that ignore it; nor that an image whose detail is left open is taken
 * at a low one.
 */
export function mostRuleTokens(rule: ImageRule, detail: string | undefined, size?: ImageSize): number {
  if (rule.kind === 'tiles') {
    const count = size ? tileCount(atLeastOnePixel(size)) : mostTiles
    return tileTokens(rule, detail === 'low' ? 'low' : 'high', count)
  }
  const budget = detail === 'high' ? rule.high : rule.auto
  const any = mostPatches(budget)
  return patchTokens(rule.mostRate, size ? Math.min(any, rawPatches(atLeastOnePixel(size))) : any)
}

/** Where the request leaves the detail open, an image of one tile is taken at low detail. */
const tileTokens = (rule: TileRule, detail: string | undefined, count: number): number =>
  detail === 'low' || (count === 1 && detail !== 'high') ? rule.base : rule.base + rule.tile * count

function tileCount(size: ImageSize): number {
  const { width, height } = shrink(
    fitInto(size, TILES_FIT),
    (one) => TILES_SHORT_SIDE / Math.min(one.width, one.height),
  )
  return Math.ceil(width / TILE) * Math.ceil(height / TILE)
}

const mostTiles = Math.ceil(TILES_FIT / TILE) * Math.ceil(TILES_SHORT_SIDE / TILE)

/** Rounded up, as measured; in whole hundredths, so that no fraction of a float becomes a token. */
const patchTokens = (rate: number, count: number): number => Math.ceil((count * rate) / 100)

const budgetOf = (rule: PatchRule, detail: string | undefined): PatchBudget =>
  detail === 'low' ? rule.low : detail === 'high' ? rule.high : rule.auto

function patchCount(size: ImageSize, { side, patches }: PatchBudget): number {
  const fitted = side === undefined ? size : fitInto(size, side)
  const count = rawPatches(fitted)
  return patches === undefined || count <= patches ? count : scaledPatches(fitted, patches)
}

/**
 * The documented way to fewer patches: scale the area to the budget, then down a little more until whole patches fit
 * along one side. Very long images can still need more than the budget; they are billed at it.
 */
function scaledPatches({ width, height }: ImageSize, most: number): number {
  const factor = Math.sqrt((most * PATCH ** 2) / (width * height))
  const [across, down] = [(width * factor) / PATCH, (height * factor) / PATCH]
  const whole = Math.min(wholeShare(across), wholeShare(down))
  return Math.min(most, ceilPatches(across * whole) * ceilPatches(down * whole))
}

/** How much of so many patches is whole; a side of less than one patch stays as it is. */
const wholeShare = (count: number): number => (count < 1 ? 1 : Math.floor(count) / count)

/** A hair above a whole number is that number: it comes from dividing and multiplying again. */
const ceilPatches = (count: number): number => Math.max(1, Math.ceil(count - 1e-9))

const rawPatches = ({ width, height }: ImageSize): number =>
  Math.ceil(width / PATCH) * Math.ceil(height / PATCH)

const mostPatches = ({ side = LONGEST_SIDE, patches }: PatchBudget): number =>
  Math.min(patches ?? Number.POSITIVE_INFINITY, Math.ceil(side / PATCH) ** 2)

const fitInto = (size: ImageSize, side: number): ImageSize =>
  shrink(size, (one) => side / Math.max(one.width, one.height))

/** Only downwards, to whole pixels: 2049 x 513 becomes 2048 x 513, and 2050 x 513 becomes 2048 x 512. */
function shrink(size: ImageSize, by: (size: ImageSize) => number): ImageSize {
  const factor = by(size)
  if (factor >= 1) return size
  return atLeastOnePixel({ width: Math.round(size.width * factor), height: Math.round(size.height * factor) })
}

const atLeastOnePixel = ({ width, height }: ImageSize): ImageSize => ({
  width: Math.max(1, width),
  height: Math.max(1, height),
})
