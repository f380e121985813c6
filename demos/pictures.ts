/**
 * Asks about pictures, each once in low and once in high detail, and shows what either costs and gets right.
 *
 *     npx tsx demos/pictures.ts --emulator
 *     npx tsx demos/pictures.ts --emulator --force-direct
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  accept,
  type RunSummary,
  runTask,
  TaskManager,
  type TaskRequest,
  type TaskResponse,
} from 'nightshift'
import { z } from 'zod'
import { encodeJpeg } from './support/jpeg.ts'
import { type Drawing, drawings, mosaicOf } from './support/mosaic.ts'
import { pictureAnswers } from './support/picture-answers.ts'
import { encodePng } from './support/png.ts'
import { linesOf, tableOf } from './support/report.ts'

const Sight = z.object({
  ground: z.enum(['red', 'green', 'blue', 'yellow', 'white']).describe('Colour of the ground'),
  squares: z.int().describe('How many squares there are on the ground'),
})
type Sight = z.infer<typeof Sight>

const DETAILS = ['low', 'high'] as const
const Line = Sight.extend({
  picture: z.string(),
  detail: z.enum(DETAILS),
  inputTokens: z.number(),
  cost: z.number(),
})
type Line = z.infer<typeof Line>

/** One of the models whose pictures cost less in low detail. */
const MODEL = 'gpt-4o-mini'
const QUESTION = 'Which colour is the ground of this picture, and how many squares are there on it?'
const MIME_TYPES = { png: 'image/png', jpg: 'image/jpeg' }

class Pictures extends TaskManager<Sight> {
  override answerSchema = Sight

  /** Draws the pictures that are not there yet. */
  override async onStart() {
    await mkdir(this.#folder, { recursive: true })
    for (const drawing of drawings) await draw(drawing, join(this.#folder, drawing.name))
  }

  async *generateRequests(): AsyncIterable<TaskRequest> {
    for (const drawing of drawings) {
      const { name } = drawing
      const url = await dataUrl(drawing, join(this.#folder, name))
      for (const detail of DETAILS) {
        const content = [
          { type: 'text' as const, text: QUESTION },
          { type: 'image_url' as const, image_url: { url, detail } },
        ]
        const messages = [{ role: 'user' as const, content }]
        yield {
          key: `${name}#${detail}`,
          sample: name,
          meta: detail,
          body: { model: MODEL, max_completion_tokens: 200, messages },
        }
      }
    }
  }

  processResponse({ sample, meta, answer, usage, cost }: TaskResponse<Sight>) {
    const line = { picture: sample, detail: meta, ...answer, inputTokens: usage?.input ?? 0, cost: cost ?? 0 }
    return accept(line, { remember: answer })
  }

  override async onFinish({ output }: RunSummary) {
    const lines: Line[] = []
    for await (const line of linesOf(output, Line)) lines.push(line)
    console.log(table(lines))
    const pairs = drawings.map(({ name }) => this.#answers(name)).filter((answers) => answers.length === 2)
    const agreed = pairs.filter(([low, high]) => low === high).length
    console.log(`\nThe answers in low and in high detail agree about ${agreed} of ${pairs.length} pictures.`)
  }

  get #folder(): string {
    return join(this.options.taskDir, 'pictures')
  }

  /** The answers about a picture so far, as JSON. */
  #answers(name: string): string[] {
    return this.samples.get(name).remembered.map(({ value }) => JSON.stringify(value))
  }
}

async function draw(drawing: Drawing, file: string): Promise<void> {
  if (existsSync(file)) return
  await writeFile(`${file}.part`, encoded(drawing))
  await rename(`${file}.part`, file)
}

function encoded(drawing: Drawing): Uint8Array {
  const mosaic = mosaicOf(drawing)
  return drawing.name.endsWith('.png') ? encodePng(mosaic) : encodeJpeg(mosaic)
}

/** The picture of the file, or, where none was drawn yet (`--quote` and `--dry-run` write nothing), as it will be. */
async function dataUrl(drawing: Drawing, file: string): Promise<string> {
  const type = file.endsWith('.png') ? MIME_TYPES.png : MIME_TYPES.jpg
  const bytes = existsSync(file) ? await readFile(file) : encoded(drawing)
  return `data:${type};base64,${Buffer.from(bytes).toString('base64')}`
}

/** What each detail cost, and how many of its answers are right. */
function table(lines: readonly Line[]): string {
  const truth = new Map(drawings.map((drawing) => [drawing.name, drawing]))
  const isRight = ({ picture, ground, squares }: Line): boolean =>
    truth.get(picture)?.ground === ground && truth.get(picture)?.squares === squares
  const rows = DETAILS.map((detail) => {
    const own = lines.filter((line) => line.detail === detail)
    const tokens = own.reduce((sum, { inputTokens }) => sum + inputTokens, 0)
    const cost = own.reduce((sum, line) => sum + line.cost, 0)
    const right = own.filter(isRight).length
    return [detail, own.length, right, tokens.toLocaleString('en-US'), `$${cost.toFixed(4)}`]
  })
  return `\n${tableOf([['detail', 'answers', 'right', 'input tokens', 'cost'], ...rows], [10, 14])}`
}

await runTask(Pictures, {
  name: 'pictures',
  answers: pictureAnswers,
})
