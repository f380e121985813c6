import type { Endpoint } from '../openai/wire.ts'
import { type BodyMeasure, type ImageSizeOf, measureBody } from '../tokens/measure.ts'

/** A request as it will be sent, as far as its tokens are concerned. */
export interface Countable {
  readonly key: string
  readonly endpoint: Endpoint
  readonly model: string
  /** As JSON text. */
  readonly bodyText: string
  /** The same as an object, when somebody has it. */
  readonly body?: object | undefined
  /** What was measured of it before. */
  readonly measure?: BodyMeasure | undefined
}

/** What a request costs at a glance, measured now unless it was before. */
export function measureOf(request: Countable, sizeOf?: ImageSizeOf): BodyMeasure {
  const { endpoint, model, bodyText, body, measure } = request
  if (measure) return measure
  const facts = { model, bodyBytes: Buffer.byteLength(bodyText), sizeOf }
  return measureBody(endpoint, body ? { ...body } : parsedBody(bodyText), facts)
}

/** Bodies were checked when they came: they are objects. */
export function parsedBody(bodyText: string): Readonly<Record<string, unknown>> {
  const body: unknown = JSON.parse(bodyText)
  return typeof body === 'object' && body !== null ? { ...body } : {}
}
