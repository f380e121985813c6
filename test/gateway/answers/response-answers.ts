/** Finished response objects of many kinds, by what they show. */
const response = (output: readonly object[], more: object = {}) => ({
  id: 'resp_1',
  object: 'response',
  created_at: 1_763_000_000,
  status: 'completed',
  background: false,
  completed_at: 1_763_000_009,
  error: null,
  incomplete_details: null,
  instructions: null,
  max_output_tokens: null,
  model: 'gpt-5-mini-2025-08-07',
  output,
  parallel_tool_calls: true,
  temperature: 0,
  text: { format: { type: 'text' } },
  tool_choice: 'auto',
  tools: [],
  metadata: {},
  usage: {
    input_tokens: 9,
    output_tokens: 12,
    total_tokens: 21,
    output_tokens_details: { reasoning_tokens: 4 },
  },
  ...more,
})

const text = (words: string, more: object = {}) => ({
  type: 'output_text',
  annotations: [],
  logprobs: [],
  text: words,
  ...more,
})

const message = (content: readonly object[], id = 'msg_1') => ({
  id,
  type: 'message',
  status: 'completed',
  content,
  role: 'assistant',
})

const citation = {
  type: 'url_citation',
  start_index: 0,
  end_index: 5,
  title: 'T',
  url: 'https://example.com/',
}
const logprob = {
  token: 'Hi',
  bytes: [72, 105],
  logprob: -0.5,
  top_logprobs: [{ token: 'Hi', bytes: [72, 105], logprob: -0.5 }],
}

const reasoning = {
  id: 'rs_1',
  type: 'reasoning',
  summary: [
    { type: 'summary_text', text: 'First this.' },
    { type: 'summary_text', text: 'Then that.' },
  ],
  encrypted_content: 'gAAAA',
}

export const RESPONSE_ANSWERS = {
  text: response([message([text('Hello, wörld 🙂')])]),
  'text of 120,000 characters': response([message([text('🙂é\n"\\'.repeat(20_000))])]),
  'several parts with annotations and logprobs': response([
    message([text('Hi', { annotations: [citation, citation], logprobs: [logprob] }), text('\u2028there')]),
  ]),
  refusal: response([message([{ type: 'refusal', refusal: 'I cannot.' }])]),
  'an empty text': response([message([text('')])]),
  'reasoning, then a text': response([reasoning, message([text('So.')])]),
  'reasoning that is shown': response([
    {
      id: 'rs_2',
      type: 'reasoning',
      summary: [],
      content: [{ type: 'reasoning_text', text: 'Hmm.' }],
      status: 'completed',
    },
    message([text('So.')]),
  ]),
  'function calls': response([
    {
      id: 'fc_1',
      type: 'function_call',
      status: 'completed',
      arguments: '{"city":"Bern"}',
      call_id: 'call_1',
      name: 'weather',
    },
    {
      id: 'fc_2',
      type: 'function_call',
      status: 'completed',
      arguments: '',
      call_id: 'call_2',
      name: 'weather',
    },
    { type: 'function_call', arguments: '{}', call_id: 'call_3', name: 'weather' },
  ]),
  'a call of a custom tool': response([
    {
      id: 'ctc_1',
      type: 'custom_tool_call',
      status: 'completed',
      call_id: 'call_1',
      input: 'select 1',
      name: 'sql',
    },
  ]),
  'tools of the server': response([
    { id: 'ws_1', type: 'web_search_call', status: 'completed', action: { type: 'search', query: 'x' } },
    {
      id: 'fs_1',
      type: 'file_search_call',
      status: 'completed',
      queries: ['x'],
      results: [{ file_id: 'f', text: 't', score: 0.5 }],
    },
    {
      id: 'ci_1',
      type: 'code_interpreter_call',
      status: 'completed',
      code: 'print(1)',
      container_id: 'c',
      outputs: [{ type: 'logs', logs: '1' }],
    },
    { id: 'ig_1', type: 'image_generation_call', status: 'completed', result: 'aGVsbG8=' },
    { id: 'ml_1', type: 'mcp_list_tools', server_label: 's', tools: [{ name: 'a', input_schema: {} }] },
    {
      id: 'mc_1',
      type: 'mcp_call',
      status: 'completed',
      server_label: 's',
      name: 'a',
      arguments: '{"q":1}',
      output: 'done',
      error: null,
    },
    {
      id: 'mc_2',
      type: 'mcp_call',
      status: 'failed',
      server_label: 's',
      name: 'a',
      arguments: '{}',
      output: null,
      error: 'broken',
    },
    message([text('All done.')]),
  ]),
  'items nobody knows': response(
    [{ id: 'x_1', type: 'new_kind', status: 'completed', deep: { list: [0, null, 'x'] } }],
    {
      provider: { score: 0 },
    },
  ),
  nothing: response([]),
}

export const UNFINISHED_ANSWERS = {
  incomplete: response([message([text('Hello, wo')])], {
    status: 'incomplete',
    incomplete_details: { reason: 'max_output_tokens' },
  }),
  failed: response([], {
    status: 'failed',
    error: { code: 'server_error', message: 'It broke.' },
    usage: null,
  }),
}
