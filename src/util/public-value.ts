import { basename } from 'node:path'
import type { OptionTable } from './option-entry.ts'
import { hideSecrets } from './option-names.ts'
import { optionTable } from './option-table.ts'

const table: OptionTable = optionTable

/**
 * The value of an option as others may see it. Of a path only the last part: the rest says who and where somebody is.
 * Of a URL only the server: paths and queries of gateways may have tokens in them.
 */
export function publicValue(name: string, value: unknown): unknown {
  if (typeof value !== 'string') return value
  switch (table[name]?.value) {
    case 'dir':
    case 'file':
      return hideSecrets(basename(value))
    case 'url':
      return URL.parse(value)?.origin
    default:
      return hideSecrets(value)
  }
}
