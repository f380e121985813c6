import { imageSize } from 'image-size'
import type { ImageSize } from './image-rules.ts'

/** Decoded bytes to look at, one try after another: most headers are in the first, a JPEG's may come after its EXIF data. */
const LOOKS = [1024, 64 * 1024, 1024 * 1024] as const

/**
 * The size of an image in a `data:` URL; undefined when it is no image that can be read. At most the first MiB is
 * decoded.
 */
export function imageSizeOfDataUrl(url: string): ImageSize | undefined {
  const comma = url.indexOf(',')
  if (!url.startsWith('data:') || comma < 0 || !url.slice(0, comma).endsWith(';base64')) return undefined
  const start = comma + 1
  for (const bytes of LOOKS) {
    const end = start + Math.ceil(bytes / 3) * 4
    const size = imageSizeOfBytes(Buffer.from(url.slice(start, end), 'base64'))
    if (size || end >= url.length) return size
  }
  return undefined
}

/** The size of an image from its first bytes; undefined when they do not tell. */
export function imageSizeOfBytes(bytes: Uint8Array): ImageSize | undefined {
  try {
    const { width, height } = imageSize(bytes)
    return isPixels(width) && isPixels(height) ? { width, height } : undefined
  } catch {
    // The package throws for what it cannot read, and bytes that end too early may be anything: both mean "not known".
    return undefined
  }
}

const isPixels = (value: number): boolean => Number.isSafeInteger(value) && value > 0
