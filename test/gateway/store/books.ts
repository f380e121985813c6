import { expect } from 'vitest'
import type { StoreSettings } from '../../../src/gateway/store/open-store.ts'
import { type Excess, unsoundBooks } from '../../support/gateway-books.ts'

/** Looks into the database, beside whoever uses it, for anything that must never be at a commit. */
export async function expectSoundBooks(settings: StoreSettings, allowed?: Excess): Promise<void> {
  expect(await unsoundBooks(settings, allowed)).toEqual([])
}
