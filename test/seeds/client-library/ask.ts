/** ask.ts URL MODEL: asks once, and says the answer, or that it is to be asked for again later. */
import OpenAIBatching from 'nightshift/client'

const [batchServerUrl = '', model = ''] = process.argv.slice(2)
const client = new OpenAIBatching({ batchServerUrl, batchServerApiKey: process.env.BATCH_SERVER_API_KEY })
const response = await client.responses.create({
  model,
  messages: [{ role: 'user', content: 'Name a mountain.' }],
})
if (response.hasCompleted) console.log(response.choices[0].message.content)
else console.log('Ask again in a few minutes.')
