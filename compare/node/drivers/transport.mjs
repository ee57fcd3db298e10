// A `fetch` with deadlines on the response's head and on silence inside its body.
//
// The SDKs' own `timeout` ends with the response's head. openai documents this way round it
// (openai/client.d.ts, at `timeout`): undici's fetch, with an Agent that has a headersTimeout and
// a bodyTimeout. Both are undici's documented options (undici/docs/docs/api/Client.md).

import { Agent, fetch } from 'undici'

import { limits } from './common.mjs'

/** The client options that put deadlines under an SDK: `fetch` and `fetchOptions`. */
export const deadlines = {
  fetch,
  fetchOptions: {
    dispatcher: new Agent({ headersTimeout: limits.idleMs, bodyTimeout: limits.idleMs }),
  },
}
