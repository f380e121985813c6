/** Why a body is not taken, in OpenAI's terms. */
export interface Refusal {
  readonly kind: 'refused'
  /** HTTP status. */
  readonly status: number
  readonly code: string
  /** The field that is at fault. */
  readonly param: string | null
  readonly message: string
}

export const refusal = (code: string, param: string | null, message: string, status = 400): Refusal => ({
  kind: 'refused',
  status,
  code,
  param,
  message,
})

export const missing = (param: string, advice: string): Refusal =>
  refusal('missing_required_parameter', param, `Missing required parameter: '${param}'. ${advice}`)

export const wrongType = (param: string, expected: string, value: unknown): Refusal =>
  refusal(
    'invalid_type',
    param,
    `Invalid type for '${param}': expected ${expected}, but got ${kindOf(value)}.`,
  )

export function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
