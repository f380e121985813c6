import type { Endpoint } from '../openai/wire.ts'

const HEAD = '{"custom_id":"'
const ID_END = '","method":"POST"'
const BODY = ',"body":'

/** A line of a queue file exactly as it will be uploaded, without its line break. */
export const wireLine = (id: string, endpoint: Endpoint, bodyText: string): string =>
  `${HEAD}${id}${ID_END},"url":"${endpoint}"${BODY}${bodyText}}`

/** The `custom_id` of a line made by `wireLine`, without parsing the rest. */
export const lineId = (line: string): string | undefined => {
  if (!line.startsWith(HEAD)) return undefined
  const end = line.indexOf('"', HEAD.length)
  return end < 0 ? undefined : line.slice(HEAD.length, end)
}

/** The body of a line made by `wireLine`, as the JSON text it was given. */
export const lineBody = (line: string): string => line.slice(line.indexOf(BODY) + BODY.length, -1)
