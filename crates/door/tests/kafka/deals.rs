//! ConsumerGroupHeartbeat and ConsumerGroupDescribe: both ways, in every version.

use crate::oracle::{answered, asked, offered, text, topic};
use door::kafka::*;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::*;
use model::deal::{Beat, Consumer, Deal, Described, Hand, Round, Told};
use model::group::{self, Refusal, Said};
use model::{PartitionId, StreamId};
use uuid::Uuid;

const RAIN: StreamId = StreamId(0x0102_0304);

fn hand(parts: &[u32]) -> Hand {
    parts.iter().map(|partition| PartitionId { stream: RAIN, partition: *partition }).collect()
}

fn full(version: i16) -> ConsumerGroupHeartbeatRequest {
    let parts = TopicPartitions::default()
        .with_topic_id(Uuid::from_u128(RAIN.0))
        .with_partitions(vec![0, 2]);
    let ask = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(text("readers")))
        .with_member_id(text("m1"))
        .with_member_epoch(3)
        .with_instance_id(Some(text("i1")))
        .with_rack_id(Some(text("r1")))
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![topic("rain")]))
        .with_server_assignor(Some(text("range")))
        .with_topic_partitions(Some(vec![parts]));
    if version >= 1 { ask.with_subscribed_topic_regex(Some(text("r.*"))) } else { ask }
}

#[test]
fn a_consumer_says_all_or_nothing_of_itself_in_every_version() {
    for version in offered(ApiKey::ConsumerGroupHeartbeat) {
        let request = asked(ApiKey::ConsumerGroupHeartbeat, version, &full(version));
        let Ask::Group { group, ask: group::Ask::Hold(beat) } = &request.ask else {
            panic!("{:?}", request.ask)
        };
        let expected = Beat {
            consumer: "m1".into(),
            epoch: 3,
            instance: Some("i1".into()),
            rack: Some("r1".into()),
            client: "tester".into(),
            rebalance_ms: Some(60_000),
            names: Some(vec!["rain".into()]),
            pattern: (version >= 1).then(|| "r.*".into()),
            assignor: Some("range".into()),
            holds: Some(hand(&[0, 2])),
            ..Beat::default()
        };
        assert_eq!((&**group, &**beat), ("readers", &expected));
        let short = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(text("readers")))
            .with_member_id(text("m1"))
            .with_member_epoch(3)
            .with_subscribed_topic_names(None)
            .with_topic_partitions(None);
        let request = asked(ApiKey::ConsumerGroupHeartbeat, version, &short);
        let Ask::Group { ask: group::Ask::Hold(beat), .. } = request.ask else { panic!("a beat") };
        let client = "tester".into();
        let expected = Beat { consumer: "m1".into(), epoch: 3, client, ..Beat::default() };
        assert_eq!(*beat, expected);
    }
}

#[test]
fn a_consumer_hears_what_it_may_hold_or_why_not_in_every_version() {
    for version in offered(ApiKey::ConsumerGroupHeartbeat) {
        let head = asked(ApiKey::ConsumerGroupHeartbeat, version, &full(version)).head;
        for hand in [None, Some(hand(&[])), Some(hand(&[0, 2]))] {
            let told = Told { consumer: "m1".into(), epoch: 4, beat_ms: 500, hand: hand.clone() };
            let reply: ConsumerGroupHeartbeatResponse =
                answered(&head, Reply::Group(Ok(Said::Told(told))));
            assert_eq!((reply.error_code, reply.error_message), (0, None));
            assert_eq!((reply.member_epoch, reply.heartbeat_interval_ms), (4, 500));
            assert_eq!(reply.member_id.as_deref(), Some("m1"));
            let assigned = reply.assignment.map(|it| it.topic_partitions);
            let parts = assigned.map(|streams| {
                let of = |it: &consumer_group_heartbeat_response::TopicPartitions| {
                    assert_eq!(it.topic_id.as_u128(), RAIN.0);
                    it.partitions.clone()
                };
                streams.iter().flat_map(of).map(|n| n as u32).collect::<Vec<_>>()
            });
            let expected = hand.map(|hand| hand.iter().map(|it| it.partition).collect::<Vec<_>>());
            assert_eq!(parts, expected);
        }
        let refusals = [
            (Refusal::OldEpoch, 110),
            (Refusal::Unreleased, 111),
            (Refusal::NoAssignor, 112),
            (Refusal::UnknownConsumer, 25),
            (Refusal::Fenced, 82),
            (Refusal::NotDealt, 69),
            (Refusal::BadPattern, 128),
            (Refusal::BadAsk("why".into()), 42),
        ];
        for (refusal, code) in refusals {
            let reply: ConsumerGroupHeartbeatResponse = answered(&head, Reply::Group(Err(refusal)));
            assert_eq!((reply.error_code, reply.error_message.is_some()), (code, true));
        }
    }
}

#[test]
fn what_no_client_says_is_refused_by_the_door() {
    let version = 1;
    let comes = || full(version).with_member_epoch(0).with_topic_partitions(Some(Vec::new()));
    let none = |ask: ConsumerGroupHeartbeatRequest| {
        ask.with_subscribed_topic_names(None).with_subscribed_topic_regex(None)
    };
    let bad = [
        full(version).with_group_id(GroupId(text(""))),
        full(version).with_member_id(text("")),
        full(version).with_instance_id(Some(text(""))),
        full(version).with_rack_id(Some(text(""))),
        full(version).with_server_assignor(Some(text(""))),
        full(version).with_member_epoch(-3),
        full(version).with_member_epoch(-2).with_instance_id(None),
        comes().with_rebalance_timeout_ms(-1),
        comes().with_topic_partitions(None),
        full(version).with_member_epoch(0),
        none(comes()),
    ];
    for ask in bad {
        let request = asked(ApiKey::ConsumerGroupHeartbeat, version, &ask);
        let refused = matches!(
            &request.ask,
            Ask::Answered(Reply::Group(Err(Refusal::BadAsk(why)))) if !why.is_empty()
        );
        assert!(refused, "{ask:?}: {:?}", request.ask);
    }
    let wants_nothing = none(comes()).with_subscribed_topic_regex(Some(text("")));
    let by_pattern = comes().with_subscribed_topic_names(None);
    let good = [comes(), by_pattern, wants_nothing, none(full(version))];
    for ask in good {
        let request = asked(ApiKey::ConsumerGroupHeartbeat, version, &ask);
        assert!(matches!(request.ask, Ask::Group { .. }), "{ask:?}: {:?}", request.ask);
    }
    // In the first version the coordinator gives ids.
    let ask = full(0).with_member_epoch(0).with_member_id(text(""));
    let ask = ask.with_topic_partitions(Some(Vec::new()));
    let request = asked(ApiKey::ConsumerGroupHeartbeat, 0, &ask);
    assert!(matches!(request.ask, Ask::Group { .. }), "{:?}", request.ask);
}

#[test]
fn dealt_groups_are_described_in_every_version() {
    for version in offered(ApiKey::ConsumerGroupDescribe) {
        let groups = ["readers", "x"].map(|name| GroupId(text(name))).to_vec();
        let ask = ConsumerGroupDescribeRequest::default().with_group_ids(groups);
        let request = asked(ApiKey::ConsumerGroupDescribe, version, &ask);
        let Ask::DescribeDeals(groups) = &request.ask else { panic!("{:?}", request.ask) };
        assert_eq!(groups, &["readers", "x"]);
        let consumer = Consumer {
            instance: Some("i1".into()),
            client: "app".into(),
            host: "/10.0.0.1".into(),
            names: ["rain".to_owned()].into(),
            epoch: 3,
            target: hand(&[0, 1]),
            held: hand(&[0]),
            ..Consumer::default()
        };
        let round = Round { epoch: 5, dealt: 4, assignor: "uniform".into(), ..Round::default() };
        let deal = Deal { round, consumers: [("m1".to_owned(), consumer)].into() };
        let described = Described { state: "Reconciling".into(), deal };
        let names: Names = [(RAIN, "rain".into())].into();
        let of = |group: &str, result| DescribedDeal { group: group.into(), result };
        let groups =
            vec![of("readers", Ok((described, names))), of("x", Err(KafkaError::GroupNotFound))];
        let reply: ConsumerGroupDescribeResponse =
            answered(&request.head, Reply::DescribeDeals(groups));
        let [readers, other] = &reply.groups[..] else { panic!("two groups") };
        assert_eq!((readers.error_code, other.error_code), (0, 69));
        assert!(other.error_message.is_some());
        assert_eq!((&*readers.group_state, readers.group_epoch), ("Reconciling", 5));
        assert_eq!((readers.assignment_epoch, &*readers.assignor_name), (4, "uniform"));
        let member = &readers.members[0];
        assert_eq!((&*member.member_id, member.member_epoch), ("m1", 3));
        assert_eq!((&*member.client_host, member.subscribed_topic_names.len()), ("/10.0.0.1", 1));
        let parts = |it: &consumer_group_describe_response::Assignment| {
            assert_eq!(it.topic_partitions[0].topic_name, topic("rain"));
            it.topic_partitions[0].partitions.clone()
        };
        assert_eq!(parts(&member.assignment), [0]);
        assert_eq!(parts(&member.target_assignment), [0, 1]);
        assert_eq!(member.member_type, if version >= 1 { 1 } else { -1 });
    }
}
