import { type ClientOptions, OpenAI } from 'openai'

type Prepared = Parameters<OpenAI['buildRequest']>[0]

/**
 * The `openai` client, but that it sends a call's `idempotencyKey`, which that one keeps to itself, and no headers that
 * the environment has for OpenAI (`OPENAI_CUSTOM_HEADERS`): there may be a key among them.
 */
export class GatewayClient extends OpenAI {
  constructor(options: ClientOptions) {
    super(options)
    this._options = { ...this._options, defaultHeaders: options.defaultHeaders }
  }

  protected override async prepareRequest(
    request: RequestInit,
    { options }: { url: string; options: Prepared },
  ): Promise<void> {
    if (options.idempotencyKey !== undefined) addHeader(request, 'idempotency-key', options.idempotencyKey)
  }
}

/** A client whose calls come back at once: with the answer, or with word that it is on its way. */
export class PollingClient extends GatewayClient {
  protected override async prepareRequest(
    request: RequestInit,
    facts: { url: string; options: Prepared },
  ): Promise<void> {
    await super.prepareRequest(request, facts)
    addHeader(request, 'x-nightshift-mode', 'poll')
  }
}

/** A header that the caller gave itself stays. */
function addHeader(request: RequestInit, name: string, value: string): void {
  const headers = new Headers(request.headers)
  if (!headers.has(name)) headers.set(name, value)
  request.headers = headers
}
