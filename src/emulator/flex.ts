import type { EmulatedRequest } from './answers.ts'
import { errorBody } from './api-error.ts'
import type { JsonObject } from './json.ts'
import { errorReply, type Reply } from './reply.ts'

/** Whether a request asks for the flex tier: the price of a batch, in a call that may take long or be refused. */
export const asksForFlex = (body: JsonObject): boolean => body.service_tier === 'flex'

/** Why a request cannot go by flex, whoever has room; undefined when it can, or does not ask to. */
export function flexFault(
  { endpoint, body, via }: Omit<EmulatedRequest, 'attempt'>,
  flexModels: readonly string[] | undefined,
): Reply | undefined {
  if (!asksForFlex(body)) return undefined
  if (endpoint === '/v1/embeddings') return refused('Unrecognized request argument supplied: service_tier')
  // A batch is a tier of its own: its lines are answered as those of a model that does not know flex.
  const isKnown = via === 'direct' && (flexModels?.some((model) => model === body.model) ?? true)
  return isKnown ? undefined : refused('Flex is not available for this model.')
}

const refused = (message: string): Reply => errorReply(400, errorBody(message))

/** What a flex call is answered when there is no room for it: nothing is done, and nothing is charged. */
export const flexUnavailable = (): Reply =>
  errorReply(
    429,
    errorBody('There are not enough resources for flex processing at the moment. Try again later.', {
      type: 'resource_unavailable',
      code: 'resource_unavailable',
    }),
  )
