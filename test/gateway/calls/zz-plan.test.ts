import { test } from 'vitest'
import { mkdtempSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { openStore } from '../../../src/gateway/store/open-store.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { arrivalOf } from '../../support/gateway-stores.ts'
import { join } from 'node:path'
import { readdirSync } from 'node:fs'
test('plan', async () => {
  const dir = mkdtempSync('/tmp/plan-')
  const store = await openStore({ kind: 'sqlite', dataDir: dir, serve: true }, systemClock)
  const N = 60_000
  for (let i = 0; i < N; i += 500) {
    const arrivals = Array.from({ length: 500 }, () => arrivalOf({ route: 'direct' }))
    const t = performance.now()
    await store.accept(arrivals, { maxQueued: 1e9 })
    if (i % 5000 === 0) console.log(i, (performance.now() - t).toFixed(1))
  }
  await store.close()
  const file = readdirSync(dir).find((f) => f.endsWith('.sqlite') || f.endsWith('.db'))
  console.log(readdirSync(dir), file)
  const db = new DatabaseSync(join(dir, file ?? ''))
  db.exec(`update requests set state='done', ending='succeeded', finished_at=1, delivered_at=1 where seq > 10; analyze`)
  db.close()
  const again = await openStore({ kind: 'sqlite', dataDir: dir, serve: true }, systemClock)
  for (const [name, act] of Object.entries({
    pressed: () => again.pressed(1e9, 500), take: () => again.takeCalls(0 + 1, 'r', 1000), recover: () => again.recoverCalls(), times: () => again.batchTimes(50), ready: () => again.nextReadyAt(), counts: () => again.counts(), hooks: () => again.dueWebhooks(10, 'r', 1000), loads: () => again.loads(), forget: () => again.forget(0, 500), open: () => again.openBatches()
  })) {
    const t = performance.now()
    await act()
    console.log(name, (performance.now() - t).toFixed(2))
  }
  await again.close()
  const { rmSync } = await import('node:fs'); rmSync(dir, { recursive: true })
}, 120000)
