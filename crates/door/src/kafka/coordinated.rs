//! What is asked of coordinators, and about them: which API it is, and what it is answered.

use super::wire::{Flaw, Reader, Writer};
use super::*;

impl Ask {
    /// Whoever asks a coordinator knows only coordinators' errors.
    pub(super) fn refuse_coordinated(self, error: KafkaError) -> Reply {
        let error = match error {
            KafkaError::NotLeader => KafkaError::NotCoordinator,
            other => other,
        };
        let result = Err(error);
        match self {
            Self::FindCoordinator(ask) => {
                Reply::FindCoordinator(ask.refuse(KafkaError::CoordinatorNotAvailable))
            }
            Self::Transact(ask) => Reply::Transacted(ask.refuse(error)),
            Self::CommitOffsets(ask) => Reply::CommitOffsets(ask.refuse(error)),
            Self::CommittedOffsets(ask) => Reply::CommittedOffsets(ask.refuse(error)),
            Self::DescribeGroups(groups) => {
                let refuse = |group| DescribedGroup { group, result: Err(error) };
                Reply::DescribeGroups(groups.into_iter().map(refuse).collect())
            }
            Self::DescribeDeals(groups) => {
                let refuse = |group| DescribedDeal { group, result: Err(error) };
                Reply::DescribeDeals(groups.into_iter().map(refuse).collect())
            }
            Self::ListGroups(_) => Reply::ListGroups(Err(error)),
            Self::DeleteGroups(groups) => {
                let refuse = |group| DeletedGroup { group, result };
                Reply::DeleteGroups(groups.into_iter().map(refuse).collect())
            }
            _ => Reply::Group(Err(group::Refusal::NotCoordinator)),
        }
    }
}

pub(super) fn decode(reader: &mut Reader, head: &Head) -> Result<Ask, Flaw> {
    let version = head.version;
    Ok(match head.api {
        versions::FIND_COORDINATOR => {
            Ask::FindCoordinator(find_coordinator::decode(reader, version)?)
        }
        versions::JOIN_GROUP => join_group::decode(reader, version, head.client_id.as_deref())?,
        versions::SYNC_GROUP => sync_group::decode(reader, version)?,
        versions::HEARTBEAT => heartbeat::decode(reader, version)?,
        versions::LEAVE_GROUP => leave_group::decode(reader, version)?,
        versions::COMMIT_OFFSETS => Ask::CommitOffsets(commit_offsets::decode(reader, version)?),
        versions::COMMITTED_OFFSETS => {
            Ask::CommittedOffsets(committed_offsets::decode(reader, version)?)
        }
        versions::DESCRIBE_GROUPS => Ask::DescribeGroups(describe_groups::decode(reader, version)?),
        versions::DEAL_BEAT => deal_beat::decode(reader, head)?,
        versions::DESCRIBE_DEALS => Ask::DescribeDeals(describe_deals::decode(reader)?),
        versions::LIST_GROUPS => Ask::ListGroups(list_groups::decode(reader, version)?),
        versions::DELETE_GROUPS => Ask::DeleteGroups(delete_groups::decode(reader)?),
        _ => Ask::Transact(transactions::decode(reader, head)?),
    })
}

pub(super) fn encode(writer: &mut Writer, head: &Head, reply: &Reply) {
    let version = head.version;
    match (head.api, reply) {
        (versions::FIND_COORDINATOR, Reply::FindCoordinator(found)) => {
            find_coordinator::encode(writer, version, found)
        }
        (versions::JOIN_GROUP, Reply::Group(reply)) => join_group::encode(writer, version, reply),
        (versions::SYNC_GROUP, Reply::Group(reply)) => sync_group::encode(writer, version, reply),
        (versions::HEARTBEAT, Reply::Group(reply)) => heartbeat::encode(writer, version, reply),
        (versions::LEAVE_GROUP, Reply::Group(reply)) => leave_group::encode(writer, version, reply),
        (versions::COMMIT_OFFSETS, Reply::CommitOffsets(parts)) => {
            commit_offsets::encode(writer, version, parts)
        }
        (versions::COMMITTED_OFFSETS, Reply::CommittedOffsets(groups)) => {
            committed_offsets::encode(writer, version, groups)
        }
        (versions::DESCRIBE_GROUPS, Reply::DescribeGroups(groups)) => {
            describe_groups::encode(writer, version, groups)
        }
        (versions::DEAL_BEAT, Reply::Group(reply)) => deal_beat::encode(writer, reply),
        (versions::DESCRIBE_DEALS, Reply::DescribeDeals(groups)) => {
            describe_deals::encode(writer, version, groups)
        }
        (versions::LIST_GROUPS, Reply::ListGroups(reply)) => {
            list_groups::encode(writer, version, reply)
        }
        (versions::DELETE_GROUPS, Reply::DeleteGroups(groups)) => {
            delete_groups::encode(writer, groups)
        }
        (_, Reply::Transacted(reply)) => transactions::encode(writer, version, reply),
        (api, _) => unreachable!("the reply does not belong to API {api}"),
    }
}
