//! FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup and what people ask about groups: both
//! ways, in every version.

use crate::oracle::{answered, asked, offered, text};
use bytes::Bytes;
use door::kafka::*;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use model::PeerId;
use model::group::{self, Caller, Consumer, Described, Join, Joined, Refusal, Said, Sync};

fn group_id() -> GroupId {
    GroupId(text("readers"))
}

/// What is asked of the coordinator of `readers`.
fn of_group(request: &Request) -> group::Ask {
    match &request.ask {
        Ask::Group { group, ask } if group == "readers" => ask.clone(),
        other => panic!("the group was asked something: {other:?}"),
    }
}

fn some(condition: bool, word: &str) -> Option<String> {
    condition.then(|| word.to_owned())
}

#[test]
fn coordinators_are_found_one_or_many_at_once_in_every_version() {
    for version in offered(ApiKey::FindCoordinator) {
        let mut ask = FindCoordinatorRequest::default();
        let keys: Vec<String> = match version {
            4.. => vec!["readers".into(), "others".into()],
            _ => vec!["readers".into()],
        };
        match version {
            4.. => ask.coordinator_keys = keys.iter().map(|key| text(key)).collect(),
            _ => ask.key = text("readers"),
        }
        let kinds = [Coordinates::Group, Coordinates::Transaction, Coordinates::Other];
        for (key_type, kind) in kinds.into_iter().enumerate() {
            if version >= 1 {
                ask.key_type = key_type as i8;
            }
            let kind = if version >= 1 { kind } else { Coordinates::Group };
            let request = asked(ApiKey::FindCoordinator, version, &ask);
            let Ask::FindCoordinator(found) = request.ask else { panic!("a coordinator") };
            assert_eq!(found, FindCoordinator { kind, keys: keys.clone() });
        }
        let head = asked(ApiKey::FindCoordinator, version, &ask).head;
        let peer = MetadataPeer { id: PeerId(3), host: "h3".into(), port: 9092, zone: None };
        let here = Coordinator { key: "readers".into(), result: Ok(peer) };
        let error = Err(KafkaError::CoordinatorNotAvailable);
        let nobody = Coordinator { key: "others".into(), result: error };
        let reply: FindCoordinatorResponse =
            answered(&head, Reply::FindCoordinator(vec![here, nobody.clone()]));
        let none: FindCoordinatorResponse = answered(&head, Reply::FindCoordinator(vec![nobody]));
        if version >= 4 {
            let [here, nobody] = &reply.coordinators[..] else { panic!("two answers") };
            assert_eq!(
                (&*here.key, here.node_id.0, &*here.host, here.port),
                ("readers", 3, "h3", 9092)
            );
            assert_eq!((here.error_code, nobody.error_code, nobody.node_id.0), (0, 15, -1));
        } else {
            assert_eq!((reply.error_code, reply.node_id.0, &*reply.host), (0, 3, "h3"));
            assert_eq!((none.error_code, none.node_id.0, none.port), (15, -1, -1));
        }
    }
}

#[test]
fn consumers_join_in_every_version() {
    for version in offered(ApiKey::JoinGroup) {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from_static(b"topics"));
        let mut ask = JoinGroupRequest::default()
            .with_group_id(group_id())
            .with_session_timeout_ms(10_000)
            .with_member_id(text("m1"))
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        if version >= 1 {
            ask = ask.with_rebalance_timeout_ms(20_000);
        }
        if version >= 5 {
            ask = ask.with_group_instance_id(Some(text("i1")));
        }
        if version >= 8 {
            ask = ask.with_reason(Some(text("because")));
        }
        let request = asked(ApiKey::JoinGroup, version, &ask);
        let expected = Join {
            consumer: "m1".into(),
            instance: some(version >= 5, "i1"),
            client: "tester".into(),
            host: String::new(),
            session_ms: 10_000,
            rebalance_ms: if version >= 1 { 20_000 } else { 10_000 },
            kind: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from_static(b"topics"))],
            comes_back: version >= 4,
            skips: version >= 9,
        };
        assert_eq!(of_group(&request), group::Ask::Join(expected));
        check_joined(&request.head);
    }
}

fn check_joined(head: &Head) {
    let consumers = vec![("m1".to_owned(), Some("i1".to_owned()), Bytes::from_static(b"s"))];
    let joined = Joined {
        generation: 4,
        kind: "consumer".into(),
        protocol: "range".into(),
        leader: "m1".into(),
        consumer: "m1".into(),
        skip: true,
        consumers,
    };
    let reply: JoinGroupResponse = answered(head, Reply::Group(Ok(Said::Joined(joined))));
    assert_eq!((reply.error_code, reply.generation_id), (0, 4));
    assert_eq!((&*reply.leader, &*reply.member_id), ("m1", "m1"));
    assert_eq!(reply.protocol_name.as_deref(), Some("range"));
    assert_eq!(reply.protocol_type.is_some(), head.version >= 7);
    assert_eq!(reply.skip_assignment, head.version >= 9);
    let member = &reply.members[0];
    assert_eq!((&*member.member_id, &member.metadata[..]), ("m1", &b"s"[..]));
    assert_eq!(member.group_instance_id.is_some(), head.version >= 5);
    let come_back = Err(Refusal::ComeBack("fresh".into()));
    let reply: JoinGroupResponse = answered(head, Reply::Group(come_back));
    assert_eq!((reply.error_code, reply.generation_id, &*reply.member_id), (79, -1, "fresh"));
    assert_eq!(reply.protocol_name.is_none(), head.version >= 7);
}

#[test]
fn assignments_are_brought_and_told_in_every_version() {
    for version in offered(ApiKey::SyncGroup) {
        let share = SyncGroupRequestAssignment::default()
            .with_member_id(text("m2"))
            .with_assignment(Bytes::from_static(b"part"));
        let mut ask = SyncGroupRequest::default()
            .with_group_id(group_id())
            .with_generation_id(4)
            .with_member_id(text("m1"))
            .with_assignments(vec![share]);
        if version >= 3 {
            ask = ask.with_group_instance_id(Some(text("i1")));
        }
        if version >= 5 {
            ask = ask.with_protocol_type(Some(text("consumer")));
            ask = ask.with_protocol_name(Some(text("range")));
        }
        let request = asked(ApiKey::SyncGroup, version, &ask);
        let expected = Sync {
            caller: caller(version >= 3),
            kind: some(version >= 5, "consumer"),
            protocol: some(version >= 5, "range"),
            assignments: vec![("m2".into(), Bytes::from_static(b"part"))],
        };
        assert_eq!(of_group(&request), group::Ask::Sync(expected));
        let said = Said::Synced {
            kind: "consumer".into(),
            protocol: "range".into(),
            assignment: Bytes::from_static(b"part"),
        };
        let reply: SyncGroupResponse = answered(&request.head, Reply::Group(Ok(said)));
        assert_eq!((reply.error_code, &reply.assignment[..]), (0, &b"part"[..]));
        assert_eq!(reply.protocol_name.is_some(), version >= 5);
        let refused = Reply::Group(Err(Refusal::Rebalancing));
        let reply: SyncGroupResponse = answered(&request.head, refused);
        assert_eq!((reply.error_code, reply.assignment.len()), (27, 0));
    }
}

fn caller(has_instance: bool) -> Caller {
    Caller { generation: 4, consumer: "m1".into(), instance: some(has_instance, "i1") }
}

#[test]
fn signs_of_life_are_given_in_every_version() {
    for version in offered(ApiKey::Heartbeat) {
        let mut ask = HeartbeatRequest::default()
            .with_group_id(group_id())
            .with_generation_id(4)
            .with_member_id(text("m1"));
        if version >= 3 {
            ask = ask.with_group_instance_id(Some(text("i1")));
        }
        let request = asked(ApiKey::Heartbeat, version, &ask);
        assert_eq!(of_group(&request), group::Ask::Beat(caller(version >= 3)));
        let results = [
            (Ok(Said::Done), 0),
            (Err(Refusal::UnknownConsumer), 25),
            (Err(Refusal::OldGeneration), 22),
            (Err(Refusal::Rebalancing), 27),
            (Err(Refusal::Fenced), 82),
            (Err(Refusal::NotCoordinator), 16),
        ];
        for (result, code) in results {
            let reply: HeartbeatResponse = answered(&request.head, Reply::Group(result));
            assert_eq!(reply.error_code, code);
        }
    }
}

#[test]
fn consumers_leave_alone_or_in_numbers_in_every_version() {
    for version in offered(ApiKey::LeaveGroup) {
        let mut ask = LeaveGroupRequest::default().with_group_id(group_id());
        let mut expected = vec![("m1".to_owned(), None)];
        if version >= 3 {
            let member = |id: &str, instance: Option<&str>| {
                let identity = MemberIdentity::default().with_member_id(text(id));
                identity.with_group_instance_id(instance.map(text))
            };
            ask = ask.with_members(vec![member("m1", None), member("", Some("i2"))]);
            expected.push((String::new(), Some("i2".into())));
        } else {
            ask = ask.with_member_id(text("m1"));
        }
        let request = asked(ApiKey::LeaveGroup, version, &ask);
        assert_eq!(of_group(&request), group::Ask::Leave(expected));
        let left = vec![
            ("m1".to_owned(), None, Err(Refusal::UnknownConsumer)),
            (String::new(), Some("i2".to_owned()), Ok(())),
        ];
        let reply: LeaveGroupResponse = answered(&request.head, Reply::Group(Ok(Said::Left(left))));
        assert_eq!(reply.error_code, if version >= 3 { 0 } else { 25 });
        if version >= 3 {
            let codes: Vec<i16> = reply.members.iter().map(|member| member.error_code).collect();
            assert_eq!(codes, [25, 0]);
            assert_eq!(reply.members[1].group_instance_id.as_deref(), Some("i2"));
        }
        let refused = Reply::Group(Err(Refusal::NotCoordinator));
        let reply: LeaveGroupResponse = answered(&request.head, refused);
        assert_eq!(reply.error_code, 16);
    }
}

#[test]
fn groups_are_described_in_every_version() {
    for version in offered(ApiKey::DescribeGroups) {
        let ask = DescribeGroupsRequest::default().with_groups(vec![group_id()]);
        let request = asked(ApiKey::DescribeGroups, version, &ask);
        let Ask::DescribeGroups(groups) = &request.ask else { panic!("a description") };
        assert_eq!(groups, &["readers"]);
        let consumer = Consumer {
            instance: Some("i1".into()),
            client: "app".into(),
            host: "/10.0.0.1".into(),
            subscription: Bytes::from_static(b"topics"),
            assignment: Bytes::from_static(b"part"),
            ..Consumer::default()
        };
        let described = Described {
            state: "Stable".into(),
            kind: "consumer".into(),
            protocol: "range".into(),
            consumers: vec![("m1".into(), consumer)],
        };
        let of = |group: &str, result| DescribedGroup { group: group.into(), result };
        let groups = vec![of("readers", Ok(described)), of("x", Err(KafkaError::NotCoordinator))];
        let reply: DescribeGroupsResponse = answered(&request.head, Reply::DescribeGroups(groups));
        let [readers, other] = &reply.groups[..] else { panic!("two groups") };
        assert_eq!((readers.error_code, other.error_code), (0, 16));
        assert_eq!((&*readers.group_state, &*readers.protocol_type), ("Stable", "consumer"));
        let member = &readers.members[0];
        assert_eq!((&*member.member_id, &*member.client_host), ("m1", "/10.0.0.1"));
        assert_eq!(&member.member_assignment[..], b"part");
        assert_eq!(member.group_instance_id.is_some(), version >= 4);
    }
}

#[test]
fn groups_are_listed_by_state_in_every_version() {
    for version in offered(ApiKey::ListGroups) {
        let mut ask = ListGroupsRequest::default();
        if version >= 4 {
            ask = ask.with_states_filter(vec![text("Stable")]);
        }
        if version >= 5 {
            ask = ask.with_types_filter(vec![text("consumer")]);
        }
        let request = asked(ApiKey::ListGroups, version, &ask);
        let Ask::ListGroups(wanted) = &request.ask else { panic!("a list") };
        assert_eq!(wanted.states.len(), usize::from(version >= 4));
        let group = |state: &str, dealt| ListedGroup {
            group: "readers".into(),
            kind: "consumer".into(),
            state: state.into(),
            dealt,
        };
        let readers = group("Stable", true);
        assert!(wanted.wants(&readers));
        assert_eq!(wanted.wants(&group("Empty", true)), version < 4);
        assert_eq!(wanted.wants(&group("Stable", false)), version < 5);
        let reply: ListGroupsResponse =
            answered(&request.head, Reply::ListGroups(Ok(vec![readers])));
        let group = &reply.groups[0];
        assert_eq!((&*group.group_id.0, &*group.protocol_type), ("readers", "consumer"));
        assert_eq!(&*group.group_state, if version >= 4 { "Stable" } else { "" });
        assert_eq!(&*group.group_type, if version >= 5 { "Consumer" } else { "" });
        let refused = Reply::ListGroups(Err(KafkaError::CoordinatorLoading));
        let reply: ListGroupsResponse = answered(&request.head, refused);
        assert_eq!((reply.error_code, reply.groups.len()), (14, 0));
    }
}

#[test]
fn groups_are_deleted_in_every_version() {
    for version in offered(ApiKey::DeleteGroups) {
        let ask = DeleteGroupsRequest::default().with_groups_names(vec![group_id()]);
        let request = asked(ApiKey::DeleteGroups, version, &ask);
        assert!(matches!(&request.ask, Ask::DeleteGroups(groups) if groups == &["readers"]));
        let results = [Ok(()), Err(KafkaError::GroupInUse), Err(KafkaError::GroupNotFound)];
        let of = |result| DeletedGroup { group: "readers".into(), result };
        let reply: DeleteGroupsResponse =
            answered(&request.head, Reply::DeleteGroups(results.map(of).to_vec()));
        let codes: Vec<i16> = reply.results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [0, 68, 69]);
    }
}
