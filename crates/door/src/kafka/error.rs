//! Kafka's error codes under our names.

use model::Problem;
use model::group;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A refusal in Kafka's numbers. Those marked *again* make clients refresh their metadata or wait
/// and try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(i16)]
pub enum KafkaError {
    Unknown = -1,
    OutOfRange = 1,
    /// Again: a batch's checksum or lengths are wrong.
    CorruptMessage = 2,
    /// Again: the stream or partition does not exist.
    UnknownStream = 3,
    /// Again: no leader at the moment.
    LeaderNotAvailable = 5,
    /// Again: another peer leads.
    NotLeader = 6,
    /// Again: not decided in time.
    RequestTimedOut = 7,
    MessageTooLarge = 10,
    MetadataTooLarge = 12,
    /// Again: its state is being read.
    CoordinatorLoading = 14,
    /// Again: nobody coordinates at the moment.
    CoordinatorNotAvailable = 15,
    /// Again: another peer coordinates.
    NotCoordinator = 16,
    InvalidName = 17,
    /// Again: no quorum; nothing was written.
    NotEnoughReplicas = 19,
    /// Again: written here, but no quorum has it.
    NotEnoughReplicasAfterAppend = 20,
    InvalidAcks = 21,
    /// The consumer joins anew.
    IllegalGeneration = 22,
    InconsistentProtocol = 23,
    InvalidGroup = 24,
    /// The consumer joins anew, as a new one.
    UnknownConsumer = 25,
    InvalidSession = 26,
    /// The consumer joins anew.
    Rebalancing = 27,
    NotAllowed = 29,
    InvalidTimestamp = 32,
    UnsupportedVersion = 35,
    StreamExists = 36,
    InvalidPartitions = 37,
    InvalidReplication = 38,
    InvalidAssignment = 39,
    InvalidSetting = 40,
    InvalidRequest = 42,
    /// A limit of the mesh, as if a policy of Kafka's.
    Policy = 44,
    OutOfOrderSequence = 45,
    /// Clients take it as success.
    DuplicateSequence = 46,
    InvalidProducerEpoch = 47,
    InvalidTransaction = 48,
    /// The transactional id belongs to another producer.
    UnknownProducerOf = 49,
    InvalidTimeout = 50,
    /// Again: the last transaction still ends.
    Busy = 51,
    /// Another part of the request was refused.
    NotAttempted = 55,
    /// Again: the disk is full or failed.
    StorageError = 56,
    UnknownProducer = 59,
    GroupInUse = 68,
    GroupNotFound = 69,
    /// Again: the client must send a full fetch.
    UnknownFetchSession = 70,
    /// Again: the client's leader epoch is old.
    FencedEpoch = 74,
    /// Again: the client's leader epoch is newer than ours.
    UnknownEpoch = 75,
    UnsupportedCompression = 76,
    /// Again, with the id that was given.
    ConsumerIdRequired = 79,
    GroupFull = 81,
    /// Another process has taken the consumer's instance.
    FencedInstance = 82,
    InvalidRecord = 87,
    /// Again: an open transaction may change the offset.
    Unstable = 88,
    /// Again: a limit is reached.
    LimitReached = 89,
    /// A later producer has taken the transactional id.
    ProducerFenced = 90,
    /// Again: no stream has this id.
    UnknownStreamId = 100,
    /// The consumer gives up what it holds and joins anew.
    FencedConsumerEpoch = 110,
    /// Again: another process bears the instance's name.
    UnreleasedInstance = 111,
    UnsupportedAssignor = 112,
    /// Again, once the consumer has heard its new epoch.
    StaleConsumerEpoch = 113,
    UnsupportedEndpoint = 115,
    InvalidPattern = 128,
}

impl KafkaError {
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The code that says to a Kafka client what a problem says to a person.
    pub fn of(problem: &Problem) -> Self {
        match problem.code.as_str() {
            "SH0002" => Self::InvalidName,
            "SH0309" => Self::NotAllowed,
            "SH0301" | "SH0306" => Self::UnknownStream,
            "SH0302" => Self::StreamExists,
            "SH0311" => Self::Policy,
            "SH0401" => Self::MessageTooLarge,
            "SH0402" => Self::CorruptMessage,
            "SH0403" => Self::OutOfRange,
            "SH0404" | "SH0405" => Self::InvalidRequest,
            "SH0501" => Self::NotEnoughReplicas,
            "SH0502" | "SH0206" | "SH0207" => Self::StorageError,
            "SH0503" => Self::LimitReached,
            "SH0504" => Self::RequestTimedOut,
            "SH0505" => Self::LeaderNotAvailable,
            _ => Self::Unknown,
        }
    }
}

impl From<&group::Refusal> for KafkaError {
    fn from(refusal: &group::Refusal) -> Self {
        match refusal {
            group::Refusal::NotCoordinator => Self::NotCoordinator,
            group::Refusal::Loading => Self::CoordinatorLoading,
            group::Refusal::BadGroup => Self::InvalidGroup,
            group::Refusal::BadSession => Self::InvalidSession,
            group::Refusal::UnknownConsumer => Self::UnknownConsumer,
            group::Refusal::OldGeneration => Self::IllegalGeneration,
            group::Refusal::Rebalancing => Self::Rebalancing,
            group::Refusal::Fenced => Self::FencedInstance,
            group::Refusal::Inconsistent => Self::InconsistentProtocol,
            group::Refusal::ComeBack(_) => Self::ConsumerIdRequired,
            group::Refusal::Full => Self::GroupFull,
            group::Refusal::InUse => Self::GroupInUse,
            group::Refusal::Missing | group::Refusal::NotDealt => Self::GroupNotFound,
            group::Refusal::OldEpoch => Self::FencedConsumerEpoch,
            group::Refusal::StaleEpoch => Self::StaleConsumerEpoch,
            group::Refusal::Unreleased => Self::UnreleasedInstance,
            group::Refusal::NoAssignor => Self::UnsupportedAssignor,
            group::Refusal::BadPattern => Self::InvalidPattern,
            group::Refusal::BadAsk(_) => Self::InvalidRequest,
        }
    }
}

/// A refusal with a text for those clients that show one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub error: KafkaError,
    /// Empty when the code says it all.
    pub message: Cow<'static, str>,
}

impl Refused {
    pub fn new(error: KafkaError, message: impl Into<Cow<'static, str>>) -> Self {
        Self { error, message: message.into() }
    }

    pub(super) fn text(&self) -> Option<&str> {
        Some(&*self.message).filter(|text| !text.is_empty())
    }
}

impl From<KafkaError> for Refused {
    fn from(error: KafkaError) -> Self {
        Self { error, message: Cow::Borrowed("") }
    }
}

impl From<&Problem> for Refused {
    fn from(problem: &Problem) -> Self {
        let Problem { code, what, because, fix } = problem;
        Self::new(KafkaError::of(problem), format!("{what} ({code}): {because}; try: {fix}"))
    }
}
