/** The typed client of a Nightshift gateway: the `openai` client, whose answers may come later. */
export type { Batched, Completed, Pending } from './batched.ts'
export type { CompletedChat } from './chat.ts'
export type { CompletedBase64Embeddings, CompletedEmbeddings } from './embeddings.ts'
export { OpenAIBatching, OpenAIBatching as default, type OpenAIBatchingOptions } from './openai-batching.ts'
export type { CompletedResponse, InputOrMessages, WithMessages } from './responses.ts'
export type { Poll, WaitOptions } from './wait.ts'
