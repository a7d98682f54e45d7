//! One client connection: a reader that begins asks, a writer that ends them in order.

use super::Door;
use super::frames::{Credit, Ended, Frames, Patience};
use super::numbers::Numbers;
use super::room::Room;
use crate::limits;
use door::kafka::{self, Ask, FetchReply, Head, KafkaError, Reply};
use futures::future::BoxFuture;
use model::group;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

/// Answers are gathered up to this before they are written.
const WRITE_BYTES: usize = 64 << 10;

/// One ask whose answer is due.
struct Due {
    head: Head,
    reply: BoxFuture<'static, Reply>,
    /// What the answer takes, until it is out.
    room: Arc<Room>,
    _credit: Credit,
}

/// Accepts clients until the listener fails for good.
pub async fn serve(listener: TcpListener, door: Door) {
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let door = door.clone();
                tokio::spawn(async move {
                    client(stream, from, door).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: others end, so it passes.
                tracing::warn!(%error, "a client could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn client(stream: TcpStream, from: SocketAddr, door: Door) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%from, %error, "the socket takes no option");
    }
    let (reader, writer) = stream.into_split();
    let (due, answers) = mpsc::channel(limits::CONNECTION_REQUESTS);
    let write = tokio::spawn(write(writer, answers));
    let mut numbers = door.spare.take();
    let why = read(reader, from, (&door, &mut numbers), due).await;
    match why.complaint() {
        Some(kind) if door.may_complain(from.ip(), kind) => {
            tracing::warn!(%from, %why, "a Kafka connection is closed");
        }
        _ => tracing::debug!(%from, %why, "a client's connection ended"),
    }
    // The writer ends when the last answer is out, or the socket is gone.
    if write.await.is_err() {
        tracing::debug!(%from, "the writer of a connection was stopped");
    }
    // What is under way no more has its answer, or has broken them.
    door.spare.put_back(numbers);
}

/// Begins what the client asks, request by request, until none can follow.
async fn read(
    reader: OwnedReadHalf,
    from: SocketAddr,
    (door, numbers): (&Door, &mut Numbers),
    due: mpsc::Sender<Due>,
) -> Ended {
    let meter = door.board().meter.clone();
    let mut frames = Frames::new(reader, door.credits.clone(), Patience::default(), meter);
    loop {
        let (frame, credit) = match frames.next().await {
            Ok(next) => next,
            Err(ended) => return ended,
        };
        let request = match kafka::decode(frame) {
            Ok(request) => request,
            Err(reject) => return reject.into(),
        };
        let mut ask = request.ask;
        match &mut ask {
            Ask::Group { ask: group::Ask::Join(join), .. } => join.host = format!("/{}", from.ip()),
            Ask::Group { ask: group::Ask::Hold(beat), .. } => beat.host = format!("/{}", from.ip()),
            _ => {}
        }
        let room = Arc::new(door.room());
        let reply = door.begin(ask, numbers, &room);
        let answer = Due { head: request.head, reply, room, _credit: credit };
        if due.send(answer).await.is_err() {
            return Ended::Gone;
        }
    }
}

async fn write(writer: OwnedWriteHalf, mut answers: mpsc::Receiver<Due>) {
    let mut writer = BufWriter::with_capacity(WRITE_BYTES, writer);
    while let Some(Due { head, reply, room: _room, _credit }) = answers.recv().await {
        let written = match kafka::encode(&head, reply.await) {
            Some(bytes) => write_steadily(&mut writer, &bytes).await,
            None => Ok(()),
        };
        let flushed = match answers.is_empty() {
            true => in_time(writer.flush()).await,
            false => Ok(()),
        };
        if let Err(error) = written.and(flushed) {
            tracing::debug!(%error, "a client takes no answers");
            return;
        }
    }
}

/// Writes an answer piece by piece: a client that takes none of it for [`limits::ANSWER_STALL`] holds its place no
/// longer.
async fn write_steadily(
    writer: &mut BufWriter<OwnedWriteHalf>,
    bytes: &[u8],
) -> std::io::Result<()> {
    for piece in bytes.chunks(WRITE_BYTES) {
        in_time(writer.write_all(piece)).await?;
    }
    Ok(())
}

async fn in_time(write: impl Future<Output = std::io::Result<()>>) -> std::io::Result<()> {
    match tokio::time::timeout(limits::ANSWER_STALL, write).await {
        Ok(written) => written,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

impl Door {
    /// Begins one ask: what goes into a log is on its way when this returns, in the order of calls.
    fn begin(
        &self,
        ask: Ask,
        numbers: &mut Numbers,
        room: &Arc<Room>,
    ) -> BoxFuture<'static, Reply> {
        if self.board().stopping() {
            let reply = ask.refuse(KafkaError::NotLeader);
            return Box::pin(async { reply });
        }
        let (door, room) = (self.clone(), room.clone());
        match ask {
            Ask::Versions => Box::pin(async { Reply::Versions }),
            Ask::Answered(reply) => Box::pin(async { reply }),
            Ask::Produce(ask) => Box::pin(self.produce(ask, numbers)),
            Ask::Metadata(ask) => Box::pin(async move { door.metadata(ask, &room).await }),
            Ask::InitProducer(ask) => Box::pin(async move { door.init_producer(ask).await }),
            Ask::Fetch(ask) => Box::pin(async move {
                let parts = door.fetch_any(ask, &room).await;
                Reply::Fetch(FetchReply { error: None, parts })
            }),
            Ask::ListOffsets(ask) => {
                Box::pin(async move { Reply::ListOffsets(door.list_offsets_any(ask).await) })
            }
            Ask::CreateStreams(ask) => Box::pin(async move { door.create_streams(ask).await }),
            Ask::FindCoordinator(ask) => Box::pin(async move { door.find_coordinator(ask).await }),
            Ask::Group { group, ask } => {
                Box::pin(async move { Reply::Group(door.ask_group(group, ask).await) })
            }
            Ask::CommitOffsets(ask) => Box::pin(async move { door.commit_offsets(ask).await }),
            Ask::CommittedOffsets(ask) => {
                Box::pin(async move { door.committed_offsets(ask).await })
            }
            Ask::DescribeGroups(ask) => Box::pin(async move { door.describe_groups(ask).await }),
            Ask::DescribeDeals(ask) => Box::pin(async move { door.describe_deals(ask).await }),
            Ask::ListGroups(ask) => {
                Box::pin(async move { Reply::ListGroups(door.list_groups_any(ask).await) })
            }
            Ask::DeleteStreams(ask) => Box::pin(async move { door.delete_streams(ask).await }),
            Ask::GrowStreams(ask) => Box::pin(async move { door.grow_streams(ask).await }),
            Ask::TrimStreams(ask) => {
                Box::pin(async move { Reply::TrimStreams(door.trim_any(ask).await) })
            }
            Ask::DescribeSettings(ask) => Box::pin(async move { door.describe_settings(ask) }),
            Ask::AlterSettings(ask) => Box::pin(async move { door.alter_settings(ask).await }),
            Ask::DescribeMesh(ask) => Box::pin(async move { door.describe_mesh(ask) }),
            Ask::Epochs(ask) => Box::pin(async move { Reply::Epochs(door.epochs_any(ask).await) }),
            Ask::Transact(ask) => Box::pin(async move { door.transact(ask).await }),
            Ask::DeleteGroups(ask) => Box::pin(async move { door.delete_groups(ask).await }),
        }
    }
}
