//! OffsetCommit and OffsetFetch: both ways, in every version.

use crate::oracle::{answered, asked, offered, text, topic};
use door::kafka::*;
use kafka_protocol::messages::offset_commit_request::*;
use kafka_protocol::messages::offset_fetch_request::*;
use kafka_protocol::messages::*;
use model::group::{Caller, Committed};

fn group_id(name: &str) -> GroupId {
    GroupId(text(name))
}

#[test]
fn offsets_are_committed_in_every_version() {
    for version in offered(ApiKey::OffsetCommit) {
        let long = "m".repeat(4_097);
        let part = |partition, metadata: Option<&str>| {
            let part = OffsetCommitRequestPartition::default()
                .with_partition_index(partition)
                .with_committed_offset(70)
                .with_committed_metadata(metadata.map(text));
            if version >= 6 { part.with_committed_leader_epoch(3) } else { part }
        };
        let parts = vec![part(0, Some("here")), part(1, None), part(2, Some(&long))];
        let rain =
            OffsetCommitRequestTopic::default().with_name(topic("rain")).with_partitions(parts);
        let mut ask = OffsetCommitRequest::default()
            .with_group_id(group_id("readers"))
            .with_generation_id_or_member_epoch(4)
            .with_member_id(text("m1"))
            .with_topics(vec![rain]);
        if version >= 7 {
            ask = ask.with_group_instance_id(Some(text("i1")));
        }
        if version <= 4 {
            ask = ask.with_retention_time_ms(1_000);
        }
        let request = asked(ApiKey::OffsetCommit, version, &ask);
        let Ask::CommitOffsets(ask) = &request.ask else { panic!("offsets were committed") };
        let instance = (version >= 7).then(|| "i1".to_owned());
        assert_eq!(ask.caller, Caller { generation: 4, consumer: "m1".into(), instance });
        let epoch = if version >= 6 { 3 } else { -1 };
        let committed = |metadata: &str| Committed { offset: 70, epoch, metadata: metadata.into() };
        let parts: Vec<_> = ask.parts.iter().map(|it| it.committed.clone()).collect();
        let too_large = Err(KafkaError::MetadataTooLarge);
        assert_eq!(parts, [Ok(committed("here")), Ok(committed("")), too_large]);

        let refused = ask.clone().refuse(KafkaError::IllegalGeneration);
        let reply: OffsetCommitResponse = answered(&request.head, Reply::CommitOffsets(refused));
        let codes: Vec<i16> = reply.topics[0].partitions.iter().map(|it| it.error_code).collect();
        assert_eq!((&reply.topics[0].name, &codes[..]), (&topic("rain"), &[22, 22, 12][..]));
        // Older clients do not know what an epoch is.
        let refused = ask.clone().refuse(KafkaError::StaleConsumerEpoch);
        let reply: OffsetCommitResponse = answered(&request.head, Reply::CommitOffsets(refused));
        let code = reply.topics[0].partitions[0].error_code;
        assert_eq!(code, if version >= 9 { 113 } else { 22 });
    }
}

#[test]
fn committed_offsets_are_told_in_every_version() {
    for version in offered(ApiKey::OffsetFetch) {
        let mut ask = OffsetFetchRequest::default();
        if version >= 8 {
            let rain = OffsetFetchRequestTopics::default()
                .with_name(topic("rain"))
                .with_partition_indexes(vec![0, 1]);
            let mut readers = OffsetFetchRequestGroup::default()
                .with_group_id(group_id("readers"))
                .with_topics(Some(vec![rain]));
            if version >= 9 {
                readers = readers.with_member_id(Some(text("m1"))).with_member_epoch(2);
            }
            let others = OffsetFetchRequestGroup::default().with_group_id(group_id("others"));
            ask = ask.with_groups(vec![readers, others.with_topics(None)]);
        } else {
            let rain = OffsetFetchRequestTopic::default()
                .with_name(topic("rain"))
                .with_partition_indexes(vec![0, 1]);
            ask = ask.with_group_id(group_id("readers")).with_topics(Some(vec![rain]));
        }
        if version >= 7 {
            ask = ask.with_require_stable(true);
        }
        let request = asked(ApiKey::OffsetFetch, version, &ask);
        let Ask::CommittedOffsets(ask) = &request.ask else { panic!("offsets were asked") };
        assert_eq!(ask.stable, version >= 7);
        let parts = Some(vec![("rain".into(), 0), ("rain".into(), 1)]);
        let caller = Caller { generation: 2, consumer: "m1".into(), instance: None };
        let caller = (version >= 9).then_some(caller);
        assert_eq!(ask.groups[0], WantedOffsets { group: "readers".into(), caller, parts });
        if version >= 8 {
            let others = WantedOffsets { group: "others".into(), caller: None, parts: None };
            assert_eq!(ask.groups[1], others);
        }
        check_told(&request.head);
    }
}

fn check_told(head: &Head) {
    let committed = Committed { offset: 70, epoch: 3, metadata: "here".into() };
    let of = |partition, result| OffsetOf { stream: "rain".into(), partition, result };
    let parts = vec![of(0, Ok(Some(committed))), of(1, Ok(None))];
    let readers = GroupOffsets { group: "readers".into(), error: None, parts };
    let reply: OffsetFetchResponse = answered(head, Reply::CommittedOffsets(vec![readers]));
    let told: Vec<_> = if head.version >= 8 {
        let group = &reply.groups[0];
        assert_eq!((&group.group_id, group.error_code), (&group_id("readers"), 0));
        let parts = group.topics[0].partitions.iter();
        parts
            .map(|it| (it.committed_offset, it.committed_leader_epoch, it.metadata.clone()))
            .collect()
    } else {
        assert_eq!(reply.error_code, 0);
        let parts = reply.topics[0].partitions.iter();
        parts
            .map(|it| (it.committed_offset, it.committed_leader_epoch, it.metadata.clone()))
            .collect()
    };
    let epoch = if head.version >= 5 { 3 } else { -1 };
    assert_eq!(told, [(70, epoch, Some(text("here"))), (-1, -1, Some(text("")))]);

    let parts = Some(vec![("rain".into(), 0)]);
    let wanted = WantedOffsets { group: "readers".into(), caller: None, parts };
    let refused = wanted.refuse(KafkaError::NotCoordinator);
    let reply: OffsetFetchResponse = answered(head, Reply::CommittedOffsets(vec![refused]));
    match head.version {
        8.. => assert_eq!(reply.groups[0].error_code, 16),
        2.. => assert_eq!(reply.error_code, 16),
        // It has no other place to say so.
        _ => assert_eq!(reply.topics[0].partitions[0].error_code, 16),
    }
}

#[test]
fn all_offsets_of_a_group_are_asked_by_null_from_version_2_on() {
    for version in offered(ApiKey::OffsetFetch).filter(|version| (2..8).contains(version)) {
        let ask = OffsetFetchRequest::default().with_group_id(group_id("g")).with_topics(None);
        let request = asked(ApiKey::OffsetFetch, version, &ask);
        let Ask::CommittedOffsets(ask) = request.ask else { panic!("offsets were asked") };
        assert_eq!(ask.groups, [WantedOffsets { group: "g".into(), caller: None, parts: None }]);
    }
}
