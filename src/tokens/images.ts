import { imageSizeOfDataUrl } from './data-url.ts'
import { familyOf, IMAGE_RULES } from './families.ts'
import { type ImageSize, mostRuleTokens, ruleTokens } from './image-rules.ts'

export type { ImageSize } from './image-rules.ts'

/** Tells the size of a remote image by its URL; undefined: not known. */
export type ImageSizeOf = (url: string) => ImageSize | undefined

/** What an image is taken for whose size cannot be found out. */
export const ASSUMED_IMAGE_SIZE: ImageSize = Object.freeze({ width: 1024, height: 1024 })

/**
 * Prompt tokens of one image, by the formula of the model's family; those of an unknown model by the newest family's.
 * `detail` is the request's word (`low`, `high`, `auto`, `original`); undefined is `auto`.
 */
export const imageTokens = (model: string, detail: string | undefined, size: ImageSize): number =>
  ruleTokens(familyOf(model).family.images, detail, size)

/**
 * The most that an image can cost: one of that size, or without a size any that the model takes. A model that is not
 * known may be any that is, under the name of a deployment.
 */
export function mostImageTokens(model: string, detail: string | undefined, size?: ImageSize): number {
  const { family, known } = familyOf(model)
  if (known) return mostRuleTokens(family.images, detail, size)
  return Math.max(...IMAGE_RULES.map((rule) => mostRuleTokens(rule, undefined, size)))
}

/** The size of an image by its URL: the data's own, else what the port knows. */
export const sizeOfImage = (url: string, sizeOf: ImageSizeOf | undefined): ImageSize | undefined =>
  url.startsWith('data:') ? imageSizeOfDataUrl(url) : sizeOf?.(url)
