import type { WireBatch } from '../../openai/wire.ts'

/** A remote batch object as the server gave it, as JSON text. */
export const remoteText = ({ raw, ...batch }: WireBatch): string => raw ?? JSON.stringify(batch)
