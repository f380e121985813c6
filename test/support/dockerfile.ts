/** One instruction of a Dockerfile, on one line. */
export interface Instruction {
  /** `FROM`, `COPY`, ... */
  readonly name: string
  /** `--from=build` as `from: build`. */
  readonly flags: ReadonlyMap<string, string>
  readonly text: string
  readonly words: readonly string[]
}

export interface Stage {
  readonly name: string
  readonly image: string
  readonly instructions: readonly Instruction[]
}

/** The stages of a Dockerfile, in their order. Only the forms that ours uses. */
export function stagesOf(dockerfile: string): Stage[] {
  const instructions = dockerfile
    .replaceAll(/^\s*#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map(instructionOf)
  const stages: { name: string; image: string; instructions: Instruction[] }[] = []
  for (const instruction of instructions) {
    const [image = '', , name = ''] = instruction.words
    if (instruction.name === 'FROM') stages.push({ name, image, instructions: [] })
    else stages.at(-1)?.instructions.push(instruction)
  }
  return stages
}

function instructionOf(line: string): Instruction {
  const [name = '', ...rest] = line.trim().split(/\s+/)
  const words = rest.filter((word) => !/^--\w/.test(word) || name === 'RUN')
  const flags = rest.flatMap((word): [string, string][] => {
    const [, flag, value] = /^--([\w-]+)=(.*)$/.exec(word) ?? []
    return flag === undefined || name === 'RUN' ? [] : [[flag, value ?? '']]
  })
  return { name, flags: new Map(flags), text: words.join(' '), words }
}

/** `["node", "a.js"]` as its words, after a `CMD` if there is one before it. */
export const execForm = ({ text }: Instruction): string[] => JSON.parse(text.slice(text.indexOf('[')))

/** `A=1 B=2` by name. */
export const variablesOf = ({ words }: Instruction): ReadonlyMap<string, string> =>
  new Map(
    words.map((word): [string, string] => {
      const equals = word.indexOf('=')
      return [word.slice(0, equals), word.slice(equals + 1)]
    }),
  )

/** Whether a file is left out of what the image is made of: the last line of `.dockerignore` that fits it decides. */
export function isIgnored(dockerignore: string, path: string): boolean {
  let ignored = false
  for (const line of dockerignore.split('\n').map((text) => text.trim())) {
    if (line === '' || line.startsWith('#')) continue
    const pattern = line.replace(/^!/, '')
    if (pattern === '*' || path === pattern || path.startsWith(`${pattern}/`)) ignored = !line.startsWith('!')
  }
  return ignored
}
