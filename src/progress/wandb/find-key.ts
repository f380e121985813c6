import { errorText } from '../../errors.ts'
import type { FileSystem } from '../../state/file-system.ts'
import { parseNetrc } from '../../util/netrc.ts'
import { Secret } from '../../util/secret.ts'
import { systemCode } from '../../util/system-code.ts'

export interface KeySources {
  /** `WANDB_API_KEY`. */
  readonly apiKey: Secret | undefined
  /** Base URL of the API. */
  readonly baseUrl: string
  /** Where a netrc file may be, the best place first; the first that exists counts. */
  readonly netrcPaths: readonly string[]
}

export interface FoundKey {
  readonly key: Secret | undefined
  /** Why a netrc file that is there could not be used; undefined when nothing is wrong. */
  readonly problem?: string
}

/** What W&B's own tools ask of a key: letters, digits and underscores, 40 of them or more after the last hyphen. */
const KEY = /^(?:.*-)?\w{40,}$/

/**
 * The key for a W&B server: `WANDB_API_KEY`, else the password of the netrc entry for its host (with its port, else
 * without). A `default` entry, which is for any host at all, counts only when it has the form of a W&B key: it may be
 * somebody's password for something else. Never throws.
 */
export async function findKey(
  { apiKey, baseUrl, netrcPaths }: KeySources,
  fs: FileSystem,
): Promise<FoundKey> {
  if (apiKey) return { key: apiKey }
  for (const path of netrcPaths) {
    try {
      return { key: keyFrom(await fs.readText(path), baseUrl) }
    } catch (error) {
      if (systemCode(error) !== 'ENOENT')
        return { key: undefined, problem: `${path} cannot be read (${errorText(error)})` }
    }
  }
  return { key: undefined }
}

/** The key for a W&B server in the text of a netrc file. */
export function keyFrom(netrc: string, baseUrl: string): Secret | undefined {
  const url = URL.parse(baseUrl)
  if (!url) return undefined
  const { machines, fallback } = parseNetrc(netrc)
  const own = machines.get(url.host)?.password || machines.get(url.hostname)?.password
  const password = own || (fallback?.password && KEY.test(fallback.password) ? fallback.password : undefined)
  return password ? new Secret(password) : undefined
}
