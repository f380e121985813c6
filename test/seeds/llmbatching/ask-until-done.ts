/** What of an `openai` client, of whatever version, it takes to ask. */
export interface ResponsesClient {
  readonly responses: { create(body: { model: string; input: string }): PromiseLike<{ output_text: string }> }
}

export interface AskOptions {
  readonly model: string
  /** Between two looks. */
  readonly pauseMs: number
  /** The answer is not there yet. */
  readonly onPending: () => void
}

/** Asks with the same words until there is an answer: status 422 means that there is none yet. */
export async function askUntilDone(client: ResponsesClient, options: AskOptions): Promise<string> {
  const { model, pauseMs, onPending } = options
  for (;;) {
    try {
      return (await client.responses.create({ model, input: 'Name a river.' })).output_text
    } catch (error) {
      if (!isPending(error)) throw error
      onPending()
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }
}

const isPending = (error: unknown): boolean =>
  typeof error === 'object' && error !== null && 'status' in error && error.status === 422
