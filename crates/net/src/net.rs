//! The network's handle: what a peer asks of it.
//!
//! Promises that no call here blocks on a peer. Never polls a socket itself.

use crate::{
    address,
    drive::{Command, Drive, State},
    error::{DialError, Error, SendError},
    event::Events,
    key::{PeerKey, keypair},
    lane::{Group, Lane},
    limits, listen,
    shared::Shared,
    swarm::{self, Behaviour},
};
use bytes::Bytes;
use futures::StreamExt;
use libp2p::{PeerId, Swarm, swarm::SwarmEvent};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What a network is started with.
#[derive(Clone)]
pub struct Config {
    /// The secret of this peer's key, kept in its folder.
    pub key_seed: [u8; 32],
    /// The mesh's secret, with whatever else two peers must agree on.
    pub secret: Vec<u8>,
    pub mesh_listen: SocketAddr,
    pub consensus_listen: SocketAddr,
}

/// A running network. Clones are the same network, which ends when the last is dropped.
#[derive(Clone)]
pub struct Net(Arc<Inner>);

struct Inner {
    key: PeerKey,
    listening: (SocketAddr, SocketAddr),
    shared: Arc<Shared>,
    main: mpsc::UnboundedSender<Command>,
    consensus: mpsc::UnboundedSender<Command>,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
    ended: CancellationToken,
    drives: Mutex<Vec<JoinHandle<()>>>,
}

impl Net {
    /// Opens both listeners and starts the tasks that poll them. Call it inside a tokio runtime.
    pub async fn start(config: Config) -> Result<(Self, Events), Error> {
        let keys = keypair(config.key_seed);
        let mut main = swarm::build(Group::Main, &keys, &config.secret)?;
        let mut consensus = swarm::build(Group::Consensus, &keys, &config.secret)?;
        let listening = (
            open(&mut main, config.mesh_listen).await?,
            open(&mut consensus, config.consensus_listen).await?,
        );
        let (events, receiver) = Events::channel();
        let shared = Arc::new(Shared::new(events));
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let key = PeerKey::of(main.local_peer_id());
        let (main_sender, main_commands) = mpsc::unbounded_channel();
        let (consensus_sender, consensus_commands) = mpsc::unbounded_channel();
        let start = |group, swarm, sender: &_, other: &_, commands| {
            let drive = Drive {
                group,
                swarm,
                commands,
                sender: mpsc::UnboundedSender::clone(sender),
                other: mpsc::UnboundedSender::clone(other),
                shared: shared.clone(),
                stop: stop.clone(),
                state: State::new(luck(&key)),
            };
            let ended = ended.clone().drop_guard();
            tokio::spawn(async move {
                // However it ends: a panic drops it too.
                let _ended = ended;
                drive.run().await;
            })
        };
        let drives = Mutex::new(vec![
            start(Group::Main, main, &main_sender, &consensus_sender, main_commands),
            start(Group::Consensus, consensus, &consensus_sender, &main_sender, consensus_commands),
        ]);
        let inner = Inner {
            key,
            listening,
            shared,
            main: main_sender,
            consensus: consensus_sender,
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
            ended,
            drives,
        };
        Ok((Self(Arc::new(inner)), receiver))
    }

    /// This peer's own key.
    pub fn local_key(&self) -> &PeerKey {
        &self.0.key
    }

    /// The addresses in use, (mesh, consensus): real ports where 0 was asked for.
    pub fn listening(&self) -> (SocketAddr, SocketAddr) {
        self.0.listening
    }

    /// Keeps both connections to this peer up until [`Net::forget`]. Said again, it refreshes the
    /// addresses and dials at once if needed. Addresses are `host:port`; an empty one is not
    /// dialled.
    pub fn know(&self, peer: PeerKey, mesh: String, consensus: String) {
        let peer = peer.peer_id();
        self.command(Group::Main, Command::Know { peer, address: mesh });
        self.command(Group::Consensus, Command::Know { peer, address: consensus });
    }

    /// Stops dialling this peer and closes its connections.
    pub fn forget(&self, peer: &PeerKey) {
        let peer: PeerId = peer.peer_id();
        for group in Group::ALL {
            self.command(group, Command::Forget { peer });
        }
    }

    /// Makes the main connection to `host:port` and learns who is there. It stays until either side
    /// closes it; only [`Net::know`] keeps it up.
    pub async fn dial(&self, address: &str) -> Result<PeerKey, DialError> {
        let mut outcome = Err(DialError::Stopped);
        for found in address::resolve(address).await? {
            let (reply, answer) = oneshot::channel();
            let shown = address.to_owned();
            self.command(Group::Main, Command::Dial { address: found, shown, reply });
            outcome = answer.await.unwrap_or(Err(DialError::Stopped));
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Queues a frame. Never waits: a full queue or a missing connection is an error at once.
    pub fn send(&self, peer: &PeerKey, lane: Lane, bytes: Bytes) -> Result<(), SendError> {
        self.0.shared.send(peer, lane, bytes)
    }

    /// Returns when one of its tasks has ended, over a stop or over a defect: then it carries nothing any more.
    pub async fn ended(&self) {
        self.0.ended.cancelled().await;
    }

    /// Closes everything and ends all tasks. What waits in queues is dropped.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        let drives =
            std::mem::take(&mut *self.0.drives.lock().unwrap_or_else(PoisonError::into_inner));
        for drive in drives {
            if let Err(error) = drive.await {
                tracing::error!(%error, "a drive ended badly");
            }
        }
    }

    fn command(&self, group: Group, command: Command) {
        let sender = match group {
            Group::Main => &self.0.main,
            Group::Consensus => &self.0.consensus,
        };
        // after a stop there is nothing to command
        drop(sender.send(command));
    }
}

/// Starts listening; answers the address with its real port.
async fn open(swarm: &mut Swarm<Behaviour>, address: SocketAddr) -> Result<SocketAddr, Error> {
    // the transport shares a taken port with its holder instead of failing, so the port is tried
    // first
    listen::is_free(address)?;
    let failed = |because: String| Error::Listen { address, because };
    let wanted = address::multiaddr(address);
    swarm.listen_on(wanted).map_err(|e| failed(e.to_string()))?;
    let opened = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address, .. } => return Ok(address),
                SwarmEvent::ListenerClosed { reason, .. } => {
                    return Err(failed(format!("the listener closed: {reason:?}")));
                }
                _ => {}
            }
        }
    };
    let found = tokio::time::timeout(limits::DIAL_TIMEOUT, opened)
        .await
        .map_err(|_| failed("the system did not open it in time".to_owned()))??;
    let port = address::socket_addr(&found).map_or(address.port(), |found| found.port());
    Ok(SocketAddr::new(address.ip(), port))
}

/// A number that differs from peer to peer.
fn luck(key: &PeerKey) -> u64 {
    let mixed = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    key.bytes().iter().fold(0xcbf2_9ce4_8422_2325, mixed)
}
