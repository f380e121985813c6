/**
 * A task that takes room in a quota file and gives it back, as fast as it can: `path task rounds`. It says `kept tag`
 * for every fourth batch, which it keeps, and `full` when there is no room; a negative number of rounds never ends.
 */
import { QuotaFile } from '../../src/requester/quota-board.ts'
import { systemClock } from '../../src/util/clock.ts'

const [path, task = '', rounds = '0'] = process.argv.slice(2)
const say = (text: string) => process.stderr.write(`${text}\n`)
const onTrouble = (message: string) => say(`trouble ${message}`)
const file = new QuotaFile({ path, clock: systemClock, waitMs: 60_000, task, onTrouble })

for (let round = 1; round <= Number(rounds) || Number(rounds) < 0; round++) {
  const tag = `${task}-${round}`
  const { ok } = await file.reserve(tag, 'gpt-5-mini', 10)
  if (!ok) say(`full ${tag}`)
  else if (round % 4 === 0) say(`kept ${tag}`)
  else await file.release([tag])
}
