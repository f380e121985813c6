import type { z } from 'zod'

/** What is known about one option beside its schema. Everything made for people is generated from it. */
export interface OptionFacts {
  /** Heading it stands under in the help and in the docs. */
  readonly group: string
  /** One sentence or two, without a full stop at the end. */
  readonly help: string
  /** Unit of a number, as it follows one: `s`, `ms`, `MB`, `requests`. */
  readonly unit?: string
  /** What stands for the value in the help; default: the unit or the kind of value. */
  readonly value?: string
  /** What a text may be, where its schema cannot say it in words. */
  readonly allowed?: string
  /** Other spellings of the flag that are still accepted, in kebab-case. */
  readonly old?: readonly string[]
  /** The environment variable that serves when the option is not given. */
  readonly env?: string
  /** Letter case does not matter. */
  readonly ignoreCase?: boolean
}

export interface OptionEntry<Schema extends z.ZodType = z.ZodType> extends OptionFacts {
  readonly schema: Schema
}

export type OptionTable = Readonly<Record<string, OptionEntry>>

/** What a caller may give for a table: every option may be absent or undefined. */
export type OptionInput<Table extends OptionTable> = {
  readonly [Name in keyof Table]?: z.input<Table[Name]['schema']> | undefined
}

export type OptionShape<Table extends OptionTable> = { readonly [Name in keyof Table]: Table[Name]['schema'] }

/** The options with all defaults applied and all values checked. */
export type OptionOutput<Table extends OptionTable> = Readonly<z.output<z.ZodObject<OptionShape<Table>>>>
