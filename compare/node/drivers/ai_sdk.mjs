// Vercel's AI SDK: `ai` over @ai-sdk/openai or @ai-sdk/anthropic.
//
//   ai_sdk.mjs chat | responses | anthropic
//
// --plain: `for await (const text of streamText(...).textStream)`, as its first examples do. By
// default the SDK writes an error of the stream to the console and ends the loop without one.
// --configured, with where each is documented (paths in the npm package `ai`):
//   maxRetries, timeout: {firstChunkMs, chunkMs, totalMs}
//                          docs/03-ai-sdk-core/25-settings.mdx, "Request Options"
//   error, tool-error and abort parts, which are thrown here
//                          docs/03-ai-sdk-core/50-error-handling.mdx, "Handling streaming errors"
//   streamRetries          the same page, "Retrying provider errors after streaming starts". What a
//                          failed attempt said stays in the stream, so the text is printed at the
//                          end, from `result.text`, which leaves it out.
//   finishReason === 'interrupted' is an incomplete response
//                          CHANGELOG.md, 7.0.149
// --gateway: as plain; Responses with `store: false`, since an answer that the provider keeps is not
// continued by another request.

import { jsonSchema, streamText, tool } from 'ai'

import {
  IncompleteAnswer,
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
  seed,
} from './common.mjs'

// Its notes on unknown models would end up as the last line on stderr, where the error belongs.
globalThis.AI_SDK_LOG_WARNINGS = false

async function languageModel() {
  if (kind === 'anthropic') {
    const { createAnthropic } = await import('@ai-sdk/anthropic')
    // This provider's base URL has the /v1 that ANTHROPIC_BASE_URL, as Anthropic's own SDKs
    // read it, has not.
    const baseURL = `${process.env.ANTHROPIC_BASE_URL.replace(/\/$/, '')}/v1`
    return createAnthropic({ baseURL, headers })(model)
  }
  const { createOpenAI } = await import('@ai-sdk/openai')
  const openai = createOpenAI({ headers })
  return kind === 'chat' ? openai.chat(model) : openai.responses(model)
}

async function settings() {
  const record = tool({ description: TOOL.description, inputSchema: jsonSchema(TOOL.schema) })
  return {
    model: await languageModel(),
    prompt,
    ...(behindGateway && kind === 'responses'
      ? { providerOptions: { openai: { store: false } } }
      : {}),
    ...(seed === undefined ? {} : { seed }),
    ...(sayTool ? { tools: { [TOOL.name]: record } } : {}),
  }
}

/** The call's arguments do not fit the tool; the SDK's own error comes as a text. */
class InvalidCall extends Error {
  name = 'InvalidCall'
}

async function plain() {
  const result = streamText(await settings())
  if (!sayTool) {
    for await (const text of result.textStream) print(text)
    return
  }
  for await (const part of result.stream) {
    if (part.type === 'tool-input-delta') print(part.delta)
  }
}

async function resilient() {
  let said = '' // by the attempt that runs
  const result = streamText({
    ...(await settings()),
    maxRetries: limits.retries,
    streamRetries: limits.retries,
    timeout: { firstChunkMs: limits.idleMs, chunkMs: limits.idleMs, totalMs: limits.totalMs },
    onLanguageModelCallStart: () => {
      said = ''
    },
    onError: () => {}, // without one the SDK writes errors to the console; they are thrown below
  })
  try {
    for await (const part of result.stream) {
      if (part.type === 'error') throw part.error
      if (part.type === 'tool-error') throw new InvalidCall(part.error)
      if (part.type === 'abort') throw new IncompleteAnswer(`aborted: ${part.reason}`)
      if (part.type === 'finish' && part.finishReason === 'interrupted') {
        throw new IncompleteAnswer('the finish reason is "interrupted"')
      }
      if (part.type === 'text-delta' && !sayTool) said += part.text
      if (part.type === 'tool-input-delta' && sayTool) said += part.delta
    }
  } catch (error) {
    print(said)
    throw error
  }
  print(sayTool ? said : await result.text)
}

await run(configured ? resilient : plain)
