const SYSTEM_CODE = /^E[A-Z0-9]+$/

/** The `code` of a system error (ENOSPC, EIO, ...), or undefined for anything else. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error && 'code' in error)) return undefined
  return typeof error.code === 'string' && SYSTEM_CODE.test(error.code) ? error.code : undefined
}
