import { UsageError } from '../errors.ts'
import { findKey } from '../progress/wandb/find-key.ts'
import { nodeFileSystem } from '../state/file-system.ts'
import type { WandbEnvironment } from '../util/options.ts'
import type { Secret } from '../util/secret.ts'

/** The key for the server at `baseUrl`. Throws UsageError `missing_wandb_key`. */
export async function wandbKey(
  { apiKey, netrc }: Pick<WandbEnvironment, 'apiKey' | 'netrc'>,
  baseUrl: string,
): Promise<Secret> {
  const netrcPaths = netrc === undefined ? [] : [netrc]
  const { key, problem } = await findKey({ apiKey, baseUrl, netrcPaths }, nodeFileSystem)
  if (key) return key
  const host = URL.parse(baseUrl)?.host
  const why = problem ?? `WANDB_API_KEY is not set, and no netrc file has an entry for ${host}`
  throw new UsageError('missing_wandb_key', `${why}; the key is in the settings of your W&B account`)
}
