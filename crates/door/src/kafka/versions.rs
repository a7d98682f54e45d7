//! ApiVersions (18): what is offered. Only what is whole is listed, since clients use what is
//! listed.

use super::KafkaError;
use super::wire::Writer;

pub const PRODUCE: i16 = 0;
pub const FETCH: i16 = 1;
pub const LIST_OFFSETS: i16 = 2;
pub const METADATA: i16 = 3;
pub const COMMIT_OFFSETS: i16 = 8;
pub const COMMITTED_OFFSETS: i16 = 9;
pub const FIND_COORDINATOR: i16 = 10;
pub const JOIN_GROUP: i16 = 11;
pub const HEARTBEAT: i16 = 12;
pub const LEAVE_GROUP: i16 = 13;
pub const SYNC_GROUP: i16 = 14;
pub const DESCRIBE_GROUPS: i16 = 15;
pub const LIST_GROUPS: i16 = 16;
pub const API_VERSIONS: i16 = 18;
pub const CREATE_STREAMS: i16 = 19;
pub const DELETE_STREAMS: i16 = 20;
pub const TRIM_STREAMS: i16 = 21;
pub const INIT_PRODUCER: i16 = 22;
pub const EPOCHS: i16 = 23;
pub const ADD_PARTITIONS: i16 = 24;
pub const ADD_OFFSETS: i16 = 25;
pub const END_TRANSACTION: i16 = 26;
pub const PEND_OFFSETS: i16 = 28;
pub const DESCRIBE_SETTINGS: i16 = 32;
pub const GROW_STREAMS: i16 = 37;
pub const DELETE_GROUPS: i16 = 42;
pub const ALTER_SETTINGS: i16 = 44;
pub const DESCRIBE_MESH: i16 = 60;
pub const DEAL_BEAT: i16 = 68;
pub const DESCRIBE_DEALS: i16 = 69;

/// One API and its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub api: i16,
    pub min: i16,
    pub max: i16,
    /// From this version on strings, arrays and structures have their compact forms.
    pub flexible: i16,
}

/// All that is offered. Produce 0 to 2 are listed because librdkafka judges compression by them
/// (KAFKA-18659), and refused when used.
pub const OFFERS: &[Offer] = &[
    Offer { api: PRODUCE, min: 0, max: 9, flexible: 9 },
    Offer { api: FETCH, min: 4, max: 13, flexible: 12 },
    Offer { api: LIST_OFFSETS, min: 1, max: 7, flexible: 6 },
    Offer { api: METADATA, min: 0, max: 12, flexible: 9 },
    Offer { api: COMMIT_OFFSETS, min: 2, max: 9, flexible: 8 },
    Offer { api: COMMITTED_OFFSETS, min: 1, max: 9, flexible: 6 },
    Offer { api: FIND_COORDINATOR, min: 0, max: 4, flexible: 3 },
    Offer { api: JOIN_GROUP, min: 0, max: 9, flexible: 6 },
    Offer { api: HEARTBEAT, min: 0, max: 4, flexible: 4 },
    Offer { api: LEAVE_GROUP, min: 0, max: 5, flexible: 4 },
    Offer { api: SYNC_GROUP, min: 0, max: 5, flexible: 4 },
    Offer { api: DESCRIBE_GROUPS, min: 0, max: 5, flexible: 5 },
    Offer { api: LIST_GROUPS, min: 0, max: 5, flexible: 3 },
    Offer { api: API_VERSIONS, min: 0, max: 4, flexible: 3 },
    Offer { api: CREATE_STREAMS, min: 0, max: 7, flexible: 5 },
    Offer { api: DELETE_STREAMS, min: 0, max: 6, flexible: 4 },
    Offer { api: TRIM_STREAMS, min: 0, max: 2, flexible: 2 },
    Offer { api: INIT_PRODUCER, min: 0, max: 4, flexible: 2 },
    Offer { api: EPOCHS, min: 2, max: 4, flexible: 4 },
    Offer { api: ADD_PARTITIONS, min: 0, max: 3, flexible: 3 },
    Offer { api: ADD_OFFSETS, min: 0, max: 3, flexible: 3 },
    Offer { api: END_TRANSACTION, min: 0, max: 3, flexible: 3 },
    Offer { api: PEND_OFFSETS, min: 0, max: 3, flexible: 3 },
    Offer { api: DESCRIBE_SETTINGS, min: 1, max: 4, flexible: 4 },
    Offer { api: GROW_STREAMS, min: 0, max: 3, flexible: 2 },
    Offer { api: DELETE_GROUPS, min: 0, max: 2, flexible: 2 },
    Offer { api: ALTER_SETTINGS, min: 0, max: 1, flexible: 1 },
    Offer { api: DESCRIBE_MESH, min: 0, max: 1, flexible: 0 },
    Offer { api: DEAL_BEAT, min: 0, max: 1, flexible: 0 },
    Offer { api: DESCRIBE_DEALS, min: 0, max: 1, flexible: 0 },
];

/// The offer of an API, if there is one.
pub fn offer(api: i16) -> Option<&'static Offer> {
    OFFERS.iter().find(|offer| offer.api == api)
}

/// A version that is not offered is answered in the form of version 0, so that any client can read
/// the list. The reply's header is the old one in every version.
pub(super) fn encode(writer: &mut Writer, version: i16) {
    let own = offer(API_VERSIONS).expect("ApiVersions is offered");
    let known = (own.min..=own.max).contains(&version);
    let form = if known { version } else { 0 };
    writer.flexible(form >= own.flexible);
    writer.error((!known).then_some(KafkaError::UnsupportedVersion));
    writer.count(OFFERS.len());
    for offer in OFFERS {
        writer.i16(offer.api);
        writer.i16(offer.min);
        writer.i16(offer.max);
        writer.tags();
    }
    if form >= 1 {
        writer.i32(0);
    }
    writer.tags();
}
