import type { OpenAI } from 'openai'

type Choice = OpenAI.ChatCompletion.Choice
type Response = OpenAI.Responses.Response
type OutputItem = OpenAI.Responses.ResponseOutputItem
type ToolCall = OpenAI.ChatCompletionMessageFunctionToolCall

/** A response in the form of a chat completion: always one choice. `content` is null when there is no text. */
export function choicesOf(response: Response): readonly [Choice] {
  const { output } = response
  const toolCalls = output.flatMap(toolCall)
  const message = {
    role: 'assistant' as const,
    content: textOf(output, 'output_text'),
    refusal: textOf(output, 'refusal'),
    ...(toolCalls.length > 0 && { tool_calls: toolCalls }),
  }
  return [{ index: 0, finish_reason: finishReason(response, toolCalls), logprobs: null, message }]
}

/** The parts of one kind, joined; null when there are none. */
function textOf(output: readonly OutputItem[], kind: 'output_text' | 'refusal'): string | null {
  const parts = output
    .flatMap((item) => (item.type === 'message' ? item.content : []))
    .flatMap((part) => (part.type === kind ? [part.type === 'refusal' ? part.refusal : part.text] : []))
  return parts.length > 0 ? parts.join('') : null
}

function toolCall(item: OutputItem): ToolCall[] {
  if (item.type !== 'function_call') return []
  const { call_id: id, name, arguments: text } = item
  return [{ id, type: 'function', function: { name, arguments: text } }]
}

function finishReason(response: Response, toolCalls: readonly ToolCall[]): Choice['finish_reason'] {
  const reason = response.incomplete_details?.reason
  if (reason === 'max_output_tokens') return 'length'
  if (reason === 'content_filter') return 'content_filter'
  return toolCalls.length > 0 ? 'tool_calls' : 'stop'
}
