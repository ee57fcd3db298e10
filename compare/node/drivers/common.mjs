// What every driver shares: the environment they read, how they print, how they end.
//
// A driver is a client under test: it asks one question, prints the answer's text to stdout and
// exits with 0, or prints what it got so far and exits with 1, `ErrorName: message` being the
// last line on stderr. The drivers know nothing of what the server does to the stream. They are
// what a careful application writes: it skips what says nothing, raises what the client hands
// over as an error, and believes the client in all else.

const env = process.env

/** The model's name, which also says how the server misbehaves. */
export const model = env.LAB_MODEL ?? 'lab/ok'

export const prompt = env.LAB_PROMPT ?? 'Tell me a story.'

/** Whether a tool call is asked for, whose arguments are then printed as they were received. */
export const sayTool = env.LAB_SAY === 'tool'

export const seed = env.LAB_SEED ? Number(env.LAB_SEED) : undefined

/** Headers to add to every request: a gateway under test wants some. */
export const headers = JSON.parse(env.LAB_HEADERS ?? '{}')

const asked = variant()

/** "plain" (as shipped) or "configured" (the client's own resilience switched on). */
export const configured = asked === 'configured'

/** "gateway": as shipped, behind Unbroken's gateway, which its base URL says by itself. */
export const behindGateway = asked === 'gateway'

function variant() {
  const known = ['plain', 'configured', 'gateway']
  const given = known.filter((name) => process.argv.includes(`--${name}`))
  if (given.length === 1) return given[0]
  process.stderr.write(`usage: ${process.argv[1]} [KIND] --plain | --configured | --gateway\n`)
  process.exit(2)
}

/** The word before the variant, of a driver that can do more than one thing. */
export const kind = process.argv.slice(2).find((word) => !word.startsWith('--')) ?? ''

// Limits of the configured variants, the same for every client and the same as in the Python
// drivers. They follow from how long the scorecard waits, so that a client that has a deadline
// gets the chance to use it, and its retries too.
const patienceS = Number(env.LAB_PATIENCE_S ?? '20')

export const limits = {
  /** Retries before a stream has begun; three waits of these SDKs are 0.5 + 1 + 2 s. */
  retries: 3,
  /** How long nothing may come before the client gives up on the attempt. */
  idleMs: Math.round((patienceS / 6) * 1000),
  /** How long all of it may take. */
  totalMs: Math.round(patienceS * 0.8 * 1000),
}

export const TOOL = {
  name: 'record',
  description: 'Record a text.',
  schema: {
    type: 'object',
    properties: { text: { type: 'string' } },
    required: ['text'],
    additionalProperties: false,
  },
}

let said = ''

/** Print a piece of the answer at once. */
export function print(text) {
  if (!text) return
  if (sayTool) said += text
  process.stdout.write(text)
}

/** Read a call's arguments, as any application does before it acts on one; throws if it cannot. */
function act() {
  if (sayTool && said) JSON.parse(said)
}

/** A fault that the application finds by a check that the client's own docs advise. */
export class IncompleteAnswer extends Error {
  name = 'IncompleteAnswer'
}

/** The client handed over, as an event like any other, that the provider reports an error. */
export class ProviderError extends Error {
  name = 'ProviderError'
}

/** Run `client` and end the process as the scorecard expects it, without lingering sockets. */
export async function run(client) {
  let code = 0
  try {
    await client()
    act()
  } catch (error) {
    code = 1
    await flushed(process.stderr, `${nameOf(error)}: ${messageOf(error)}\n`)
  }
  await flushed(process.stdout, '')
  process.exit(code)
}

function flushed(stream, text) {
  return new Promise((resolve) => stream.write(text, resolve))
}

// The SDKs leave `name` at "Error" for many of their classes; the class then says more.
function nameOf(error) {
  const name = error?.name ?? 'Error'
  return name === 'Error' ? (error?.constructor?.name ?? name) : name
}

function messageOf(error) {
  const text = error?.message ?? String(error)
  const cause = error?.cause?.message
  return (cause && !text.includes(cause) ? `${text} (${cause})` : text).replace(/\s+/g, ' ')
}
