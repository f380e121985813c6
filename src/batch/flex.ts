import type { Failure } from './reply.ts'

/**
 * What a flex call was told about flex rather than about the request. `full`: there is no room for it now, and nothing
 * was done or charged. `unknown`: the model cannot be called in this way at all.
 */
export type FlexRefusal = 'full' | 'unknown'

/** Undefined when the failure of a flex call is one that any call may have. */
export function flexRefusal({ status, code, message }: Failure): FlexRefusal | undefined {
  if (status === 429 && /resource_unavailable/i.test(code)) return 'full'
  return status === 400 && /\bflex\b|service_tier/i.test(message) ? 'unknown' : undefined
}

/**
 * A request body, as JSON text, that asks for the flex tier. Undefined when it names a tier already: that is the
 * user's word, but for `auto`, which leaves the choice to others.
 */
export function withFlexTier(bodyText: string): string | undefined {
  const body: unknown = JSON.parse(bodyText)
  if (typeof body !== 'object' || body === null) return undefined
  const tier = 'service_tier' in body ? body.service_tier : undefined
  if (tier === 'auto' || tier === null) return JSON.stringify({ ...body, service_tier: 'flex' })
  if (tier !== undefined) return undefined
  const end = bodyText.lastIndexOf('}')
  const comma = Object.keys(body).length === 0 ? '' : ','
  return `${bodyText.slice(0, end)}${comma}"service_tier":"flex"${bodyText.slice(end)}`
}
