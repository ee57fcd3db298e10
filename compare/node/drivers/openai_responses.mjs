// openai for Node, Responses.
//
// --plain: the loop of the README over `create({stream: true})`, default options.
// --configured, with where each is documented (paths in the npm package `openai`):
//   maxRetries, timeout        README.md "Retries", "Timeouts"
//   undici fetch, bodyTimeout  client.d.ts, comment of `timeout`
//   signal                     README.md "Cancellation"
//   .stream(), .finalResponse() and a look at `status`, since a clean end resolves "even when
//     the response is incomplete"  lib/responses/ResponseStream.d.ts, comment of `finalResponse`
// background --configured: the same, and where the stream breaks it is read on by
//   `.stream({response_id, starting_after})`: examples/responses/stream_background.ts in the
//   repository. The request then has `background: true`.
// --gateway: as plain, with `store: false`, since an answer that the provider keeps is not continued
//   by another request; or with `background: true`, where it is read on.

import OpenAI from 'openai'

import {
  IncompleteAnswer,
  ProviderError,
  TOOL,
  behindGateway,
  configured,
  headers,
  kind,
  limits,
  model,
  print,
  prompt,
  run,
  sayTool,
} from './common.mjs'

const background = kind === 'background'

const tools = sayTool ? { tools: [functionOf(TOOL)] } : {}
const body = { model, input: prompt, ...tools }

function functionOf({ name, description, schema }) {
  return { type: 'function', name, description, parameters: schema, strict: true }
}

function handle(event) {
  const wanted = sayTool ? 'response.function_call_arguments.delta' : 'response.output_text.delta'
  if (event.type === wanted) print(event.delta)
  if (event.type === 'error') throw new ProviderError(event.message)
  if (event.type === 'response.failed') throw new ProviderError(event.response.error?.message)
}

async function plain() {
  const client = new OpenAI({ defaultHeaders: headers })
  const kept = behindGateway ? (background ? { background } : { store: false }) : {}
  const stream = await client.responses.create({ ...body, ...kept, stream: true })
  for await (const event of stream) handle(event)
}

async function makeClient() {
  const { deadlines } = await import('./transport.mjs')
  return new OpenAI({
    defaultHeaders: headers,
    maxRetries: limits.retries,
    timeout: limits.idleMs,
    ...deadlines,
  })
}

function checkStatus(response) {
  if (response.status !== 'completed') {
    throw new IncompleteAnswer(`the response's status is ${response.status} at the stream's end`)
  }
}

async function resilient() {
  const client = await makeClient()
  const stream = client.responses.stream(body, { signal: AbortSignal.timeout(limits.totalMs) })
  for await (const event of stream) handle(event)
  checkStatus(await stream.finalResponse())
}

async function resumed() {
  const client = await makeClient()
  const options = { signal: AbortSignal.timeout(limits.totalMs) }
  let id, place
  for (let attempt = 0; ; attempt++) {
    const from = { response_id: id, starting_after: place, ...tools }
    const stream = client.responses.stream(id ? from : { ...body, background: true }, options)
    try {
      for await (const event of stream) {
        if (event.type === 'response.created') id = event.response.id
        place = event.sequence_number
        handle(event)
      }
      return checkStatus(await stream.finalResponse())
    } catch (error) {
      // Without an id there is nothing to read on from; what failed for good stays so.
      if (!id || attempt >= limits.retries || options.signal.aborted) throw error
    }
  }
}

await run(!configured ? plain : background ? resumed : resilient)
