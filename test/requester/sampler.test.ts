import { expect, test } from 'vitest'
import type { ProgressEvent } from '../../src/progress/events.ts'
import { Sampler } from '../../src/requester/sampler.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

function rig() {
  const clock = new VirtualClock(0)
  const told: { readonly at: number; readonly rate: unknown }[] = []
  const warnings: string[] = []
  let verdicts = 0
  const sampler = new Sampler({
    clock,
    emit: (event: ProgressEvent) => {
      if (event.kind === 'sample') told.push({ at: clock.now(), rate: event.metrics.rate })
      if (event.kind === 'warning') warnings.push(event.message)
    },
    counts: () => ({
      ...{ requests: 99, succeeded: verdicts, failed: 0, pending: 0, queued: 0, inFlight: 0, costNanoUsd: 0 },
    }),
    metrics: (rate) => {
      if (verdicts > 1_000) throw new Error('a figure that cannot be')
      return { ...(rate !== undefined && { rate }) }
    },
  })
  const judge = (count: number) => {
    verdicts += count
    sampler.touch()
  }
  return { clock, told, warnings, sampler, judge }
}

const times = (told: readonly { readonly at: number }[]) => told.map(({ at }) => at)

test('figures are told at the beginning, at the end, and between at most once a second while they change', async () => {
  const { clock, told, sampler, judge } = rig()
  judge(0)
  await clock.sleep(5_000)
  expect(told).toEqual([])
  sampler.begin()
  sampler.begin()
  for (let turn = 0; turn < 50; turn++) {
    judge(1)
    await clock.sleep(100)
  }
  await clock.sleep(60_000)
  expect(times(told)).toEqual([5_000, 6_000, 7_000, 8_000, 9_000, 10_000])
  judge(1)
  await clock.sleep(10)
  expect(times(told).at(-1)).toBe(70_000)
  judge(1)
  sampler.end()
  sampler.end()
  expect(times(told).slice(-2)).toEqual([70_000, 70_010])
  judge(1)
  await clock.sleep(5_000)
  expect(told).toHaveLength(8)
})

test('the rate is that of the last five minutes, and begins anew when verdicts are taken back', async () => {
  const { clock, told, sampler, judge } = rig()
  sampler.begin()
  for (let second = 0; second < 600; second++) {
    judge(second < 300 ? 1 : 0)
    await clock.sleep(1_000)
  }
  const rates = told.map(({ rate }) => Number(rate))
  expect(rates[0]).toBeNaN()
  expect(rates[100]).toBeCloseTo(60, 0)
  expect(rates[450]).toBeCloseTo(30, 0)
  expect(rates.at(-1)).toBeLessThan(1)
  judge(-100)
  await clock.sleep(2_000)
  expect(told.at(-1)?.rate).toBeUndefined()
})

test('a clock that is set back holds up nothing, and tells no rate of what was before', async () => {
  const { clock, told, sampler, judge } = rig()
  clock.jump(7_200_000)
  sampler.begin()
  judge(10)
  await clock.sleep(2_000)
  clock.jump(-3_600_000)
  judge(10)
  await clock.sleep(1_000)
  expect(told.map(({ rate }) => rate)).toEqual([undefined, 600, undefined])
  judge(10)
  await clock.sleep(1_000)
  expect(told.at(-1)?.rate).toBe(600)
})

test('nothing is told once a run that was not begun has ended', () => {
  const { told, sampler } = rig()
  sampler.end()
  sampler.begin()
  expect(told).toEqual([])
})

test('figures that cannot be made end nothing but the figures', async () => {
  const { clock, told, warnings, sampler, judge } = rig()
  sampler.begin()
  judge(2_000)
  await clock.sleep(3_000)
  judge(1)
  await clock.sleep(3_000)
  sampler.end()
  expect(told).toHaveLength(1)
  expect(warnings).toEqual(['the figures of the task cannot be told any more: a figure that cannot be'])
})
