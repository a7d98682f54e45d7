//! The producer against two doors that lose answers, move leaders and cut connections.

use super::{Producer, Settings};
use bytes::{Buf, Bytes};
use door::kafka::{
    Ask, KafkaError, MetadataPart, MetadataPeer, MetadataReply, MetadataStream, Produce,
    ProducePart, ProducedPart, Refused, Reply, decode, encode,
};
use model::{Batch, MeshId, PeerId, StreamId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PARTITIONS: u32 = 4;

/// What goes wrong with a produce request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing is appended, the connection ends.
    Cut,
    /// All is appended, but the connection ends without an answer.
    Unanswered,
    /// The leaders change places first.
    Moved,
}

/// A mesh of two doors that decides as a shard would: by producer, epoch and sequence.
#[derive(Default)]
struct Mesh {
    ports: Vec<u16>,
    swapped: bool,
    requests: u32,
    /// By request number.
    faults: BTreeMap<u32, Fault>,
    partitions: BTreeMap<i32, Vec<(i32, Batch)>>,
}

impl Mesh {
    fn leader(&self, partition: i32) -> usize {
        (partition as usize + usize::from(self.swapped)) % 2
    }

    fn append(&mut self, partition: i32, batch: &Batch) -> Result<i64, KafkaError> {
        let log = self.partitions.entry(partition).or_default();
        let (next_sequence, next_offset) =
            log.last().map_or((0, 0), |(next, last)| (*next, last.next_offset()));
        let sequence = batch.base_sequence();
        if let Some((_, known)) = log.iter().find(|(_, known)| known.base_sequence() == sequence) {
            return Ok(known.base_offset());
        }
        if sequence != next_sequence {
            return Err(KafkaError::OutOfOrderSequence);
        }
        log.push((sequence + batch.count(), batch.placed(next_offset, 1)));
        Ok(next_offset)
    }

    /// None: the connection ends here.
    fn produce(&mut self, door: usize, ask: Produce) -> Option<Reply> {
        self.requests += 1;
        let fault = self.faults.get(&self.requests).copied();
        if fault == Some(Fault::Cut) {
            return None;
        }
        self.swapped ^= fault == Some(Fault::Moved);
        let mut produced = Vec::new();
        for part in ask.parts {
            let batches = part.batches.expect("our batches are sound");
            let result = if self.leader(part.partition) == door {
                self.append(part.partition, &batches[0])
            } else {
                Err(KafkaError::NotLeader)
            };
            let result = result.map_err(|error| Refused::new(error, "as the test wants it"));
            let ProducePart { stream, partition, .. } = part;
            produced.push(ProducedPart { stream, partition, start_offset: 0, result });
        }
        (fault != Some(Fault::Unanswered)).then_some(Reply::Produce(produced))
    }

    fn layout(&self) -> Reply {
        let id = |door: usize| PeerId(door as i32 + 1);
        let peers = self.ports.iter().enumerate().map(|(door, port)| MetadataPeer {
            id: id(door),
            host: "127.0.0.1".to_owned(),
            port: *port,
            zone: None,
        });
        let parts = (0..PARTITIONS as i32).map(|partition| MetadataPart {
            partition,
            leader: Some(id(self.leader(partition))),
            epoch: -1,
            replicas: Vec::new(),
            in_sync: Vec::new(),
            offline: Vec::new(),
        });
        let name = Some("s".to_owned());
        let stream = MetadataStream { error: None, name, id: StreamId(1), parts: parts.collect() };
        let (peers, streams) = (peers.collect(), vec![stream]);
        Reply::Metadata(MetadataReply { mesh: MeshId(1), controller: id(0), peers, streams })
    }
}

async fn serve(mesh: Arc<Mutex<Mesh>>, door: usize, mut socket: TcpStream) {
    while let Ok(size) = socket.read_u32().await {
        let mut frame = vec![0; size as usize];
        socket.read_exact(&mut frame).await.expect("a whole frame");
        let request = decode(Bytes::from(frame)).expect("a request");
        let reply = {
            let mut mesh = mesh.lock().expect("no other panic");
            match request.ask {
                Ask::Versions => Some(Reply::Versions),
                Ask::Metadata(_) => Some(mesh.layout()),
                Ask::InitProducer(_) => Some(Reply::InitProducer(Ok((7, 0)))),
                Ask::Produce(ask) => mesh.produce(door, ask),
                other => panic!("{other:?} was not expected"),
            }
        };
        let Some(reply) = reply else { return };
        let frame = encode(&request.head, reply).expect("an answer is wanted");
        if socket.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn start(faults: &[(u32, Fault)]) -> Arc<Mutex<Mesh>> {
    let mesh =
        Arc::new(Mutex::new(Mesh { faults: faults.iter().copied().collect(), ..Mesh::default() }));
    for door in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        mesh.lock().expect("no other panic").ports.push(port);
        let shared = mesh.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(shared.clone(), door, socket));
            }
        });
    }
    mesh
}

/// Sends `events` events, a few at a time, and returns the mesh and the tags in the order of acknowledgement.
async fn send(events: u64, faults: &[(u32, Fault)]) -> (Arc<Mutex<Mesh>>, Vec<Vec<(i64, u64)>>) {
    let mesh = start(faults).await;
    let bootstrap = vec![format!("127.0.0.1:{}", mesh.lock().expect("no other panic").ports[0])];
    let settings = Settings { bootstrap, stream: "s".to_owned(), batch_events_max: 3 };
    let mut producer = Producer::connect(settings).await.expect("connects");
    assert_eq!(producer.partitions(), PARTITIONS);
    let mut acks = vec![Vec::new(); PARTITIONS as usize];
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(1));
    let mut pushed = 0;
    while pushed < events || producer.outstanding() > 0 {
        tokio::select! {
            _ = tick.tick() => {
                for _ in 0..10.min(events - pushed) {
                    let partition = (pushed % u64::from(PARTITIONS)) as u32;
                    producer.push(partition, 1_000, b"k", &pushed.to_be_bytes(), pushed);
                    pushed += 1;
                }
            }
            news = producer.news() => news.expect("nothing is fatal"),
        }
        producer.flush().expect("patience lasts");
        for ack in producer.take_acks() {
            let offsets = ack.base_offset..;
            acks[ack.partition as usize].extend(offsets.zip(ack.tags));
        }
    }
    (mesh, acks)
}

/// Every event is there once, in order, at the offset that was acknowledged.
fn check(events: u64, mesh: &Mesh, acks: &[Vec<(i64, u64)>]) {
    let mut found = 0;
    for (partition, log) in &mesh.partitions {
        let records = log.iter().flat_map(|(_, batch)| batch.records(1 << 20).expect("plain"));
        let values: Vec<(i64, u64)> = records
            .map(|record| {
                let record = record.expect("well-formed");
                (record.offset, record.value.expect("a value").get_u64())
            })
            .collect();
        let expected = (*partition as u64..events).step_by(PARTITIONS as usize);
        assert_eq!(values, (0..).zip(expected).collect::<Vec<_>>(), "partition {partition}");
        assert_eq!(values, acks[*partition as usize], "partition {partition}");
        found += values.len() as u64;
    }
    assert_eq!(found, events);
}

#[tokio::test]
async fn events_arrive_once_and_in_order() {
    let (mesh, acks) = send(1_000, &[]).await;
    check(1_000, &mesh.lock().expect("no other panic"), &acks);
}

#[tokio::test]
async fn lost_answers_cut_connections_and_moved_leaders_neither_lose_nor_double_events() {
    let faults = [
        (3, Fault::Unanswered),
        (9, Fault::Moved),
        (15, Fault::Cut),
        (16, Fault::Moved),
        (24, Fault::Unanswered),
        (25, Fault::Moved),
        (40, Fault::Cut),
    ];
    let (mesh, acks) = send(2_000, &faults).await;
    let mesh = mesh.lock().expect("no other panic");
    assert!(mesh.requests > 40, "every fault was met");
    check(2_000, &mesh, &acks);
}
