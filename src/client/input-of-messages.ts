import type { OpenAI } from 'openai'
import { UsageError } from '../errors.ts'

type Message = OpenAI.ChatCompletionMessageParam
type AssistantMessage = OpenAI.ChatCompletionAssistantMessageParam
type Part = OpenAI.ChatCompletionContentPart
type Item = OpenAI.Responses.ResponseInputItem
type InputContent = OpenAI.Responses.ResponseInputContent

/**
 * Messages of a chat as the input of a response: the same words in the form that `/v1/responses` has for them. Throws
 * `UsageError` (`bad_messages`) for what that has no form for.
 */
export const inputOfMessages = (messages: readonly Message[]): Item[] =>
  messages.flatMap((message, at) => itemsOf(message, `messages[${at}]`))

function itemsOf(message: Message, place: string): Item[] {
  switch (message.role) {
    case 'system':
    case 'developer':
    case 'user':
      return [{ role: message.role, content: contentOf(message.content, place) }]
    case 'assistant':
      return assistantItems(message, place)
    case 'tool':
      return [
        { type: 'function_call_output', call_id: message.tool_call_id, output: textOf(message.content) },
      ]
    case 'function':
      throw formless(place, 'a message of the role function, which has no id of a call: use the role tool')
    default:
      throw formless(place, `a message of the role ${wordOf(message satisfies never, 'role')}`)
  }
}

const contentOf = (content: string | readonly Part[], place: string): string | InputContent[] =>
  typeof content === 'string'
    ? content
    : content.map((part, at) => inputPart(part, `${place}.content[${at}]`))

function inputPart(part: Part, place: string): InputContent {
  switch (part.type) {
    case 'text':
      return { type: 'input_text', text: part.text }
    case 'image_url': {
      const { url, detail = 'auto' } = part.image_url
      return { type: 'input_image', image_url: url, detail }
    }
    case 'file':
      return { type: 'input_file', ...part.file }
    case 'input_audio':
      throw formless(place, 'audio: use chat.completions.create')
    default:
      throw formless(place, `a part of the type ${wordOf(part satisfies never, 'type')}`)
  }
}

function assistantItems(
  { content, refusal, tool_calls: calls = [] }: AssistantMessage,
  place: string,
): Item[] {
  const text = content ? assistantText(content) : (refusal ?? '')
  const items: Item[] = text === '' ? [] : [{ role: 'assistant', content: text }]
  for (const [at, call] of calls.entries()) {
    if (call.type !== 'function') throw formless(`${place}.tool_calls[${at}]`, 'a custom call: use input')
    const { name, arguments: text } = call.function
    items.push({ type: 'function_call', call_id: call.id, name, arguments: text })
  }
  return items
}

const assistantText = (content: NonNullable<AssistantMessage['content']>): string =>
  typeof content === 'string'
    ? content
    : content.map((part) => (part.type === 'refusal' ? part.refusal : part.text)).join('')

const textOf = (content: string | readonly OpenAI.ChatCompletionContentPartText[]): string =>
  typeof content === 'string' ? content : content.map(({ text }) => text).join('')

/** Of what the compiler rules out, and a program without types may give all the same. Not all of it: it may be long. */
const wordOf = (value: object, field: string): string =>
  JSON.stringify(new Map(Object.entries(value)).get(field))

const formless = (place: string, what: string): UsageError =>
  new UsageError('bad_messages', `${place} cannot be given to responses.create: it is ${what}`)
