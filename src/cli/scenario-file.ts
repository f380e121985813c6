import { readFileSync } from 'node:fs'
import { type CheckedScenario, parseScenario } from '../emulator/scenario.ts'
import { errorText, UsageError } from '../errors.ts'

/** Reads what the emulator is to do wrong. Throws `UsageError` (`bad_scenario`) that names the file and the place in it. */
export function readScenario(path: string): CheckedScenario {
  return parseScenario(parsed(path, contentOf(path)), `the scenario ${path}`)
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw badScenario(path, `cannot be read: ${errorText(error)}`, error)
  }
}

function parsed(path: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw badScenario(path, `is not JSON: ${errorText(error)}`, error)
  }
}

const badScenario = (path: string, why: string, cause: unknown): UsageError =>
  new UsageError('bad_scenario', `the scenario ${path} ${why}`, { cause })
