// @anthropic-ai/sdk, Messages.
//
// --plain: a loop over `messages.create({stream: true})`, default options.
// --configured, with where each is documented (paths in the npm package `@anthropic-ai/sdk`):
//   maxRetries, timeout, fetch, fetchOptions  client.d.ts, comments of `ClientOptions`
//   headersTimeout, bodyTimeout               undici/docs/docs/api/Client.md
//   signal                                    internal/request-options.d.ts
//   .stream() and .finalMessage(), which wants a message_stop
//                                             helpers.md "MessageStream API" in the repository

import Anthropic from '@anthropic-ai/sdk'

import { TOOL, configured, headers, limits, model, print, prompt, run, sayTool } from './common.mjs'

const body = {
  model,
  max_tokens: 4096,
  messages: [{ role: 'user', content: prompt }],
  ...(sayTool ? { tools: [toolOf(TOOL)] } : {}),
}

function toolOf({ name, description, schema }) {
  return { name, description, input_schema: schema }
}

function printDelta(event) {
  if (event.type !== 'content_block_delta') return
  if (sayTool && event.delta.type === 'input_json_delta') print(event.delta.partial_json)
  if (!sayTool && event.delta.type === 'text_delta') print(event.delta.text)
}

async function plain() {
  const client = new Anthropic({ defaultHeaders: headers })
  const stream = await client.messages.create({ ...body, stream: true })
  for await (const event of stream) printDelta(event)
}

async function resilient() {
  const { deadlines } = await import('./transport.mjs')
  const client = new Anthropic({
    defaultHeaders: headers,
    maxRetries: limits.retries,
    timeout: limits.idleMs,
    ...deadlines,
  })
  const signal = AbortSignal.timeout(limits.totalMs)
  const stream = client.messages.stream(body, { signal })
  for await (const event of stream) printDelta(event)
  await stream.finalMessage()
}

await run(configured ? resilient : plain)
