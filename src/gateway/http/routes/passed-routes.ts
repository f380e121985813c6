/** A route that is handed on to the server as it is. */
export interface PassedRoute {
  readonly method: 'GET' | 'POST'
  /** Without `/v1`; `:name` stands for one part. */
  readonly path: string
  /** The server asks nothing for it. */
  readonly isFree: boolean
}

const free = (method: PassedRoute['method'], path: string): PassedRoute => ({ method, path, isFree: true })
const paid = (path: string): PassedRoute => ({ method: 'POST', path, isFree: false })

/** Models, and inference that leaves nothing behind. All that is kept at the server (files, stored responses, ...) stays closed. */
export const PASSED_ROUTES: readonly PassedRoute[] = [
  free('GET', '/models'),
  free('GET', '/models/:model'),
  free('POST', '/moderations'),
  free('POST', '/responses/input_tokens'),
  paid('/completions'),
  paid('/images/generations'),
  paid('/images/edits'),
  paid('/images/variations'),
  paid('/audio/speech'),
  paid('/audio/transcriptions'),
  paid('/audio/translations'),
]
