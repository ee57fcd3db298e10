// Starts Portkey's open-source gateway on 127.0.0.1 only, in front of one upstream.
//
//   node portkey.mjs PORT UPSTREAM --plain | --configured [CONFIG]
//   node portkey.mjs 8787 http://127.0.0.1:4010 --configured
//
// The gateway is @portkey-ai/gateway as published, started as its README says (`npx
// @portkey-ai/gateway`), with --port and, to leave its log page out, --headless. Two things are
// done around it, and nothing inside it:
//
// - It has no setting for the address it listens on and would take all of them: `listen` gets one.
// - It has no policy of its own, each request brings provider, upstream, retries and fallbacks in
//   x-portkey-* headers. Those of portkey_config.json are added to every request here, so that
//   any client goes through it by its base URL alone.
//
// Two targets, each with one retry and half of the limit that the clients have (@LIMIT_MS@, filled
// in by whoever starts this): more would outlast the scorecard's patience wherever the upstream
// stays down.
//
// Documented at portkey.ai/docs: AI Gateway, "Automatic Retries" (`retry`, `attempts`,
// `use_retry_after_header`), "Fallbacks" (`strategy`, `targets`), "Request Timeouts"
// (`request_timeout`, in ms); Integrations, "Bring Your Own LLM" (`custom_host`).

import { readFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'

const DEFAULT_LIMIT_MS = 3333

const options = process.argv.slice(2)
const [given, upstream, configFile] = options.filter((word) => !word.startsWith('--'))
const variant = ['plain', 'configured'].find((name) => options.includes(`--${name}`))
const port = Number(given)
if (!(port > 0 && port < 65536) || !upstream || !variant) {
  process.stderr.write('usage: portkey.mjs PORT UPSTREAM --plain | --configured [CONFIG]\n')
  process.exit(2)
}

const headers = Object.entries(policy())

function policy() {
  const own = new URL('portkey_config.json', import.meta.url)
  const text = readFileSync(configFile ?? own, 'utf8')
  const filled = text.replaceAll('@UPSTREAM@', upstream.replace(/\/$/, ''))
  const halfLimit = (name, value) =>
    name === 'request_timeout' ? Math.round((Number(value) || DEFAULT_LIMIT_MS) / 2) : value
  return JSON.parse(filled, halfLimit)[variant]
}

const { listen } = net.Server.prototype
net.Server.prototype.listen = function (...args) {
  const then = args.findLast((value) => typeof value === 'function')
  return listen.call(this, { host: '127.0.0.1', port }, then)
}

const { emit } = http.Server.prototype
http.Server.prototype.emit = function (event, request, ...rest) {
  if (event === 'request') {
    for (const [name, value] of headers) {
      const text = typeof value === 'string' ? value : JSON.stringify(value)
      request.rawHeaders.push(name, text)
      request.headers[name] = text
    }
  }
  return emit.call(this, event, request, ...rest)
}

process.argv.splice(2, Infinity, `--port=${port}`, '--headless')
await import('./node_modules/@portkey-ai/gateway/build/start-server.js')
