import { assertNever } from '../util/exhaustive.ts'
import { BrokenResponse, ConnectionLost } from './connection-lost.ts'
import { bodyText } from './fault-body.ts'
import { counted, type Placed, type Surroundings } from './occurrences.ts'
import type { Acts, CallFault, Route } from './scenario-call.ts'
import { ROUTES } from './scenario-call.ts'

/** Passes a request on, or the one it is given in its place. */
export type Next = (request?: Request) => Promise<Response>
/** Something around the API: it may act before, after or instead of what is below it. */
export type Layer = (request: Request, next: Next) => Promise<Response>

/** The faults of HTTP calls. Those that happen to a call lie around one another, the first one outermost. */
export function callFaultLayer(faults: readonly Placed<CallFault>[], surroundings: Surroundings): Layer {
  const { clock } = surroundings
  const books = counted(faults, surroundings)
  return async (original, next) => {
    const route = routeOf(original)
    const near = books.filter(({ fault }) => isOn(fault, route))
    const readsBody = near.some(({ fault }) => fault.contains !== undefined || fault.model !== undefined)
    const request = readsBody ? await buffered(original) : original
    const text = readsBody ? await request.clone().text() : ''
    const happening = near
      .filter(({ fault }) => concerns(fault, text))
      .map(({ fault, occurrences }) => ({
        fault,
        happens: occurrences.next({ now: clock.now() }),
      }))
    return happening
      .filter(({ happens }) => happens)
      .reduceRight<Next>(
        (below, { fault }) =>
          (given = request) =>
            happen(fault, { request: given, next: below, ...surroundings }),
        (given = request) => next(given),
      )()
  }
}

function routeOf(request: Request): Route | undefined {
  const asked = new URL(request.url).pathname.split('/')
  return ROUTES.find((route) => {
    const [method, path = ''] = route.split(' ')
    const steps = path.split('/')
    const fits = (step: string, at: number): boolean => step === '{id}' || step === asked[at]
    return method === request.method && steps.length === asked.length && steps.every(fits)
  })
}

const isOn = ({ route }: CallFault, asked: Route | undefined): boolean =>
  route === undefined || (asked !== undefined && [route].flat().includes(asked))

const MODEL = /"model"\s*:\s*("(?:[^"\\]|\\.)*")/

function concerns({ contains = '', model }: CallFault, text: string): boolean {
  return text.includes(contains) && (model === undefined || MODEL.exec(text)?.[1] === JSON.stringify(model))
}

/** The same request with all of its body at hand, so that it can be read more than once, and later. */
async function buffered(request: Request): Promise<Request> {
  const { method, headers, signal, url } = request
  const body = request.body === null ? null : await request.arrayBuffer()
  return new Request(url, { method, headers, signal, body })
}

interface Call extends Surroundings {
  readonly request: Request
  readonly next: Next
}

async function happen(fault: CallFault, call: Call): Promise<Response> {
  switch (fault.fault) {
    case 'http-answer':
      await act(fault.acts, call)
      return givenAnswer(fault)
    case 'http-lose':
      await act(fault.acts, call)
      throw new ConnectionLost()
    case 'http-hang':
      await act(fault.acts, call)
      await aborted(AbortSignal.any([call.request.signal, call.signal]))
      throw new ConnectionLost()
    case 'http-delay':
      return delayed(fault, call)
    case 'http-cut':
      return cut(fault, await call.next(call.request))
    case 'http-garble':
      return garbled(fault, await call.next(call.request))
    default:
      return assertNever(fault)
  }
}

async function act(acts: Acts, call: Call): Promise<void> {
  if (acts === false) return
  const request = await buffered(call.request)
  if (acts === true) return actNow(request, call)
  // Nobody waits for it: what comes of it is seen by those who look for it later.
  void actLater(request, acts.afterMs, call).catch(() => undefined)
}

async function actNow(request: Request, { next }: Call): Promise<void> {
  const response = await next(request)
  await response.body?.cancel()
}

async function actLater(request: Request, ms: number, call: Call): Promise<void> {
  const { url, method, headers } = request
  const body = request.body === null ? null : await request.arrayBuffer()
  await call.clock.sleep(ms, call.signal)
  // A request without the caller's signal: that the caller has gone away does not stop it.
  if (!call.signal.aborted) await actNow(new Request(url, { method, headers, body }), call)
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
}

/** Statuses whose answers have no body. */
const BODILESS = new Set([204, 205, 304])

function givenAnswer(fault: CallFault & { fault: 'http-answer' }): Response {
  const { text, type } = bodyText(fault)
  const { status, headers } = fault
  const body = BODILESS.has(status) ? null : text
  return new Response(body, { status, headers: { 'content-type': type, ...headers } })
}

type FaultOf<Name extends CallFault['fault']> = Extract<CallFault, { fault: Name }>

async function delayed({ ms, acts }: FaultOf<'http-delay'>, call: Call): Promise<Response> {
  const { clock, request, signal, next } = call
  const pause = () => clock.sleep(ms, AbortSignal.any([request.signal, signal]))
  if (!acts) await pause()
  const response = await next(request)
  if (acts) await pause()
  return response
}

async function cut(
  { bytes, contentLength, ends }: FaultOf<'http-cut'>,
  response: Response,
): Promise<Response> {
  const whole = new Uint8Array(await response.arrayBuffer())
  const head = whole.subarray(0, bytes)
  const headers = new Headers(response.headers)
  headers.delete('content-length')
  const length = ends === 'clean' ? head.length : whole.length
  if (contentLength) headers.set('content-length', String(length))
  const { status } = response
  const breaks = ends === 'broken' && bytes < whole.length
  if (breaks) return new BrokenResponse(brokenStream(head), { status, headers })
  return new Response(streamOf(head), { status, headers })
}

/** A stream, so that no length is known of it but the one that is told. */
const streamOf = (bytes: Uint8Array): ReadableStream => new Blob([Buffer.from(bytes)]).stream()

function brokenStream(head: Uint8Array): ReadableStream<Uint8Array> {
  let given = false
  return new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        if (given || head.length === 0) controller.error(new ConnectionLost())
        else controller.enqueue(head)
        given = true
      },
    },
    { highWaterMark: 0 },
  )
}

async function garbled({ from, bytes }: FaultOf<'http-garble'>, response: Response): Promise<Response> {
  const body = new Uint8Array(await response.arrayBuffer()).fill(0xff, from, from + bytes)
  return new Response(body, { status: response.status, headers: response.headers })
}
