import fc from 'fast-check'

/** Finished answers of all shapes that the server has for them, and some that it may have one day. */
const words = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
/** Also an empty one. */
const text = fc.oneof(fc.constant(''), words)
const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: null })
const json = fc.jsonValue({ maxDepth: 2 })
const ofOptional = <Fields extends Record<string, fc.Arbitrary<unknown>>>(fields: Fields) =>
  fc.record(fields, { requiredKeys: [] })
const some = <Value>(value: fc.Arbitrary<Value>) => fc.array(value, { minLength: 1, maxLength: 3 })

const token = fc.record({
  token: words,
  logprob: fc.integer(),
  bytes: fc.constant([97]),
  top_logprobs: fc.constant([]),
})

const call = fc.record({
  id: words,
  type: fc.constant('function'),
  function: fc.record({ name: words, arguments: text }),
})
const message = fc
  .tuple(
    fc.record({ role: fc.constant('assistant'), content: maybe(text), refusal: maybe(words) }),
    // With a call of the old kind clients leave out what they do not know.
    fc.oneof(
      fc.record({ function_call: fc.record({ name: words, arguments: words }) }),
      ofOptional({
        tool_calls: some(call),
        annotations: fc.array(fc.record({ type: fc.constant('url_citation'), url_citation: json })),
        audio: fc.record({ id: words, data: words, expires_at: fc.nat(), transcript: words }),
        reasoning_content: words,
      }),
    ),
  )
  .map(([base, more]) => ({ ...base, ...more }))
const choice = fc.record({
  message,
  logprobs: maybe(fc.record({ content: maybe(some(token)), refusal: maybe(some(token)) })),
  finish_reason: fc.constantFrom('stop', 'length', 'tool_calls', 'content_filter', 'function_call'),
})

export const chatAnswers = fc
  .tuple(some(choice), ofOptional({ service_tier: words, system_fingerprint: words, odd_field: json }))
  .map(([choices, more]) => ({
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1,
    model: 'm',
    choices: choices.map((one, index) => ({ index, ...one })),
    usage: { prompt_tokens: 0, completion_tokens: 2, total_tokens: 2 },
    ...more,
  }))

const status = fc.constantFrom('completed', 'incomplete', 'failed')
const part = fc.oneof(
  fc
    .tuple(
      fc.record({ type: fc.constant('output_text'), text: text }),
      ofOptional({
        annotations: fc.array(fc.record({ type: words }), { maxLength: 2 }),
        logprobs: some(token),
      }),
    )
    .map(([base, more]) => ({ ...base, ...more })),
  fc.record({ type: fc.constant('refusal'), refusal: words }),
  fc.record({ type: fc.constantFrom('reasoning_text', 'text', 'new_part'), text: words }),
)
const item = fc.oneof(
  fc.record({
    type: fc.constant('message'),
    role: fc.constant('assistant'),
    status,
    content: fc.array(part, { maxLength: 3 }),
  }),
  fc
    .tuple(
      fc.record({ type: fc.constant('reasoning') }),
      fc.record({
        summary: fc.array(fc.record({ type: fc.constant('summary_text'), text: words }), { maxLength: 2 }),
      }),
      ofOptional({ content: fc.array(part, { maxLength: 2 }), encrypted_content: words, status }),
    )
    .map(([base, summary, more]) => ({ ...base, ...summary, ...more })),
  fc.record({
    type: fc.constant('function_call'),
    status,
    call_id: fc.uuid(),
    name: words,
    arguments: text,
  }),
  fc.record({ type: fc.constant('custom_tool_call'), status, call_id: fc.uuid(), name: words, input: words }),
  fc.record({ type: fc.constant('web_search_call'), status, action: json }),
  fc.record({
    type: fc.constant('file_search_call'),
    status,
    queries: fc.array(words),
    results: maybe(fc.array(json)),
  }),
  fc.record({
    type: fc.constant('code_interpreter_call'),
    status,
    code: maybe(words),
    container_id: words,
    outputs: maybe(fc.array(json)),
  }),
  fc.record({ type: fc.constant('image_generation_call'), status, result: maybe(words) }),
  fc.record({
    type: fc.constant('mcp_call'),
    status,
    name: words,
    arguments: words,
    output: maybe(words),
    error: maybe(words),
  }),
  fc.record({ type: fc.constant('mcp_list_tools'), server_label: words, tools: fc.array(json) }),
  fc.record({ type: fc.constantFrom('computer_call', 'compaction', 'new_kind'), deep: json }),
)
export const responseAnswers = fc
  .tuple(
    fc.array(item, { maxLength: 4 }),
    fc.boolean(),
    ofOptional({ usage: json, error: fc.constant(null), odd_field: json }),
  )
  .map(([items, areCallsNamed, more]) => ({
    id: 'resp_1',
    object: 'response',
    created_at: 1,
    status: 'completed',
    // The ids of calls are the server's to leave out.
    output: items.map((one, index) =>
      'call_id' in one && !areCallsNamed ? one : { id: `item_${index}`, ...one },
    ),
    ...more,
  }))
