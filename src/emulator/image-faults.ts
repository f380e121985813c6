import type { Endpoint } from '../openai/wire.ts'
import { imageSizeOfDataUrl } from '../tokens/data-url.ts'
import { type ImagePart, imageParts } from './image-parts.ts'
import type { JsonObject } from './json.ts'

/** Why a body is refused. `param`: the part of the body at fault, where the API names one. */
export interface BodyFault {
  readonly message: string
  readonly param?: string
  readonly code: string
}

export interface ImageLimits {
  /** Pictures of one request. */
  readonly maxImages: number
  /** Bytes of all data URLs of one request. */
  readonly maxImageBytes: number
}

const DETAILS = ['low', 'high', 'auto', 'original']
const EXAMPLE = 'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU='

/**
 * What is wrong with the pictures of a body, in the words of the API; undefined when nothing is. Texts and codes are
 * those that people reported (GitHub issues, the developer forum), except for too many and too large: there the
 * limits are documented, but not how a request beyond them is answered. No pixel is decoded: a picture whose header
 * can be read is taken for a good one, and an animation too.
 */
export function imageFault(endpoint: Endpoint, body: JsonObject, limits: ImageLimits): BodyFault | undefined {
  const parts = imageParts(endpoint, body)
  if (parts.length === 0) return undefined
  const tooMuch = limitFault(parts, limits)
  if (tooMuch) return tooMuch
  for (const part of parts) {
    const fault = formFault(part, endpoint) ?? urlFault(part, endpoint) ?? detailFault(part)
    if (fault) return fault
  }
  return undefined
}

function limitFault(
  parts: readonly ImagePart[],
  { maxImages, maxImageBytes }: ImageLimits,
): BodyFault | undefined {
  if (parts.length > maxImages) {
    const message = `Too many images in request: ${parts.length}. Max is ${maxImages}.`
    return { message, code: 'too_many_images' }
  }
  const bytes = parts.reduce((sum, { url }) => sum + (isDataUrl(url) ? url.length : 0), 0)
  if (bytes <= maxImageBytes) return undefined
  const message = `The images of the request have ${bytes} bytes in all. Max is ${maxImageBytes}.`
  return { message, code: 'image_file_too_large' }
}

/** Each endpoint wants its pictures in a form of its own, and chat wants them from the user alone. */
function formFault(part: ImagePart, endpoint: Endpoint): BodyFault | undefined {
  const { item, role, place, oddForm, url, fileId } = part
  if (endpoint === '/v1/chat/completions' && role !== 'user') {
    const message = `Invalid '${item}'. Image URLs are only allowed for messages with role 'user', but this message with role '${role}' contains an image URL.`
    return { message, param: item, code: 'invalid_value' }
  }
  if (oddForm !== undefined) {
    const wanted = oddForm === 'string' ? 'an object' : 'an image URL'
    const got = oddForm === 'string' ? 'a string' : 'an object'
    const message = `Invalid type for '${place}': expected ${wanted}, but got ${got} instead.`
    return { message, param: place, code: 'invalid_type' }
  }
  if (typeof url === 'string' || (typeof fileId === 'string' && fileId !== '')) return undefined
  return {
    message: `Missing required parameter: '${place}'.`,
    param: place,
    code: 'missing_required_parameter',
  }
}

function urlFault({ url, place }: ImagePart, endpoint: Endpoint): BodyFault | undefined {
  if (typeof url !== 'string') return undefined
  if (/^https?:/i.test(url)) return remoteFault(url)
  const got = dataUrlProblem(url)
  if (got === undefined) return pictureFault(url, endpoint)
  const head = endpoint === '/v1/responses' ? `Invalid '${place}'` : `Invalid image URL: '${place}'`
  const message = `${head}. Expected a base64-encoded data URL with an image MIME type (e.g. '${EXAMPLE}'), but got ${got}`
  return { message, param: place, code: 'invalid_value' }
}

/** Nothing is fetched: only what no fetch could ever get is refused. */
const remoteFault = (url: string): BodyFault | undefined =>
  URL.canParse(url)
    ? undefined
    : { message: `Failed to download image from ${url}.`, code: 'invalid_image_url' }

const isDataUrl = (url: unknown): url is string => typeof url === 'string' && url.startsWith('data:')

/** What a URL is instead of the base64 of a picture; undefined when it is that. */
function dataUrlProblem(url: string): string | undefined {
  if (!isDataUrl(url)) return "a value without the 'data:' prefix."
  const { type, marked, data } = readDataUrl(url)
  if (!type.startsWith('image/')) return `unsupported MIME type '${type}'.`
  if (!marked) return "a value without the ';base64' separator."
  if (data === '') return 'empty base64-encoded bytes.'
  return isBase64(data) ? undefined : 'an invalid base64-encoded value.'
}

interface DataUrl {
  readonly type: string
  /** It says that base64 follows. */
  readonly marked: boolean
  readonly data: string
}

function readDataUrl(url: string): DataUrl {
  const comma = url.indexOf(',')
  const [type = '', ...parameters] = url.slice('data:'.length, comma < 0 ? undefined : comma).split(';')
  const marked = comma >= 0 && parameters.at(-1) === 'base64'
  return { type: type.toLowerCase(), marked, data: comma < 0 ? '' : url.slice(comma + 1) }
}

/** A search for what does not belong there: a pattern for the whole would be slow on megabytes. */
function isBase64(data: string): boolean {
  const padding = data.endsWith('==') ? 2 : data.endsWith('=') ? 1 : 0
  return data.length % 4 === 0 && !/[^A-Za-z0-9+/]/.test(data.slice(0, data.length - padding))
}

/** Judged by the bytes: the type that the URL names is not believed. */
function pictureFault(url: string, endpoint: Endpoint): BodyFault | undefined {
  const isKnown = isPicture(readDataUrl(url).data)
  if (isKnown && imageSizeOfDataUrl(url)) return undefined
  if (endpoint === '/v1/responses') {
    const formats = "['image/jpeg', 'image/png', 'image/gif', 'image/webp']"
    const message = `The image data you provided does not represent a valid image. Please check your input and try again with one of the supported image formats: ${formats}.`
    return { message, param: 'input', code: 'invalid_value' }
  }
  const wish = isKnown ? 'is valid.' : "has of one the following formats: ['png', 'jpeg', 'gif', 'webp']."
  const message = `You uploaded an unsupported image. Please make sure your image ${wish}`
  return { message, code: isKnown ? 'image_parse_error' : 'invalid_image_format' }
}

/** Base64 of the twelve bytes that tell the formats apart. */
const BEGINNING_LENGTH = 16

function isPicture(data: string): boolean {
  const beginning = Buffer.from(data.slice(0, BEGINNING_LENGTH), 'base64').toString('latin1')
  const isWebp = beginning.startsWith('RIFF') && beginning.startsWith('WEBP', 8)
  return isWebp || ['\x89PNG\r\n\x1a\n', '\xff\xd8\xff', 'GIF8'].some((magic) => beginning.startsWith(magic))
}

function detailFault({ detail, detailPlace }: ImagePart): BodyFault | undefined {
  if (detail === undefined || detail === null) return undefined
  if (typeof detail === 'string' && DETAILS.includes(detail)) return undefined
  const message = `Invalid value: '${String(detail)}'. Supported values are: 'low', 'high', 'auto', and 'original'.`
  return { message, param: detailPlace, code: 'invalid_value' }
}
