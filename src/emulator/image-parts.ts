import type { Endpoint } from '../openai/wire.ts'
import { imageSizeOfDataUrl } from '../tokens/data-url.ts'
import { ASSUMED_IMAGE_SIZE, imageTokens } from '../tokens/images.ts'
import { assertNever } from '../util/exhaustive.ts'
import { asArray, asObject, asString, isObject, type JsonObject } from './json.ts'

/** A picture in a prompt, as it was given: nothing about it is checked yet. */
export interface ImagePart {
  /** Where its URL stands: `messages[0].content[1].image_url.url`, `input[0].content[1].image_url`. */
  readonly place: string
  /** The item of the prompt that it belongs to: `messages[0]`. */
  readonly item: string
  /** The item's role; undefined where it has none. */
  readonly role: string | undefined
  readonly url: unknown
  readonly detail: unknown
  /** Where `detail` stands. */
  readonly detailPlace: string
  /** An uploaded file in the place of a URL; only in responses. */
  readonly fileId: unknown
  /** What stands in `image_url`, where that is not of the endpoint's form. */
  readonly oddForm: 'string' | 'object' | undefined
}

/** All pictures of a prompt, in order. */
export function imageParts(endpoint: Endpoint, body: JsonObject): readonly ImagePart[] {
  switch (endpoint) {
    case '/v1/chat/completions':
      return partsOf(body.messages, { list: 'messages', fields: ['content'], toPart: chatPart })
    case '/v1/responses':
      // The output of a function call may be a list of parts too.
      return partsOf(body.input, { list: 'input', fields: ['content', 'output'], toPart: responsesPart })
    case '/v1/embeddings':
      return []
    default:
      return assertNever(endpoint)
  }
}

/**
 * Prompt tokens of all pictures of a prompt. One that cannot be looked at is taken for one of the assumed size: the
 * emulator never fetches a URL, and keeps no uploaded pictures.
 */
export function imagePromptTokens(endpoint: Endpoint, body: JsonObject): number {
  const model = asString(body.model) ?? ''
  return imageParts(endpoint, body).reduce((sum, { url, detail }) => {
    const size = typeof url === 'string' ? imageSizeOfDataUrl(url) : undefined
    return sum + imageTokens(model, asString(detail), size ?? ASSUMED_IMAGE_SIZE)
  }, 0)
}

interface Owner {
  readonly item: string
  readonly role: string | undefined
  readonly place: string
}

interface Search {
  readonly list: string
  readonly fields: readonly string[]
  readonly toPart: (part: JsonObject, owner: Owner) => ImagePart | undefined
}

const partsOf = (items: unknown, { list, fields, toPart }: Search): readonly ImagePart[] =>
  asArray(items).flatMap((given, index) => {
    const item = `${list}[${index}]`
    const owned = asObject(given)
    return fields.flatMap((field) =>
      asArray(owned[field]).flatMap((part, at) => {
        const owner = { item, role: asString(owned.role), place: `${item}.${field}[${at}]` }
        return toPart(asObject(part), owner) ?? []
      }),
    )
  })

function chatPart(part: JsonObject, { item, role, place }: Owner): ImagePart | undefined {
  if (part.type !== 'image_url') return undefined
  const given = part.image_url
  const isBare = typeof given === 'string'
  const { url, detail } = isBare ? { url: given, detail: undefined } : asObject(given)
  return {
    ...{ item, role, url, detail },
    place: isBare ? `${place}.image_url` : `${place}.image_url.url`,
    detailPlace: `${place}.image_url.detail`,
    fileId: undefined,
    oddForm: isBare ? 'string' : undefined,
  }
}

function responsesPart(part: JsonObject, { item, role, place }: Owner): ImagePart | undefined {
  if (part.type !== 'input_image') return undefined
  const { image_url: given, detail, file_id: fileId } = part
  const isNested = isObject(given)
  return {
    ...{ item, role, detail, fileId },
    url: isNested ? given.url : given,
    place: `${place}.image_url`,
    detailPlace: `${place}.detail`,
    oddForm: isNested ? 'object' : undefined,
  }
}
