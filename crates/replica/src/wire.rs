//! What replicas of a shard say to each other, as bytes: an own layout, checked before anything is allocated.
//!
//! Layout, little-endian: version u8, kind u8, flags u8, from u64, to u64, the sender's wall clock u64 (ms), body.
//! Promises that no field, count or order that consensus would stumble over passes. Kinds that are local to a
//! replica (proposals, ticks, reports) have no bytes.

#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::log::payload;
use bytes::Bytes;
use model::ReplicaId;
use raft::eraftpb::{ConfState, Entry, EntryType, Message, MessageType, Snapshot};

/// The version that is written and read.
pub const VERSION: u8 = 1;
/// The receiver of a knock: whichever replica of the shard the peer has.
pub const ANY: ReplicaId = ReplicaId(0);
/// Kind, term and length of an entry.
const ENTRY_BYTES: usize = 13;
/// Ids of one list of a snapshot's configuration.
const IDS_MAX: usize = 64;
/// A read barrier's number, or the word that marks a transfer.
const CONTEXT_BYTES_MAX: usize = 32;

const FLAG_REJECT: u8 = 1;
const FLAG_FRESH: u8 = 2;
const FLAG_STRAINED: u8 = 4;

const KIND_GONE: u8 = 32;
const KIND_KNOCK: u8 = 33;
const KIND_FETCHING: u8 = 34;

/// The message types that travel, and their kinds.
const KINDS: [(MessageType, u8); 10] = [
    (MessageType::MsgAppend, 1),
    (MessageType::MsgAppendResponse, 2),
    (MessageType::MsgRequestVote, 3),
    (MessageType::MsgRequestVoteResponse, 4),
    (MessageType::MsgRequestPreVote, 5),
    (MessageType::MsgRequestPreVoteResponse, 6),
    (MessageType::MsgHeartbeat, 7),
    (MessageType::MsgHeartbeatResponse, 8),
    (MessageType::MsgSnapshot, 9),
    (MessageType::MsgTimeoutNow, 10),
];

/// One message between two replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    pub from: ReplicaId,
    pub to: ReplicaId,
    /// The receiver is a learner that has not acknowledged anything to this leader: it may be created.
    pub fresh: bool,
    /// The sender's peer is strained: it should not lead.
    pub strained: bool,
    /// The sender's clock: shard time trusts a leader's only while others agree.
    pub wall_ms: u64,
    pub body: Body,
}

/// What a packet says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Consensus(Box<Message>),
    /// The receiver is no member any more; said by who has applied its removal.
    Gone,
    /// The sender has not heard of a leader for long: is it still a member?
    Knock,
    /// The sender is fetching the snapshot at this index.
    Fetching {
        index: u64,
    },
}

/// True if a peer that has no replica of this shard may make the one that `message` is for, with
/// [`crate::Replica::joining`]. False for a replica that has acknowledged something before: who lost that must
/// come back under a new id.
pub fn may_create(message: &[u8]) -> bool {
    let leads = [MessageType::MsgAppend, MessageType::MsgHeartbeat, MessageType::MsgSnapshot];
    match message {
        [VERSION, kind, flags, ..] => {
            flags & FLAG_FRESH != 0
                && KINDS.iter().any(|(known, byte)| byte == kind && leads.contains(known))
        }
        _ => false,
    }
}

/// Encodes a packet. Panics on a message type that never leaves a replica.
pub fn encode(packet: &Packet) -> Bytes {
    let mut out = Vec::with_capacity(96 + size_hint(&packet.body));
    let (kind, reject) = match &packet.body {
        Body::Consensus(message) => (kind_of(message.get_msg_type()), message.reject),
        Body::Gone => (KIND_GONE, false),
        Body::Knock => (KIND_KNOCK, false),
        Body::Fetching { .. } => (KIND_FETCHING, false),
    };
    let flags =
        [(reject, FLAG_REJECT), (packet.fresh, FLAG_FRESH), (packet.strained, FLAG_STRAINED)];
    let flags = flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag);
    out.extend_from_slice(&[VERSION, kind, flags]);
    put(&mut out, &[packet.from.0, packet.to.0, packet.wall_ms]);
    match &packet.body {
        Body::Consensus(message) => put_message(&mut out, message),
        Body::Fetching { index } => put(&mut out, &[*index]),
        Body::Gone | Body::Knock => {}
    }
    out.into()
}

/// Decodes a packet; anything that consensus could stumble over is refused.
pub fn decode(bytes: &Bytes) -> Result<Packet, Error> {
    let mut reader = Reader { bytes, at: 0 };
    let [version, kind, flags] = reader.array()?;
    if version != VERSION {
        return Err(Error::Message("unknown version"));
    }
    let (from, to, wall_ms) = (reader.u64()?, reader.u64()?, reader.u64()?);
    if from == 0 || (to == ANY.0 && kind != KIND_KNOCK) {
        return Err(Error::Message("replica 0"));
    }
    let body = match kind {
        KIND_GONE => Body::Gone,
        KIND_KNOCK => Body::Knock,
        KIND_FETCHING => Body::Fetching { index: reader.u64()? },
        kind => {
            let mut message = Box::new(Message { from, to, ..Message::default() });
            let known = KINDS.iter().find(|(_, byte)| *byte == kind);
            message.set_msg_type(known.ok_or(Error::Message("unknown kind"))?.0);
            message.reject = flags & FLAG_REJECT != 0;
            reader.message(&mut message)?;
            Body::Consensus(message)
        }
    };
    if reader.at != bytes.len() {
        return Err(Error::Message("bytes after the end"));
    }
    let fresh = flags & FLAG_FRESH != 0;
    let strained = flags & FLAG_STRAINED != 0;
    let (from, to) = (ReplicaId(from), ReplicaId(to));
    Ok(Packet { from, to, fresh, strained, wall_ms, body })
}

fn kind_of(kind: MessageType) -> u8 {
    let known = KINDS.iter().find(|(known, _)| *known == kind);
    known.map(|(_, byte)| *byte).expect("proposals and reports are never handed to the wire")
}

fn size_hint(body: &Body) -> usize {
    match body {
        Body::Consensus(message) => {
            let entries: usize =
                message.entries.iter().map(|e| ENTRY_BYTES + payload(e).len()).sum();
            64 + entries + message.get_snapshot().data.len()
        }
        _ => 8,
    }
}

fn put(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_message(out: &mut Vec<u8>, m: &Message) {
    put(out, &[m.term, m.log_term, m.index, m.commit, m.commit_term, m.reject_hint]);
    put_bytes(out, &m.context);
    match m.get_msg_type() {
        MessageType::MsgAppend => {
            out.extend_from_slice(&(m.entries.len() as u32).to_le_bytes());
            for entry in m.entries.iter() {
                out.push(u8::from(entry.get_entry_type() != EntryType::EntryNormal));
                put(out, &[entry.term]);
                put_bytes(out, payload(entry));
            }
        }
        MessageType::MsgSnapshot => {
            let snapshot = m.get_snapshot();
            let about = snapshot.get_metadata();
            put(out, &[about.index, about.term]);
            let state = about.get_conf_state();
            for ids in [&state.voters, &state.voters_outgoing, &state.learners] {
                out.push(u8::try_from(ids.len()).expect("a configuration is bounded"));
                put(out, ids);
            }
            put_bytes(out, &snapshot.data);
        }
        _ => {}
    }
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, size: usize) -> Result<&[u8], Error> {
        let end = self.at.checked_add(size).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(Error::Message("ends early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        Ok(self.take(N)?.try_into().expect("as many bytes as asked for"))
    }

    fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Copies: an entry must not keep the whole frame it came in alive.
    fn bytes(&mut self, most: usize) -> Result<Bytes, Error> {
        let size = u32::from_le_bytes(self.array()?) as usize;
        if size > most {
            return Err(Error::Message("too long"));
        }
        Ok(Bytes::copy_from_slice(self.take(size)?))
    }

    fn message(&mut self, m: &mut Message) -> Result<(), Error> {
        m.term = self.u64()?;
        m.log_term = self.u64()?;
        m.index = self.u64()?;
        m.commit = self.u64()?;
        m.commit_term = self.u64()?;
        m.reject_hint = self.u64()?;
        if m.term == 0 {
            return Err(Error::Message("term 0"));
        }
        m.context = self.bytes(CONTEXT_BYTES_MAX)?;
        match m.get_msg_type() {
            MessageType::MsgAppend => self.entries(m),
            MessageType::MsgSnapshot => self.snapshot(m),
            _ => Ok(()),
        }
    }

    fn entries(&mut self, m: &mut Message) -> Result<(), Error> {
        let count = u32::from_le_bytes(self.array()?) as usize;
        if count.saturating_mul(ENTRY_BYTES) > self.bytes.len() - self.at {
            return Err(Error::Message("more entries than bytes"));
        }
        let last = m.index.checked_add(count as u64);
        last.ok_or(Error::Message("an index beyond all"))?;
        let mut entries = Vec::with_capacity(count);
        let mut before = m.log_term;
        for index in m.index + 1..=m.index + count as u64 {
            let [kind] = self.array()?;
            let term = self.u64()?;
            if term < before || term > m.term || term == 0 {
                return Err(Error::Message("terms out of order"));
            }
            before = term;
            let mut entry = Entry { index, term, ..Entry::default() };
            let bytes = self.bytes(usize::MAX)?;
            match kind {
                0 => entry.data = bytes,
                1 => {
                    entry.set_entry_type(EntryType::EntryConfChangeV2);
                    entry.context = bytes;
                }
                _ => return Err(Error::Message("unknown entry kind")),
            }
            entries.push(entry);
        }
        m.set_entries(entries.into());
        Ok(())
    }

    fn snapshot(&mut self, m: &mut Message) -> Result<(), Error> {
        let mut snapshot = Snapshot::default();
        let about = snapshot.mut_metadata();
        about.index = self.u64()?;
        about.term = self.u64()?;
        if about.index == 0 || about.term == 0 || about.term > m.term {
            return Err(Error::Message("a snapshot of nothing"));
        }
        let mut state = ConfState::default();
        state.set_voters(self.ids()?);
        state.set_voters_outgoing(self.ids()?);
        state.set_learners(self.ids()?);
        let twice = state.learners.iter().any(|id| state.voters.contains(id));
        if state.voters.is_empty() || twice {
            return Err(Error::Message("a configuration that cannot be"));
        }
        about.set_conf_state(state);
        snapshot.data = self.bytes(usize::MAX)?;
        m.set_snapshot(snapshot);
        Ok(())
    }

    fn ids(&mut self) -> Result<Vec<u64>, Error> {
        let [count] = self.array()?;
        if usize::from(count) > IDS_MAX {
            return Err(Error::Message("too many replicas"));
        }
        let ids: Vec<u64> = (0..count).map(|_| self.u64()).collect::<Result<_, _>>()?;
        if ids.windows(2).any(|pair| pair[0] >= pair[1]) || ids.first() == Some(&0) {
            return Err(Error::Message("replica ids out of order"));
        }
        Ok(ids)
    }
}
