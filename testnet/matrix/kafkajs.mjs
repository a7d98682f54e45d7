// The adaptor of kafkajs. Its codecs but gzip are plug-ins.

import { createRequire } from 'node:module'
import { boots, NotApplicable, parse, say, serve, show, until, word } from './adaptor.mjs'

const require = createRequire(process.cwd() + '/')
const { CompressionTypes, ConfigResourceTypes, Kafka, logLevel, Partitioners } = require('kafkajs')

const kafka = new Kafka({ brokers: boots, logLevel: logLevel.NOTHING, clientId: 'matrix' })
const admin = kafka.admin()
await admin.connect()
const consumers = new Map()

async function write (stream, partition, codec, how, ...events) {
  if (!['none', 'gzip'].includes(codec)) throw new NotApplicable('a plug-in')
  const writer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, idempotent: how === 'idempotent' })
  await writer.connect()
  try {
    const messages = events.map(parse).map(({ key, value, time, headers }) => ({
      key, value, partition: Number(partition), ...(time === null ? {} : { timestamp: String(time) }), headers: named(headers)
    }))
    const compression = codec === 'gzip' ? CompressionTypes.GZIP : CompressionTypes.None
    const [told] = await writer.send({ topic: stream, messages, compression, acks: -1 })
    return messages.map((_, at) => Number(told.baseOffset) + at)
  } finally {
    await writer.disconnect()
  }
}

const open = new Map()

async function begun (name, transactionTimeout) {
  const writer = kafka.producer({
    createPartitioner: Partitioners.DefaultPartitioner, transactionalId: name, maxInFlightRequests: 1, idempotent: true, transactionTimeout
  })
  await writer.connect()
  return { writer, transaction: await writer.transaction() }
}

function put (transaction, stream, partition, events) {
  const messages = events.map(parse).map(({ key, value, headers }) =>
    ({ key, value, partition: Number(partition), headers: named(headers) }))
  return transaction.send({ topic: stream, messages, acks: -1 })
}

async function transact (name, how, stream, partition, ...events) {
  const { writer, transaction } = await begun(name, how === 'open' ? 3_000 : 30_000)
  await put(transaction, stream, partition, events)
  if (how === 'open') return void open.set(name, transaction)
  await (how === 'commit' ? transaction.commit() : transaction.abort())
  await writer.disconnect()
}

async function transfer (name, group, stream, partition, offset, event) {
  const { writer, transaction } = await begun(name, 30_000)
  await put(transaction, stream, partition, [event])
  const topics = [{ topic: stream, partitions: [{ partition: Number(partition), offset }] }]
  await transaction.sendOffsets({ consumerGroupId: group, topics })
  await transaction.commit()
  await writer.disconnect()
}

/** Headers by name; several of one name are a list. */
function named (headers) {
  const found = {}
  for (const [name, content] of headers) (found[name] ??= []).push(content)
  return found
}

async function read (stream, partition, offset, count, how) {
  const most = how === 'small' ? { maxBytes: 1000, maxBytesPerPartition: 1000 } : {}
  const readUncommitted = how !== 'committed'
  const reader = kafka.consumer({ groupId: `read-${Math.random()}`, maxWaitTimeInMs: 100, readUncommitted, ...most })
  const found = []
  await reader.connect()
  await reader.subscribe({ topics: [stream], fromBeginning: true })
  await reader.run({
    autoCommit: false,
    eachMessage: async ({ partition: from, message }) => {
      if (from !== Number(partition) || Number(message.offset) < Number(offset)) return
      const headers = Object.entries(message.headers ?? {}).flatMap(([name, content]) =>
        [content].flat().map(one => [name, one]))
      found.push(show(message.offset, message.key, message.value, message.timestamp, headers))
    }
  })
  reader.seek({ topic: stream, partition: Number(partition), offset })
  await until(() => found.length >= Number(count))
  await reader.disconnect()
  return found.slice(0, Number(count))
}

async function join (name, stream, group) {
  const reader = kafka.consumer({
    groupId: group, sessionTimeout: 10_000, heartbeatInterval: 500, rebalanceTimeout: 15_000, maxWaitTimeInMs: 100
  })
  consumers.set(name, reader)
  reader.on(reader.events.CRASH, ({ payload }) => {
    if (!payload.restart) say('bad', name, String(payload.error).replaceAll('\n', ' '))
  })
  await reader.connect()
  await reader.subscribe({ topics: [stream], fromBeginning: true })
  await reader.run({ eachMessage: async ({ message }) => say('got', name, word(message.value)) })
}

async function leave (name) {
  await consumers.get(name).disconnect()
  consumers.delete(name)
}

const pair = text => { const [name, value] = text.split('='); return { name, value } }
const config = stream => ({ type: ConfigResourceTypes.TOPIC, name: stream })

await serve({
  write,
  read,
  join,
  leave,
  transact,
  transfer,
  finish: name => open.get(name).commit().then(() => []),
  ends: async (stream, partition) => {
    const all = await admin.fetchTopicOffsets(stream)
    const { low, high } = all.find(it => it.partition === Number(partition))
    return [low, high]
  },
  time: async (stream, partition, time) => {
    // It gives the end where there is nothing.
    const [found, all] = [await admin.fetchTopicOffsetsByTimestamp(stream, Number(time)), await admin.fetchTopicOffsets(stream)]
    const of = offsets => offsets.find(it => it.partition === Number(partition)).offset
    return of(found) === of(all) ? '-' : of(found)
  },
  create: (stream, partitions, ...settings) => admin.createTopics({
    topics: [{ topic: stream, numPartitions: Number(partitions), replicationFactor: 3, configEntries: settings.map(pair) }]
  }).then(() => []),
  parts: async stream => (await admin.fetchTopicMetadata({ topics: [stream] })).topics[0].partitions.length,
  grow: (stream, count) => admin.createPartitions({ topicPartitions: [{ topic: stream, count: Number(count) }] }).then(() => []),
  settings: async stream => (await admin.describeConfigs({ includeSynonyms: false, resources: [config(stream)] }))
    .resources[0].configEntries.map(it => `${it.configName}=${it.configValue}`),
  trim: async (stream, partition, offset) => {
    // It looks for the leader in metadata that only an earlier look brings.
    await admin.fetchTopicOffsets(stream)
    await admin.deleteTopicRecords({ topic: stream, partitions: [{ partition: Number(partition), offset }] })
  },
  state: async group => (await admin.describeGroups([group])).groups[0].state,
  groups: async () => (await admin.listGroups()).groups.map(it => it.groupId),
  committed: async (group, stream, partition) => (await admin.fetchOffsets({ groupId: group, topics: [stream] }))[0]
    .partitions.find(it => it.partition === Number(partition)).offset,
  ungroup: group => admin.deleteGroups([group]).then(() => []),
  delete: stream => admin.deleteTopics({ topics: [stream] }).then(() => []),
  streams: () => admin.listTopics()
}, () => admin.disconnect())
