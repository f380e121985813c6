import type { ImageRule, PatchBudget, PatchRule, TileRule } from './image-rules.ts'

/**
 * How prompts are put together.
 * - `chatml`: gpt-4o and before: 3 tokens for each message and 3 for the reply.
 * - `o1`: the same, with 7 more between messages.
 * - `harmony`: o3, gpt-5 and later: 3 tokens for each message and 2 for the reply.
 */
export type PromptForm = 'chatml' | 'o1' | 'harmony'

/** Whose constants the text of tools is counted with. */
export type ToolForm = 'gpt-4' | 'turbo' | 'gpt-4o'

export type EncodingName = 'o200k_base' | 'cl100k_base'

/** Models whose prompts are counted alike. */
export interface ModelFamily {
  readonly name: string
  readonly encoding: EncodingName
  readonly prompt: PromptForm
  readonly tools: ToolForm
  readonly images: ImageRule
}

const tiles = (base: number, tile: number): TileRule => ({ kind: 'tiles', base, tile })

interface SmallPatches {
  readonly rate: number
  readonly mostRate?: number
  readonly side?: number
}

/** At most 1536 patches, whatever the detail. */
function smallPatches({ rate, mostRate = rate, side }: SmallPatches): PatchRule {
  const budget = { side, patches: 1536 }
  return { kind: 'patches', rate, mostRate, low: budget, high: budget, auto: budget }
}

const largePatches = (auto: PatchBudget): PatchRule => ({
  kind: 'patches',
  rate: 120,
  mostRate: 120,
  low: { side: 512 },
  high: { patches: 2500 },
  auto,
})

type Rest = Partial<Pick<ModelFamily, 'encoding' | 'prompt' | 'tools'>>

const family = (name: string, images: ImageRule, rest: Rest = {}): ModelFamily => ({
  ...{ encoding: 'o200k_base', prompt: 'chatml', tools: 'gpt-4o' },
  ...rest,
  name,
  images,
})

const HARMONY: Rest = { prompt: 'harmony' }
const GPT_4: Rest = { encoding: 'cl100k_base', tools: 'gpt-4' }
const TURBO: Rest = { encoding: 'cl100k_base', tools: 'turbo' }

/** What a model that is not known is counted as: newer models resemble the newest. */
const NEWEST = family('gpt-6', largePatches({ side: 6000 }), HARMONY)

/**
 * Tried from the top. Sources, as of 2026-11:
 * - Tiles: OpenAI's guide "Images and vision"; for gpt-4.1 bills of 773 tokens for 1800 x 2400 and of 1453 and 773 for
 *   2049 x 513 and 2050 x 513, 8 of them text (community.openai.com 1230130 and 1281361).
 * - Patches of gpt-4.1-mini and -nano, o4-mini: the same guide; 2400 x 1800 and 4000 x 1474 cost 1452 and 1536 patches of
 *   gpt-4.1-mini, which only adds up when the image is fitted into 2048 x 2048 first (the same two threads).
 * - gpt-5-mini 1.2 and -nano 1.5: measured (community.openai.com 1344040); the guide's 1.62 and 2.46 serve as ceilings.
 * - gpt-5.5 and gpt-6: measured, 4032 x 3024 costs 11868 and 14364 by default and 2942 at high detail. That gpt-6 has no
 *   limit but a side of 6000 pixels, and what low detail does from gpt-5.4 on, is assumed.
 * - Frames: gpt-5 was billed one token less than the older sum (github.com/pydantic/pydantic-ai/pull/3447).
 */
const FAMILIES: readonly (readonly [RegExp, ModelFamily])[] = [
  [/^gpt-4\.1-mini/, family('gpt-4.1-mini', smallPatches({ rate: 162, side: 2048 }))],
  [/^gpt-4\.1-nano/, family('gpt-4.1-nano', smallPatches({ rate: 246, side: 2048 }))],
  [/^(o4-mini|codex-mini)/, family('o4-mini', smallPatches({ rate: 172, side: 2048 }), HARMONY)],
  [/^gpt-5(\.1-codex)?-mini/, family('gpt-5-mini', smallPatches({ rate: 120, mostRate: 162 }), HARMONY)],
  [/^gpt-5-nano/, family('gpt-5-nano', smallPatches({ rate: 150, mostRate: 246 }), HARMONY)],
  [/^gpt-5\.([23](?!\d)|4-(mini|nano))/, family('gpt-5.2', smallPatches({ rate: 120 }), HARMONY)],
  [/^gpt-5\.[4-9]/, family('gpt-5.5', largePatches({ side: 6000, patches: 10_000 }), HARMONY)],
  [/^gpt-5/, family('gpt-5', tiles(70, 140), HARMONY)],
  [/^gpt-6/, NEWEST],
  [/^gpt-4o-mini/, family('gpt-4o-mini', tiles(2833, 5667))],
  [/^(chatgpt-4o|gpt-4o|gpt-4\.[15])/, family('gpt-4o', tiles(85, 170))],
  [/^gpt-4-(turbo|vision|1106|0125)/, family('gpt-4-turbo', tiles(85, 170), TURBO)],
  [/^gpt-4/, family('gpt-4', tiles(85, 170), GPT_4)],
  [/^gpt-3\.5/, family('gpt-3.5-turbo', tiles(85, 170), TURBO)],
  [/^o1/, family('o1', tiles(75, 150), { prompt: 'o1' })],
  [/^o3/, family('o3', tiles(75, 150), HARMONY)],
  [/^computer-use-preview/, family('computer-use-preview', tiles(65, 129), HARMONY)],
  [/^text-embedding-/, family('text-embedding', tiles(85, 170), GPT_4)],
]

/** How the images of any model may be counted. */
export const IMAGE_RULES: readonly ImageRule[] = FAMILIES.map(([, { images }]) => images)

/** The family of a model and whether it is known; a fine-tuned model belongs to what it was made from. */
export function familyOf(model: string): { readonly family: ModelFamily; readonly known: boolean } {
  const base = model.replace(/^(ft:|openai\/)/, '')
  const found = FAMILIES.find(([pattern]) => pattern.test(base))
  return { family: found?.[1] ?? NEWEST, known: found !== undefined }
}
