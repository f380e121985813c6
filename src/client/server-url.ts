import { UsageError } from '../errors.ts'

/**
 * Where the API of a gateway begins, from its address as people write it: with or without `/v1`, with or without a
 * slash at the end. Throws `UsageError` (`bad_server_url`) for what is no http or https address.
 */
export function apiUrl(batchServerUrl: string): string {
  const url = URL.parse(batchServerUrl)
  if (!url || !/^https?:$/.test(url.protocol))
    throw new UsageError(
      'bad_server_url',
      `batchServerUrl is "${batchServerUrl}", which is no http or https address: give one such as http://127.0.0.1:9487`,
    )
  if (url.username || url.password)
    throw new UsageError(
      'bad_server_url',
      `batchServerUrl of ${url.host} holds a user or password: leave them out, and give the key as batchServerApiKey`,
    )
  const path = url.pathname.replace(/\/+$/, '')
  return `${url.origin}${path.endsWith('/v1') ? path : `${path}/v1`}`
}
