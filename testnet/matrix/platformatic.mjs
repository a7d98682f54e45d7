// The adaptor of @platformatic/kafka, which speaks only the flexible versions.

import { createRequire } from 'node:module'
import { boots, NotApplicable, parse, say, serve, show, until, word } from './adaptor.mjs'

const require = createRequire(process.cwd() + '/')
const kafka = await import(require.resolve('@platformatic/kafka'))
const { Admin, Consumer, MessagesStreamFallbackModes, MessagesStreamModes, Producer } = kafka

// It asks again without a look at who leads by now, until its metadata is this old.
const base = { clientId: 'matrix', bootstrapBrokers: boots, retries: 20, retryDelay: 250, metadataMaxAge: 500 }
const admin = new Admin(base)
const consumers = new Map()
const TOPIC = 2

async function write (stream, partition, codec, how, ...events) {
  if (codec === 'zstd') throw new NotApplicable('needs a newer Node.js')
  const settings = { ...base, autocreateTopics: true, compression: codec, acks: -1, idempotent: how === 'idempotent' }
  const writer = new Producer(settings)
  try {
    const messages = events.map(parse).map(({ key, value, time, headers }) => ({
      topic: stream,
      partition: Number(partition),
      key: key ?? undefined,
      value: value ?? undefined,
      headers: new Map(headers),
      ...(time === null ? {} : { timestamp: BigInt(time) })
    }))
    const { offsets } = await writer.send({ messages })
    return messages.map((_, at) => Number(offsets[0].offset) + at)
  } finally {
    await writer.close()
  }
}

/** Does it once more with a fresh client where leaders have moved: one that was refused does not look again who leads. */
async function again (work, ...words) {
  for (let left = 5; ; left--) {
    try {
      return await work(...words)
    } catch (error) {
      if (left === 0) throw error
    }
  }
}

async function readOnce (stream, partition, offset, count, how) {
  const most = how === 'small' ? { maxBytes: 1000, maxBytesPerPartition: 1000 } : {}
  const reader = new Consumer({ ...base, retries: 3, groupId: `read-${Math.random()}`, maxWaitTime: 100, autocommit: false, ...most })
  const all = (await admin.metadata({ topics: [stream] })).topics.get(stream).partitions
  const found = []
  try {
    const offsets = all.map((_, at) => ({ topic: stream, partition: at, offset: BigInt(at === Number(partition) ? offset : 0) }))
    const incoming = await reader.consume({ topics: [stream], mode: MessagesStreamModes.MANUAL, offsets })
    let failed = null
    incoming.on('error', error => { failed = error })
    incoming.on('data', it => {
      if (it.partition !== Number(partition)) return
      const value = it.value === undefined ? null : it.value
      found.push(show(it.offset, it.key === undefined ? null : it.key, value, it.timestamp, [...it.headers]))
    })
    await until(() => failed || found.length >= Number(count))
    if (failed) throw failed
  } finally {
    // It leaves its group where the coordinator was at first; if that has moved, it was in none.
    await reader.close(true).catch(() => {})
  }
  return found.slice(0, Number(count))
}

async function joinOnce (name, stream, group) {
  const reader = new Consumer({
    ...base, groupId: group, sessionTimeout: 10_000, heartbeatInterval: 500, rebalanceTimeout: 15_000, maxWaitTime: 100,
    autocommit: 200
  })
  const wanted = { topics: [stream], mode: MessagesStreamModes.COMMITTED, fallbackMode: MessagesStreamFallbackModes.EARLIEST }
  const incoming = await reader.consume(wanted).catch(async error => {
    await reader.close(true).catch(() => {})
    throw error
  })
  consumers.set(name, { reader, incoming })
  incoming.on('error', error => say('bad', name, String(error).replaceAll('\n', ' ')))
  incoming.on('data', it => say('got', name, word(it.value)))
}

async function leave (name) {
  const { reader, incoming } = consumers.get(name)
  consumers.delete(name)
  // What it has given out is committed first.
  await incoming.close()
  await reader.close(true)
}

async function offset (stream, partition, timestamp) {
  const wanted = [{ name: stream, partitions: [{ partitionIndex: Number(partition), timestamp: BigInt(timestamp) }] }]
  return (await admin.listOffsets({ topics: wanted }))[0].partitions[0].offset
}

const pair = text => { const [name, value] = text.split('='); return { name, value } }

await serve({
  write,
  read: (...words) => again(readOnce, ...words),
  join: (...words) => again(joinOnce, ...words),
  leave,
  ends: async (stream, partition) => [await offset(stream, partition, -2), await offset(stream, partition, -1)],
  time: async (stream, partition, time) => {
    const found = await offset(stream, partition, time)
    return found < 0n ? '-' : String(found)
  },
  create: (stream, partitions, ...settings) => admin.createTopics({
    topics: [stream], partitions: Number(partitions), replicas: 3, configs: settings.map(pair)
  }).then(() => []),
  parts: async stream => (await admin.metadata({ topics: [stream], forceUpdate: true })).topics.get(stream).partitionsCount,
  grow: (stream, count) =>
    admin.createPartitions({ topics: [{ name: stream, count: Number(count), assignments: null }] }).then(() => []),
  settings: async stream => (await admin.describeConfigs({ resources: [{ resourceType: TOPIC, resourceName: stream }] }))[0]
    .configs.map(it => `${it.name}=${it.value}`),
  set: (stream, setting) => admin.incrementalAlterConfigs({
    resources: [{
      resourceType: TOPIC, resourceName: stream, configs: [{ ...pair(setting), configOperation: 0 }]
    }]
  }).then(() => []),
  trim: (stream, partition, offset) => admin.deleteRecords({
    topics: [{ name: stream, partitions: [{ partition: Number(partition), offset: BigInt(offset) }] }]
  }).then(() => []),
  state: async group => {
    const state = (await admin.describeGroups({ groups: [group] })).get(group).state
    return state[0] + state.slice(1).toLowerCase()
  },
  groups: async () => [...(await admin.listGroups()).keys()],
  committed: async (group, stream, partition) => {
    const topics = [{ name: stream, partitionIndexes: [Number(partition)] }]
    const [found] = await admin.listConsumerGroupOffsets({ groups: [{ groupId: group, topics }] })
    return String(found.topics[0].partitions[0].committedOffset)
  },
  ungroup: group => admin.deleteGroups({ groups: [group] }).then(() => []),
  delete: stream => admin.deleteTopics({ topics: [stream] }).then(() => []),
  streams: () => admin.listTopics({})
}, () => admin.close())
