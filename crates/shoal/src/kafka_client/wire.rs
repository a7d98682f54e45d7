//! The few words of the Kafka protocol that a producer says, written by hand in versions that every server has.
//!
//! Promises that no length in an answer is believed before it is checked; never copies an event's bytes twice.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::BTreeMap;
use thiserror::Error;

const PRODUCE: (i16, i16) = (0, 8);
const METADATA: (i16, i16) = (3, 4);
const VERSIONS: (i16, i16) = (18, 0);
const INIT_PRODUCER: (i16, i16) = (22, 1);
/// How we name ourselves to the peer.
const CLIENT_ID: &str = "shoal";
/// Array elements that an answer may have; more is nonsense for one stream.
const ITEMS_MAX: i32 = 1 << 20;

/// An answer that cannot be read, or one in which the peer says no.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("the answer ends too early")]
    Short,
    #[error("the answer holds a length of {0}")]
    Length(i32),
    #[error("the answer holds text that is not UTF-8")]
    Text,
    #[error("the peer answers with Kafka error {0}")]
    Refused(i16),
    #[error("the peer does not speak version {version} of Kafka API {api}")]
    Version { api: i16, version: i16 },
}

/// Where a stream's partitions are led.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// `host:port` of each peer's Kafka door.
    pub peers: BTreeMap<i32, String>,
    /// The leading peer of each partition; none while nobody leads it.
    pub leaders: Vec<Option<i32>>,
    /// What the peer says of the stream; 0 is well.
    pub error: i16,
}

/// The id under which batches are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerId {
    pub id: i64,
    pub epoch: i16,
}

/// What became of one partition's batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub partition: u32,
    pub error: i16,
    pub base_offset: i64,
    pub message: Option<String>,
}

/// A request without its length: header first, then `body` adds the rest.
fn request((api, version): (i16, i16), correlation: i32, size_hint: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(size_hint + 64);
    out.put_i32(0);
    out.put_i16(api);
    out.put_i16(version);
    out.put_i32(correlation);
    put_text(&mut out, CLIENT_ID);
    out
}

fn sealed(mut out: BytesMut) -> Bytes {
    let size = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&size.to_be_bytes());
    out.freeze()
}

/// Asks which APIs the peer has.
pub fn versions(correlation: i32) -> Bytes {
    sealed(request(VERSIONS, correlation, 0))
}

/// Asks where `stream` is led; an unknown one is made.
pub fn metadata(correlation: i32, stream: &str) -> Bytes {
    let mut out = request(METADATA, correlation, stream.len());
    out.put_i32(1);
    put_text(&mut out, stream);
    out.put_u8(1);
    sealed(out)
}

/// Asks for a producer id.
pub fn init_producer(correlation: i32) -> Bytes {
    let mut out = request(INIT_PRODUCER, correlation, 8);
    out.put_i16(-1);
    out.put_i32(60_000);
    sealed(out)
}

/// Appends one batch to each of the given partitions, acknowledged by a majority.
pub fn produce(correlation: i32, stream: &str, timeout_ms: i32, parts: &[(u32, Bytes)]) -> Bytes {
    let bytes: usize = parts.iter().map(|(_, batch)| batch.len() + 8).sum();
    let mut out = request(PRODUCE, correlation, stream.len() + 32 + bytes);
    out.put_i16(-1);
    out.put_i16(-1);
    out.put_i32(timeout_ms);
    out.put_i32(1);
    put_text(&mut out, stream);
    out.put_i32(parts.len() as i32);
    for (partition, batch) in parts {
        out.put_i32(*partition as i32);
        out.put_i32(batch.len() as i32);
        out.extend_from_slice(batch);
    }
    sealed(out)
}

/// The number of the request that `frame` answers; `frame` is left at the body.
pub fn correlation(frame: &mut Bytes) -> Result<i32, Error> {
    frame.try_get_i32().map_err(|_| Error::Short)
}

/// Fails unless the peer speaks every version that this file writes.
pub fn check_versions(frame: &mut Bytes) -> Result<(), Error> {
    refused(get_i16(frame)?)?;
    let mut spoken = BTreeMap::new();
    for _ in 0..get_count(frame)? {
        spoken.insert(get_i16(frame)?, (get_i16(frame)?, get_i16(frame)?));
    }
    for (api, version) in [PRODUCE, METADATA, INIT_PRODUCER] {
        if !spoken.get(&api).is_some_and(|(least, most)| (*least..=*most).contains(&version)) {
            return Err(Error::Version { api, version });
        }
    }
    Ok(())
}

/// Reads the answer to [`metadata`] for one stream.
pub fn layout(frame: &mut Bytes) -> Result<Layout, Error> {
    let mut layout = Layout::default();
    get_i32(frame)?;
    for _ in 0..get_count(frame)? {
        let (id, host, port) = (get_i32(frame)?, get_text(frame)?, get_i32(frame)?);
        get_text(frame)?;
        layout.peers.insert(id, format!("{}:{port}", host.unwrap_or_default()));
    }
    get_text(frame)?;
    get_i32(frame)?;
    for _ in 0..get_count(frame)? {
        layout.error = get_i16(frame)?;
        get_text(frame)?;
        get_u8(frame)?;
        for _ in 0..get_count(frame)? {
            get_i16(frame)?;
            let (partition, leader) = (get_i32(frame)?, get_i32(frame)?);
            skip_ids(frame)?;
            skip_ids(frame)?;
            let partition = usize::try_from(partition).map_err(|_| Error::Length(partition))?;
            if partition > ITEMS_MAX as usize {
                return Err(Error::Length(partition as i32));
            }
            if layout.leaders.len() <= partition {
                layout.leaders.resize(partition + 1, None);
            }
            layout.leaders[partition] = (leader >= 0).then_some(leader);
        }
    }
    Ok(layout)
}

/// Reads the answer to [`init_producer`].
pub fn producer_id(frame: &mut Bytes) -> Result<ProducerId, Error> {
    get_i32(frame)?;
    refused(get_i16(frame)?)?;
    Ok(ProducerId { id: get_i64(frame)?, epoch: get_i16(frame)? })
}

/// Reads the answer to [`produce`]: one outcome for each partition of the request.
pub fn outcomes(frame: &mut Bytes) -> Result<Vec<Outcome>, Error> {
    let mut outcomes = Vec::new();
    for _ in 0..get_count(frame)? {
        get_text(frame)?;
        for _ in 0..get_count(frame)? {
            let partition = get_i32(frame)?;
            let partition = u32::try_from(partition).map_err(|_| Error::Length(partition))?;
            let (error, base_offset) = (get_i16(frame)?, get_i64(frame)?);
            get_i64(frame)?;
            get_i64(frame)?;
            for _ in 0..get_count(frame)? {
                get_i32(frame)?;
                get_text(frame)?;
            }
            let message = get_text(frame)?;
            outcomes.push(Outcome { partition, error, base_offset, message });
        }
    }
    Ok(outcomes)
}

fn refused(error: i16) -> Result<(), Error> {
    if error == 0 { Ok(()) } else { Err(Error::Refused(error)) }
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_i16(text.len() as i16);
    out.extend_from_slice(text.as_bytes());
}

fn get_u8(frame: &mut Bytes) -> Result<u8, Error> {
    frame.try_get_u8().map_err(|_| Error::Short)
}
fn get_i16(frame: &mut Bytes) -> Result<i16, Error> {
    frame.try_get_i16().map_err(|_| Error::Short)
}
fn get_i32(frame: &mut Bytes) -> Result<i32, Error> {
    frame.try_get_i32().map_err(|_| Error::Short)
}
fn get_i64(frame: &mut Bytes) -> Result<i64, Error> {
    frame.try_get_i64().map_err(|_| Error::Short)
}

/// A count of array elements; null counts as none.
fn get_count(frame: &mut Bytes) -> Result<i32, Error> {
    match get_i32(frame)? {
        -1 => Ok(0),
        count if (0..=ITEMS_MAX).contains(&count) => Ok(count),
        other => Err(Error::Length(other)),
    }
}

fn get_text(frame: &mut Bytes) -> Result<Option<String>, Error> {
    let size = get_i16(frame)?;
    let Ok(size) = usize::try_from(size) else { return Ok(None) };
    if frame.len() < size {
        return Err(Error::Short);
    }
    let text = frame.split_to(size);
    String::from_utf8(text.into()).map(Some).map_err(|_| Error::Text)
}

fn skip_ids(frame: &mut Bytes) -> Result<(), Error> {
    for _ in 0..get_count(frame)? {
        get_i32(frame)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use door::kafka::{
        Ask, KafkaError, MetadataPart, MetadataPeer, MetadataReply, MetadataStream, ProducedPart,
        Refused, Reply, Request, Wanted, decode, encode,
    };
    use model::{Batch, BatchBuilder, MeshId, PeerId, StreamId};

    /// What the door makes of a request of ours.
    fn read(mut frame: Bytes) -> Request {
        assert_eq!(frame.get_i32() as usize, frame.len());
        let request = decode(frame).expect("the door reads it");
        assert_eq!(
            (request.head.correlation, request.head.client_id.as_deref()),
            (7, Some("shoal"))
        );
        request
    }

    /// What the door answers to a request of ours, after its length and number.
    fn answer(frame: Bytes, reply: Reply) -> Bytes {
        let mut bytes = encode(&read(frame).head, reply).expect("an answer is wanted");
        assert_eq!(bytes.get_i32() as usize, bytes.len());
        assert_eq!(correlation(&mut bytes), Ok(7));
        bytes
    }

    fn batch() -> Batch {
        let mut builder = BatchBuilder::new().producer(5, 0, 40);
        builder.push(1_000, Some(b"k"), Some(b"v"), &[]);
        builder.build().expect("one event")
    }

    #[test]
    fn the_door_reads_what_is_asked_about_a_stream() {
        let Ask::Metadata(asked) = read(metadata(7, "flights")).ask else { panic!("not metadata") };
        assert!(asked.create);
        assert_eq!(asked.streams, Some(vec![Wanted::Name("flights".to_owned())]));
        assert!(matches!(read(init_producer(7)).ask, Ask::InitProducer(_)));
        assert!(matches!(read(versions(7)).ask, Ask::Versions));
    }

    #[test]
    fn a_produce_request_carries_each_batch_unchanged() {
        let parts = [(3, batch().bytes().clone()), (9, batch().bytes().clone())];
        let Ask::Produce(asked) = read(produce(7, "flights", 900, &parts)).ask else {
            panic!("not produce")
        };
        assert_eq!((asked.acks, asked.timeout_ms), (-1, 900));
        for (part, partition) in asked.parts.iter().zip([3, 9]) {
            assert_eq!((&*part.stream, part.partition), ("flights", partition));
            assert_eq!(part.batches, Ok(vec![batch()]));
        }
    }

    #[test]
    fn the_doors_outcomes_are_read() {
        let part = |partition, result| ProducedPart {
            stream: "flights".into(),
            partition,
            start_offset: 0,
            result,
        };
        let reply = Reply::Produce(vec![
            part(3, Ok(40)),
            part(9, Err(Refused::new(KafkaError::NotLeader, "moved"))),
        ]);
        let read = outcomes(&mut answer(produce(7, "flights", 900, &[]), reply)).expect("read");
        let expected = [(3, 0, 40, None), (9, 6, -1, Some("moved".to_owned()))];
        let expected = expected.map(|(partition, error, base_offset, message)| Outcome {
            partition,
            error,
            base_offset,
            message,
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn a_layout_names_leaders_and_where_they_listen() {
        let peer = PeerId(2);
        let part = |partition, leader| MetadataPart {
            partition,
            leader,
            epoch: 3,
            replicas: vec![peer],
            in_sync: vec![peer],
            offline: Vec::new(),
        };
        let stream = MetadataStream {
            error: None,
            name: Some("flights".to_owned()),
            id: StreamId(9),
            parts: vec![part(0, Some(peer)), part(1, None)],
        };
        let listens = MetadataPeer { id: peer, host: "127.0.0.1".into(), port: 9102, zone: None };
        let reply = MetadataReply {
            mesh: MeshId(1),
            controller: peer,
            peers: vec![listens],
            streams: vec![stream],
        };
        let mut bytes = answer(metadata(7, "flights"), Reply::Metadata(reply));
        let read = layout(&mut bytes).expect("a layout");
        assert!(bytes.is_empty());
        assert_eq!((read.error, read.leaders), (0, vec![Some(2), None]));
        assert_eq!(read.peers.get(&2).map(String::as_str), Some("127.0.0.1:9102"));
    }

    #[test]
    fn the_door_speaks_our_versions_and_gives_producer_ids() {
        assert_eq!(check_versions(&mut answer(versions(7), Reply::Versions)), Ok(()));
        let mut given = answer(init_producer(7), Reply::InitProducer(Ok((77, 0))));
        assert_eq!(producer_id(&mut given), Ok(ProducerId { id: 77, epoch: 0 }));
        let refused = Reply::InitProducer(Err(KafkaError::CoordinatorNotAvailable));
        assert_eq!(producer_id(&mut answer(init_producer(7), refused)), Err(Error::Refused(15)));
    }

    #[test]
    fn a_peer_without_our_versions_is_refused_by_name() {
        let mut frame = BytesMut::new();
        frame.put_i16(0);
        frame.put_i32(1);
        [0, 3, 7].into_iter().for_each(|number| frame.put_i16(number));
        let found = check_versions(&mut frame.freeze());
        assert_eq!(found, Err(Error::Version { api: 0, version: 8 }));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let mut frame = BytesMut::new();
        frame.put_i32(i32::MAX);
        assert_eq!(outcomes(&mut frame.clone().freeze()), Err(Error::Length(i32::MAX)));
        frame.clear();
        frame.put_i32(1);
        frame.put_i16(400);
        assert_eq!(outcomes(&mut frame.freeze()), Err(Error::Short));
    }
}
