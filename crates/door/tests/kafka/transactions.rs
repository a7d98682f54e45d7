//! Transactions: both ways, in every version.

use crate::oracle::{answered, asked, offered, text, topic};
use door::kafka::*;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use model::group::{Caller, Committed};

fn transact(request: &Request) -> &Transact {
    let Ask::Transact(ask) = &request.ask else { panic!("a transaction's ask") };
    ask
}

#[test]
fn partitions_are_added_in_every_version() {
    for version in offered(ApiKey::AddPartitionsToTxn) {
        let rain =
            AddPartitionsToTxnTopic::default().with_name(topic("rain")).with_partitions(vec![0, 5]);
        let ask = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(text("t")))
            .with_v3_and_below_producer_id(ProducerId(7))
            .with_v3_and_below_producer_epoch(2)
            .with_v3_and_below_topics(vec![rain]);
        let request = asked(ApiKey::AddPartitionsToTxn, version, &ask);
        let Transact::AddPartitions(ask) = transact(&request) else { panic!("partitions") };
        assert_eq!((&*ask.id, ask.producer, ask.epoch), ("t", 7, 2));
        assert_eq!(ask.parts, [("rain".into(), 0), ("rain".into(), 5)]);
        let told = ask.clone().refuse(KafkaError::ProducerFenced);
        let reply: AddPartitionsToTxnResponse =
            answered(&request.head, Reply::Transacted(Transacted::Added(told)));
        let rain = &reply.results_by_topic_v3_and_below[0];
        assert_eq!(rain.name, topic("rain"));
        let code = if version >= 2 { 90 } else { 47 };
        let parts = &rain.results_by_partition;
        let parts: Vec<_> =
            parts.iter().map(|it| (it.partition_index, it.partition_error_code)).collect();
        assert_eq!(parts, [(0, code), (5, code)]);
    }
}

#[test]
fn groups_are_added_and_transactions_end_in_every_version() {
    for version in offered(ApiKey::AddOffsetsToTxn) {
        let ask = AddOffsetsToTxnRequest::default()
            .with_transactional_id(TransactionalId(text("t")))
            .with_producer_id(ProducerId(7))
            .with_producer_epoch(2)
            .with_group_id(GroupId(text("g")));
        let request = asked(ApiKey::AddOffsetsToTxn, version, &ask);
        let expected = AddOffsets { id: "t".into(), producer: 7, epoch: 2, group: "g".into() };
        assert_eq!(transact(&request), &Transact::AddOffsets(expected));
        let reply: AddOffsetsToTxnResponse =
            answered(&request.head, Reply::Transacted(Transacted::Done(Err(KafkaError::Busy))));
        assert_eq!(reply.error_code, 51);
    }
    for version in offered(ApiKey::EndTxn) {
        let ask = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text("t")))
            .with_producer_id(ProducerId(7))
            .with_producer_epoch(2)
            .with_committed(true);
        let request = asked(ApiKey::EndTxn, version, &ask);
        let expected = EndTransaction { id: "t".into(), producer: 7, epoch: 2, commit: true };
        assert_eq!(transact(&request), &Transact::End(expected));
        let reply: EndTxnResponse =
            answered(&request.head, Reply::Transacted(Transacted::Done(Ok(()))));
        assert_eq!(reply.error_code, 0);
    }
}

#[test]
fn offsets_are_brought_in_every_version() {
    for version in offered(ApiKey::TxnOffsetCommit) {
        let mut part = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(3)
            .with_committed_offset(70)
            .with_committed_metadata(Some(text("m")));
        if version >= 2 {
            part = part.with_committed_leader_epoch(4);
        }
        let rain = TxnOffsetCommitRequestTopic::default()
            .with_name(topic("rain"))
            .with_partitions(vec![part]);
        let mut ask = TxnOffsetCommitRequest::default()
            .with_transactional_id(TransactionalId(text("t")))
            .with_group_id(GroupId(text("g")))
            .with_producer_id(ProducerId(7))
            .with_producer_epoch(2)
            .with_topics(vec![rain]);
        let mut caller = Caller { generation: -1, ..Caller::default() };
        if version >= 3 {
            ask = ask.with_generation_id(9).with_member_id(text("c"));
            ask = ask.with_group_instance_id(Some(text("i")));
            caller = Caller { generation: 9, consumer: "c".into(), instance: Some("i".into()) };
        }
        let request = asked(ApiKey::TxnOffsetCommit, version, &ask);
        let Transact::PendOffsets(ask) = transact(&request) else { panic!("offsets") };
        assert_eq!((&*ask.id, &*ask.group, ask.producer, ask.epoch), ("t", "g", 7, 2));
        assert_eq!(ask.caller, caller);
        let epoch = if version >= 2 { 4 } else { -1 };
        let committed = Committed { offset: 70, epoch, metadata: "m".into() };
        assert_eq!((ask.parts[0].partition, &ask.parts[0].committed), (3, &Ok(committed)));
        let told = ask.clone().refuse(KafkaError::InvalidTransaction);
        let reply: TxnOffsetCommitResponse =
            answered(&request.head, Reply::Transacted(Transacted::Offsets(told)));
        assert_eq!(reply.topics[0].partitions[0].error_code, 48);
    }
}
