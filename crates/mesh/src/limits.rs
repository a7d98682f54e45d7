//! Every bound of this room, with its reason.

/// The largest gossip packet: it fits one frame of the gossip lane many times, and carries some 60
/// members.
pub const PACKET_BYTES_MAX: usize = 8 << 10;
/// A key's hash is 38 bytes today.
pub const KEY_BYTES_MAX: usize = 64;
/// A host name has at most 253 characters; then a colon and a port.
pub const ADDRESS_BYTES_MAX: usize = 260;
/// Addresses among which a founder is found: people write them on one line.
pub const FOUNDING_LIST_MAX: usize = 64;

/// Times and sizes of gossip. All members should use the same.
///
/// The defaults are for meshes of 2 to 100 peers on a local network, whose packets travel on a
/// connection that breaks audibly when a process dies: that is the fast path (`Input::Down`). The
/// timers find what breaks in silence, a frozen process or a split, in 3 to 5 s. Shorter ones would
/// find it no sooner than consensus does by itself (1 s), and would call a peer dead that only
/// waits for a processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How often one member is asked whether it lives; every 0.5 s is some 1.3 kB a second, in any
    /// mesh.
    pub probe_period_us: u64,
    /// How long it may take to answer before others are asked to ask it: far above a round trip,
    /// below half a period.
    pub probe_rtt_us: u64,
    /// How long a suspect may take to say that it lives: four probes, and a pause of a busy
    /// machine.
    pub suspect_us: u64,
    /// How often news is passed on, and to how many. Quiet when there is none.
    pub gossip_period_us: u64,
    pub gossip_members: u8,
    /// How often a random member is asked for all it knows: closes what lost packets left open.
    pub announce_period_us: u64,
    /// How often members that are gone, and peers that should be here, are asked whether they are.
    /// A healed split is found within a few of these.
    pub seek_period_us: u64,
    pub seek_members: u8,
    /// How often one piece of news is passed on by each member: enough for 100 with a fifth of
    /// packets lost.
    pub transmissions: u8,
    /// Members remembered, gone ones included; beyond it the longest gone is forgotten.
    pub members_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            probe_period_us: 500_000,
            probe_rtt_us: 200_000,
            suspect_us: 2_000_000,
            gossip_period_us: 200_000,
            gossip_members: 3,
            announce_period_us: 10_000_000,
            seek_period_us: 1_000_000,
            seek_members: 3,
            transmissions: 10,
            members_max: 1024,
        }
    }
}
