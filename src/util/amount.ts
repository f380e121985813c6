import { formatCount } from './format.ts'

/** `1 batch`, `1,200 batches`. */
export const amount = (count: number, one: string, many = `${one}s`): string =>
  `${formatCount(count)} ${count === 1 ? one : many}`
