// What the adaptors in JavaScript share: lines in, lines out.

import { createInterface } from 'node:readline'

export const boots = process.argv[2].split(',')

export class NotApplicable extends Error {}

export const word = value => (value === null || value === undefined ? '-' : Buffer.from(value).toString('hex') || '.')
export const unword = text => (text === '-' ? null : text === '.' ? Buffer.alloc(0) : Buffer.from(text, 'hex'))
export const say = (...words) => process.stdout.write(words.join(' ') + '\n')

/** An event to be written; headers as pairs. */
export function parse (text) {
  const [key, value, time, headers] = text.split(':')
  const pairs = headers === '.' ? [] : headers.split(',').map(pair => pair.split('=').map(unword))
  return { key: unword(key), value: unword(value), time: time === '-' ? null : Number(time), headers: pairs }
}

export function show (offset, key, value, time, headers) {
  const said = headers.map(([name, content]) => `${word(name)}=${word(content)}`).join(',')
  return `${offset}:${word(key)}:${word(value)}:${time}:${said || '.'}`
}

/** Waits until `done()`, 30 s at most. */
export async function until (done) {
  const end = Date.now() + 30_000
  while (!done() && Date.now() < end) await new Promise(resolve => setTimeout(resolve, 20))
}

export async function serve (verbs, close) {
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    const [verb, ...words] = line.split(' ')
    try {
      if (!verbs[verb]) throw new NotApplicable(`no ${verb}`)
      const found = await verbs[verb](...words)
      say('ok', ...(Array.isArray(found) ? found : ['string', 'number'].includes(typeof found) ? [found] : []))
    } catch (error) {
      const text = `${error.name}: ${error.message} ${deepest(error)}`.replaceAll('\n', ' ').slice(0, 400)
      if (!(error instanceof NotApplicable)) console.error(error)
      say(error instanceof NotApplicable ? 'none' : 'failed', error instanceof NotApplicable ? error.message : text)
    }
  }
  await close()
  process.exit(0)
}

function deepest (error) {
  const inner = error.errors?.[0] ?? error.cause
  return inner ? `${inner.message} ${deepest(inner)}` : ''
}
