/** wait.ts URL MODEL: asks, and waits for the answer. */
import { OpenAIBatching } from 'nightshift/client'

const [batchServerUrl = '', model = ''] = process.argv.slice(2)
const client = new OpenAIBatching({ batchServerUrl, batchServerApiKey: process.env.BATCH_SERVER_API_KEY })
const response = await client.responses.create({
  model,
  messages: [{ role: 'user', content: 'Name a mountain.' }],
})
const { choices } = await response.wait({ onPoll: () => console.error('not yet') })
console.log(choices[0].message.content)
