/** Finished chat completions of many kinds, by what they show. */
const completion = (choices: readonly object[], more: object = {}) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1_763_000_000,
  model: 'gpt-5-mini-2025-08-07',
  choices,
  usage: {
    prompt_tokens: 12,
    completion_tokens: 9,
    total_tokens: 21,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0 },
  },
  service_tier: 'default',
  system_fingerprint: 'fp_1',
  ...more,
})

const said = (message: object, more: object = {}) => ({
  index: 0,
  message: { role: 'assistant', content: null, refusal: null, ...message },
  logprobs: null,
  finish_reason: 'stop',
  ...more,
})

const token = (text: string) => ({
  token: text,
  logprob: -0.25,
  bytes: [...Buffer.from(text)],
  top_logprobs: [{ token: text, logprob: -0.25, bytes: null }],
})

const call = (id: string, args: string) => ({
  id,
  type: 'function',
  function: { name: 'weather', arguments: args },
})

export const CHAT_ANSWERS = {
  text: completion([said({ content: 'Hello, wörld 🙂' })]),
  'text of 120,000 characters': completion([said({ content: '🙂é\n"\\'.repeat(20_000) })]),
  'odd breaks in a text': completion([said({ content: 'a\u2028b\u2029c\u0085d\r\n\u0000e\u000bf' })]),
  refusal: completion([said({ refusal: 'I cannot help with that.' })]),
  'a text and a refusal': completion([said({ content: 'Well, ', refusal: 'no.' })]),
  'tool calls': completion([
    said(
      { tool_calls: [call('call_1', '{"city":"Bern"}'), call('call_2', '{}')] },
      { finish_reason: 'tool_calls' },
    ),
  ]),
  'a text before a tool call': completion([
    said(
      { content: 'Let me see.', tool_calls: [call('call_1', '{"n":1}')] },
      { finish_reason: 'tool_calls' },
    ),
  ]),
  'a call of the old kind': completion([
    said({ function_call: { name: 'weather', arguments: '{"a":1}' } }, { finish_reason: 'function_call' }),
  ]),
  'several choices': completion([
    said({ content: 'one' }),
    said({ content: 'two' }, { index: 1, finish_reason: 'length' }),
    said({ tool_calls: [call('call_9', '{"x":[1,2]}')] }, { index: 2, finish_reason: 'tool_calls' }),
  ]),
  logprobs: completion([
    said(
      { content: 'Hello there' },
      { logprobs: { content: [token('Hello'), token(' there')], refusal: null } },
    ),
    said({ refusal: 'No' }, { index: 1, logprobs: { content: null, refusal: [token('No')] } }),
  ]),
  'fields of other servers': completion(
    [
      said(
        { content: 'x', reasoning_content: 'thinking', annotations: [{ type: 'url_citation', n: 0 }] },
        { content_filter_results: { hate: { filtered: false } } },
      ),
    ],
    { prompt_filter_results: [{ prompt_index: 0 }], provider: 'x' },
  ),
  'a text of its filter': completion([said({ content: 'cut' }, { finish_reason: 'content_filter' })]),
}

/** What is asked of the custom tools of newer clients. */
export const CUSTOM_CALLS = [{ id: 'call_1', type: 'custom', custom: { name: 'sql', input: 'select 1' } }]
export const CUSTOM_CALL = completion([said({ tool_calls: CUSTOM_CALLS }, { finish_reason: 'tool_calls' })])
