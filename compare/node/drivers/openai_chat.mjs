// openai for Node, Chat Completions.
//
// --plain: the loop of the README over `create({stream: true})`, default options.
// --configured, with where each is documented (paths in the npm package `openai`):
//   maxRetries, timeout        README.md "Retries", "Timeouts"
//   undici fetch, bodyTimeout  client.d.ts, comment of `timeout`
//   signal                     README.md "Cancellation"
//   .stream() and .finalChatCompletion(), which wants a finish reason of every choice
//                              helpers.md "Chat Streaming" in the repository
//   strict tools, whose arguments the helper parses
//                              helpers.md "Auto-parsing function tool calls" in the repository

import OpenAI from 'openai'

import {
  TOOL,
  configured,
  headers,
  limits,
  model,
  print,
  prompt,
  run,
  sayTool,
  seed,
} from './common.mjs'

const body = {
  model,
  messages: [{ role: 'user', content: prompt }],
  ...(seed === undefined ? {} : { seed }),
  ...(sayTool ? { tools: [{ type: 'function', function: functionOf(TOOL) }] } : {}),
}

function functionOf({ name, description, schema }) {
  return { name, description, parameters: schema, ...(configured ? { strict: true } : {}) }
}

function printDelta(chunk) {
  for (const { index, delta } of chunk.choices ?? []) {
    if (index || !delta) continue
    if (!sayTool) print(delta.content)
    else for (const call of delta.tool_calls ?? []) if (!call.index) print(call.function?.arguments)
  }
}

async function plain() {
  const client = new OpenAI({ defaultHeaders: headers })
  const stream = await client.chat.completions.create({ ...body, stream: true })
  for await (const chunk of stream) printDelta(chunk)
}

async function resilient() {
  const { deadlines } = await import('./transport.mjs')
  const client = new OpenAI({
    defaultHeaders: headers,
    maxRetries: limits.retries,
    timeout: limits.idleMs,
    ...deadlines,
  })
  const signal = AbortSignal.timeout(limits.totalMs)
  const stream = client.chat.completions.stream(body, { signal })
  for await (const chunk of stream) printDelta(chunk)
  await stream.finalChatCompletion()
}

await run(configured ? resilient : plain)
