import fc from 'fast-check'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { parseArguments } from '../../src/cli/args.ts'
import { TaskError, UsageError } from '../../src/errors.ts'
import { kebab } from '../../src/util/option-names.ts'
import { optionTable, type TaskOptions } from '../../src/util/option-table.ts'

/** The options of a command line, given as one text. */
function optionsOf(line: string): TaskOptions {
  const parsed = parseArguments(line.split(' ').filter(Boolean), optionTable)
  if (parsed.help) throw new Error('asked for help')
  return parsed.options
}

function ownFlagsOf<Own extends z.ZodObject>(line: string, own: Own): z.output<Own> {
  const parsed = parseArguments(line.split(' ').filter(Boolean), optionTable, own)
  if (parsed.help) throw new Error('asked for help')
  return parsed.flags
}

function usageErrorOf(argv: readonly string[], own: z.ZodObject = z.object({})): UsageError {
  try {
    parseArguments(argv, optionTable, own)
  } catch (error) {
    if (error instanceof UsageError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('options', () => {
  test.each([
    ['', {}],
    ['--max-session-requests 0', { maxSessionRequests: 0 }],
    ['--max_session_requests=0', { maxSessionRequests: 0 }],
    ['--max-remote_mb=1e4', { maxRemoteMb: 10_000 }],
    ['--process-failed-batches -1', { processFailedBatches: -1 }],
    ['--lock_timeout=-1', { lockTimeout: -1 }],
    ['--task_prefix emotions --task_dir /data', { name: 'emotions', taskDir: '/data' }],
    ['--name=a=b-c', undefined],
    ['--dryrun', { dryRun: true }],
    ['--dry-run', { dryRun: true }],
    ['--dry_run=true', { dryRun: true }],
    ['--no-dryrun', { dryRun: false }],
    ['--only_process --wipe-task', { onlyProcess: true, wipeTask: true }],
    ['--no_run', { run: false }],
    ['--no-run', { run: false }],
    ['--run=FALSE', { run: false }],
    ['--run', { run: true }],
    ['--reinit_meta', { reinitParams: true }],
    ['--direct_verbose Always', { directVerbose: 'always' }],
    ['--chat_endpoint /v1/responses', { endpoint: '/v1/responses' }],
    ['--task-dir -', { taskDir: '-' }],
    ['--task-dir=--odd', { taskDir: '--odd' }],
  ])('"%s" gives %o', (line, expected) => {
    if (expected) expect(optionsOf(line)).toEqual(expected)
    else expect(() => optionsOf(line)).toThrow('--name is "a=b-c"')
  })

  test('hold only what was given, without defaults', () => {
    expect(optionsOf('--emulator')).toEqual({ emulator: true })
  })

  test('every number is read in every form', () => {
    const names = (['maxTaskRequests', 'maxSessionRequests', 'showWarnings', 'showErrors'] as const).map(
      (name) => name,
    )
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.integer({ min: 1, max: 1e6 }),
        fc.boolean(),
        fc.boolean(),
        (name, value, equals, underscores) => {
          const flag = underscores ? kebab(name).replaceAll('-', '_') : kebab(name)
          const argv = equals ? [`--${flag}=${value}`] : [`--${flag}`, `${value}`]
          expect(parseArguments(argv, optionTable)).toEqual({
            help: false,
            options: { [name]: value },
            flags: {},
          })
        },
      ),
    )
  })

  test.each([[['--help']], [['-h']], [['--bad', '--help']], [['pos', '--name', '-h', '--help']]])(
    '%o asks for help',
    (argv) => {
      expect(parseArguments(argv, optionTable)).toEqual({ help: true })
    },
  )

  test('help after "--" or as a value with "=" is no question for help', () => {
    expect(usageErrorOf(['--', '--help']).code).toBe('unexpected_argument')
    expect(optionsOf('--task-dir=--help')).toEqual({ taskDir: '--help' })
    expect(optionsOf('--emulator --')).toEqual({ emulator: true })
  })
})

describe('mistakes', () => {
  test.each([
    ['--max-retry 3', 'unknown_flag', 'there is no flag --max-retry; did you mean --max-retries?'],
    ['--maxRetries=3', 'unknown_flag', 'did you mean --max-retries?'],
    ['--no-rnu', 'unknown_flag', 'did you mean --no-run?'],
    ['--dryrunn', 'unknown_flag', 'did you mean --dry-run?'],
    ['--frobnicate', 'unknown_flag', 'there is no flag --frobnicate; --help lists all flags'],
    ['-x', 'unknown_flag', 'there is no flag -x; --help'],
    ['--no-max-retries', 'unknown_flag', 'there is no flag --no-max-retries'],
    ['--constructor', 'unknown_flag', 'there is no flag --constructor'],
    ['--=3', 'unknown_flag', 'there is no flag --;'],
    ['tasks', 'unexpected_argument', '"tasks" is not a flag'],
    ['-', 'unexpected_argument', '"-" is not a flag'],
    ['--dry-run false', 'unexpected_argument', '"false" is not a flag'],
    ['-- tasks', 'unexpected_argument', '"tasks" is not a flag'],
    ['--max-retries 1 --max_retries 1', 'repeated_flag', '--max_retries sets --max-retries a second time'],
    ['--run --no-run', 'repeated_flag', '--no-run sets --run a second time'],
    ['--name a --task-prefix b', 'repeated_flag', '--task-prefix sets --name a second time'],
    ['--max-retries two', 'bad_option', '--max-retries is "two", but must be a whole number from 0 to 65535'],
    ['--max-retries=', 'bad_option', '--max-retries is ""'],
    ['--max-retries -1', 'bad_option', '--max-retries is -1, but must be a whole number from 0 to 65535'],
    ['--max-retries', 'bad_option', '--max-retries needs a value'],
    ['--task-dir --emulator', 'bad_option', '--task-dir needs a value'],
    ['--task-dir -x', 'bad_option', 'is given as --task-dir=-…'],
    ['--run=maybe', 'bad_option', '--run is "maybe", but must be true or false'],
    ['--no-run=true', 'bad_option', '--no-run is "true", but takes no value'],
    ['--direct-verbose some', 'bad_option', 'one of never, error, warn, always'],
    ['--client-base-url host', 'bad_option', 'must be an http or https URL'],
  ])('"%s" is refused as %s', (line, code, message) => {
    const error = usageErrorOf(line.split(' '))
    expect(error.message).toContain(message)
    expect(error.code).toBe(code)
  })

  test('are all reported in one error, and each once', () => {
    const own = z.object({ limit: z.number() })
    const error = usageErrorOf(['--frob', 'x', 'y', '--max-retries', 'two', '--limit', 'three'], own)
    const lines = error.message.split('\n').slice(1)
    expect(lines).toEqual([
      expect.stringContaining('--frob'),
      expect.stringContaining('"y"'),
      expect.stringContaining('--max-retries is "two"'),
      expect.stringContaining('--limit is "three"'),
    ])
  })

  test.each([
    [['--openai-api-key', 'sk-secret1']],
    [['--openai_api_key=sk-secret1']],
    [['--name', 'a', '--api-key', 'secret1', '--frob']],
  ])('a key on the command line is refused and not repeated: %o', (argv) => {
    const error = usageErrorOf(argv)
    expect(error.code).toBe('secret_flag')
    expect(error.message).toContain('set the environment variable OPENAI_API_KEY')
    expect(error.message).not.toContain('secret1')
  })

  test('are usage errors whatever is typed', () => {
    const token = fc.oneof(
      fc.constantFrom(
        '--name',
        '--run',
        '--no-run',
        '--max-retries',
        '--',
        '-1',
        '--label',
        '=',
        '--words=2',
      ),
      fc.string({ maxLength: 12 }).filter((text) => text !== '-h' && text !== '--help'),
    )
    const own = z.object({ label: z.array(z.string()).default([]), words: z.int().default(1) })
    fc.assert(
      fc.property(fc.array(token, { maxLength: 8 }), (argv) => {
        try {
          expect(parseArguments(argv, optionTable, own)).toMatchObject({ help: false })
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError)
        }
      }),
    )
  })
})

describe('flags of the task', () => {
  const Own = z.object({
    minLength: z.int().min(1).default(3),
    language: z.enum(['en', 'de']).optional(),
    shuffle: z.boolean().default(true),
    label: z.array(z.string()).default([]),
    weight: z.array(z.number()).max(2).optional(),
  })

  test('have their defaults', () => {
    expect(ownFlagsOf('', Own)).toEqual({ minLength: 3, shuffle: true, label: [] })
  })

  test('are read beside the options', () => {
    const line =
      '--min_length=5 --language de --no-shuffle --label a --label=b --weight -1 --weight .5 --name x'
    expect(ownFlagsOf(line, Own)).toEqual({
      minLength: 5,
      language: 'de',
      shuffle: false,
      label: ['a', 'b'],
      weight: [-1, 0.5],
    })
    expectTypeOf(ownFlagsOf('', Own).language).toEqualTypeOf<'en' | 'de' | undefined>()
  })

  test.each([
    ['--min-length 0', '--min-length is 0: Too small'],
    ['--min-length 1.5', '--min-length is 1.5: Invalid input'],
    ['--language fr', '--language is "fr", but must be one of en, de'],
    ['--weight 1 --weight 2 --weight 3', '--weight is "1, 2, 3": Too big'],
    ['--lable a', 'did you mean --label?'],
  ])('"%s" is refused', (line, message) => {
    expect(usageErrorOf(line.split(' '), Own).message).toContain(message)
  })

  test('may be required, transformed, and checked together', () => {
    const own = z
      .object({ from: z.int(), to: z.string().transform((text) => text.length) })
      .refine(({ from, to }) => from < to, 'from must be below to')
    expect(ownFlagsOf('--from 1 --to abc', own)).toEqual({ from: 1, to: 3 })
    expect(usageErrorOf(['--from', '1'], own).message).toContain('--to is missing, but this task needs it')
    expect(usageErrorOf(['--from', '9', '--to', 'x'], own).message).toContain(
      'do not fit together: from must be below',
    )
  })

  test.each([
    [z.object({ maxRetries: z.int().default(1) }), '--max-retries already belongs to option maxRetries'],
    [z.object({ noRun: z.boolean() }), '--no-run already belongs to option run'],
    [z.object({ taskPrefix: z.string() }), '--task-prefix already belongs to option name'],
    [z.object({ sound: z.boolean(), noSound: z.boolean() }), '--no-sound already belongs to flag sound'],
    [z.object({ help: z.boolean() }), '--help is reserved'],
    [z.object({ apiKey: z.string() }), '--api-key is reserved'],
  ])('may not clash with others: %#', (own, message) => {
    expect(() => parseArguments([], optionTable, own)).toThrow(TaskError)
    expect(() => parseArguments([], optionTable, own)).toThrow(message)
  })

  test('must have values that a flag can carry', () => {
    const own = z.object({ shape: z.object({ width: z.number() }) })
    expect(() => parseArguments([], optionTable, own)).toThrow(
      'flag shape has a schema that no flag can carry',
    )
  })
})
