//! ApiVersions, Metadata, InitProducerId, Fetch, ListOffsets, CreateTopics: both ways, in every
//! version.

use crate::oracle::{answered, asked, offered, text, topic};
use bytes::Bytes;
use door::kafka::*;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::*;
use model::transaction::Aborted;
use model::{MeshId, PeerId, Settings, StreamId};

#[test]
fn api_versions_lists_what_is_offered_in_every_version() {
    for version in offered(ApiKey::ApiVersions) {
        let mut ask = ApiVersionsRequest::default();
        if version >= 3 {
            ask = ask.with_client_software_name(text("t")).with_client_software_version(text("1"));
        }
        let request = asked(ApiKey::ApiVersions, version, &ask);
        assert!(matches!(request.ask, Ask::Versions));
        let reply: ApiVersionsResponse = answered(&request.head, Reply::Versions);
        assert_eq!(reply.error_code, 0);
        let listed: Vec<_> =
            reply.api_keys.iter().map(|k| (k.api_key, k.min_version, k.max_version)).collect();
        let expected: Vec<_> = versions::OFFERS.iter().map(|o| (o.api, o.min, o.max)).collect();
        assert_eq!(listed, expected);
        assert!(listed.contains(&(0, 0, 9)) && listed.contains(&(1, 4, 13)));
    }
}

#[test]
fn metadata_is_asked_by_name_or_by_id_in_every_version() {
    for version in offered(ApiKey::Metadata) {
        let named = MetadataRequestTopic::default().with_name(Some(topic("rain")));
        let bad = MetadataRequestTopic::default().with_name(Some(topic("../rain")));
        let mut topics = vec![named, bad];
        let mut expected = vec![Wanted::Name("rain".into()), Wanted::BadName("../rain".into())];
        if version >= 10 {
            let id = uuid::Uuid::from_u128(77);
            topics.push(MetadataRequestTopic::default().with_topic_id(id).with_name(None));
            expected.push(Wanted::Id(StreamId(77)));
        }
        let mut ask = MetadataRequest::default().with_topics(Some(topics));
        if version >= 4 {
            ask = ask.with_allow_auto_topic_creation(false);
        }
        let request = asked(ApiKey::Metadata, version, &ask);
        let Ask::Metadata(ask) = request.ask else { panic!("metadata was asked") };
        // Versions 0 to 3 have no flag and imply creation.
        assert_eq!(ask, Metadata { streams: Some(expected), create: version < 4 });

        let reply: MetadataResponse =
            answered(&request.head, Reply::Metadata(metadata_reply(version)));
        check_metadata(version, &reply);
    }
}

fn metadata_reply(version: i16) -> MetadataReply {
    let part = MetadataPart {
        partition: 3,
        leader: Some(PeerId(2)),
        epoch: 9,
        replicas: vec![PeerId(2), PeerId(1), PeerId(3)],
        in_sync: vec![PeerId(2), PeerId(1)],
        offline: vec![PeerId(3)],
    };
    let orphan = MetadataPart { partition: 4, leader: None, ..part.clone() };
    let mut streams = vec![
        MetadataStream {
            error: None,
            name: Some("rain".into()),
            id: StreamId(77),
            parts: vec![part, orphan],
        },
        Wanted::BadName("../rain".into()).refuse(KafkaError::UnknownStream),
    ];
    if version >= 10 {
        streams.push(Wanted::Id(StreamId(8)).refuse(KafkaError::UnknownStreamId));
    }
    let peer = |id: i32, zone: Option<&str>| MetadataPeer {
        id: PeerId(id),
        host: format!("host{id}"),
        port: 9092,
        zone: zone.map(str::to_owned),
    };
    MetadataReply {
        mesh: MeshId(5),
        controller: PeerId(1),
        peers: vec![peer(1, Some("z")), peer(2, None)],
        streams,
    }
}

fn check_metadata(version: i16, reply: &MetadataResponse) {
    let peers: Vec<_> =
        reply.brokers.iter().map(|b| (b.node_id.0, b.host.to_string(), b.port)).collect();
    assert_eq!(peers, [(1, "host1".to_owned(), 9092), (2, "host2".to_owned(), 9092)]);
    if version >= 1 {
        assert_eq!((reply.brokers[0].rack.as_deref(), reply.controller_id.0), (Some("z"), 1));
        assert_eq!(reply.brokers[1].rack, None);
    }
    if version >= 2 {
        let mesh = "00000000000000000000000000000005";
        assert_eq!(reply.cluster_id.as_deref(), Some(mesh));
    }
    let rain = &reply.topics[0];
    assert_eq!((rain.error_code, rain.name.as_ref()), (0, Some(&topic("rain"))));
    let part = &rain.partitions[0];
    assert_eq!((part.error_code, part.partition_index, part.leader_id.0), (0, 3, 2));
    assert_eq!(part.replica_nodes, [BrokerId(2), BrokerId(1), BrokerId(3)]);
    assert_eq!(part.isr_nodes, [BrokerId(2), BrokerId(1)]);
    let orphan = &rain.partitions[1];
    assert_eq!((orphan.error_code, orphan.leader_id.0), (5, -1));
    if version >= 5 {
        assert_eq!(part.offline_replicas, [BrokerId(3)]);
    }
    assert_eq!(part.leader_epoch, if version >= 7 { 9 } else { -1 });
    assert_eq!(reply.topics[1].error_code, 17);
    if version >= 10 {
        assert_eq!(rain.topic_id.as_u128(), 77);
        let unknown = &reply.topics[2];
        assert_eq!((unknown.error_code, unknown.topic_id.as_u128()), (100, 8));
        // A name may be null from version 12 on only.
        let name = unknown.name.as_ref().map(|name| name.0.to_string());
        assert_eq!(name, if version >= 12 { None } else { Some(String::new()) });
    }
}

#[test]
fn all_streams_are_asked_by_an_empty_list_in_version_0_and_by_null_later() {
    for version in offered(ApiKey::Metadata) {
        let empty = MetadataRequest::default().with_topics(Some(Vec::new()));
        let Ask::Metadata(ask) = asked(ApiKey::Metadata, version, &empty).ask else { panic!() };
        assert_eq!(ask.streams, if version == 0 { None } else { Some(Vec::new()) });
        assert!(ask.create, "creation is the default");
        if version >= 1 {
            let null = MetadataRequest::default().with_topics(None);
            let Ask::Metadata(ask) = asked(ApiKey::Metadata, version, &null).ask else { panic!() };
            assert_eq!(ask.streams, None);
        }
    }
}

#[test]
fn producer_ids_are_given_in_every_version() {
    for version in offered(ApiKey::InitProducerId) {
        let mut ask = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000);
        if version >= 3 {
            ask = ask.with_producer_id(ProducerId(4)).with_producer_epoch(1);
        }
        let request = asked(ApiKey::InitProducerId, version, &ask);
        assert!(
            matches!(&request.ask, Ask::InitProducer(it) if it.transactional.is_none() && it.before == (version >= 3).then_some((4, 1)))
        );
        let reply: InitProducerIdResponse =
            answered(&request.head, Reply::InitProducer(Ok((1 << 40, 0))));
        assert_eq!((reply.error_code, reply.producer_id.0, reply.producer_epoch), (0, 1 << 40, 0));
        let reply: InitProducerIdResponse =
            answered(&request.head, Reply::InitProducer(Err(KafkaError::CoordinatorNotAvailable)));
        assert_eq!((reply.error_code, reply.producer_id.0, reply.producer_epoch), (15, -1, -1));
    }
}

#[test]
fn fetches_are_full_and_carry_batches_as_they_are_in_every_version() {
    for version in offered(ApiKey::Fetch) {
        let mut part = FetchPartition::default()
            .with_partition(5)
            .with_fetch_offset(70)
            .with_partition_max_bytes(4096);
        let mut ask = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(500)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_isolation_level(1);
        if version >= 7 {
            let mut forgotten = ForgottenTopic::default();
            match which(version, "x") {
                Which::Name(name) => forgotten.topic = topic(&name),
                Which::Id(id) => forgotten.topic_id = uuid::Uuid::from_u128(id.0),
            }
            let forgotten = forgotten.with_partitions(vec![1, 2]);
            ask = ask.with_session_epoch(-1).with_forgotten_topics_data(vec![forgotten]);
        }
        if version >= 9 {
            part = part.with_current_leader_epoch(3);
        }
        if version >= 11 {
            ask = ask.with_rack_id(text("z"));
        }
        if version >= 12 {
            ask = ask.with_cluster_id(Some(text("c")));
        }
        let parts = vec![part.clone(), part.with_partition(6)];
        let mut rain = FetchTopic::default().with_partitions(parts);
        match which(version, "rain") {
            Which::Name(name) => rain.topic = topic(&name),
            Which::Id(id) => rain.topic_id = uuid::Uuid::from_u128(id.0),
        }
        let request = asked(ApiKey::Fetch, version, &ask.with_topics(vec![rain]));
        let Ask::Fetch(ask) = &request.ask else { panic!("a fetch was asked") };
        let epoch = (version >= 9).then_some(3);
        let part = |partition| FetchPart {
            stream: which(version, "rain"),
            partition,
            offset: 70,
            max_bytes: 4096,
            epoch,
        };
        assert_eq!((ask.max_wait_ms, ask.min_bytes, ask.max_bytes), (500, 1, 1 << 20));
        assert!(ask.committed);
        assert_eq!(ask.parts, [part(5), part(6)]);
        check_fetched(&request.head);
    }
}

/// How a client of this version says which stream it means.
fn which(version: i16, name: &str) -> Which {
    match version {
        ..13 => Which::Name(name.into()),
        _ => Which::Id(StreamId(name.len() as u128 + u128::from(name.as_bytes()[0]))),
    }
}

fn check_fetched(head: &Head) {
    let piece = |text: &'static str| Bytes::from_static(text.as_bytes());
    let part = |stream, partition, result| FetchedPart {
        stream: which(head.version, stream),
        partition,
        result,
    };
    let batches = vec![piece("first"), piece("second")];
    let aborted = vec![Aborted { producer: 7, first: 71, last: 75 }];
    let parts = vec![
        part("rain", 5, Ok(Fetched { high: 90, stable: 80, start: 10, aborted, batches })),
        part("rain", 6, Err(KafkaError::OutOfRange)),
        part("snow", 0, Ok(Fetched::default())),
    ];
    let reply: FetchResponse = answered(head, Reply::Fetch(FetchReply { error: None, parts }));
    assert_eq!((reply.error_code, reply.session_id, reply.responses.len()), (0, 0, 2));
    let rain = &reply.responses[0];
    let part = &rain.partitions[0];
    match which(head.version, "rain") {
        Which::Name(name) => assert_eq!(rain.topic, topic(&name)),
        Which::Id(id) => assert_eq!(rain.topic_id.as_u128(), id.0),
    }
    assert_eq!((part.partition_index, part.error_code), (5, 0));
    assert_eq!(part.records, Some(piece("firstsecond")));
    assert_eq!((part.high_watermark, part.last_stable_offset), (90, 80));
    let aborted = part.aborted_transactions.as_ref().expect("one was given up");
    assert_eq!((aborted[0].producer_id.0, aborted[0].first_offset), (7, 71));
    assert_eq!(rain.partitions[1].aborted_transactions, None);
    assert_eq!(part.log_start_offset, if head.version >= 5 { 10 } else { -1 });
    assert_eq!(rain.partitions[1].error_code, 1);
    // Empty, not null: older clients do not expect null.
    assert_eq!(reply.responses[1].partitions[0].records, Some(Bytes::new()));
}

#[test]
fn a_difference_to_a_fetch_session_is_answered_with_unknown_session() {
    for version in offered(ApiKey::Fetch).filter(|version| *version >= 7) {
        let ask = FetchRequest::default().with_session_id(9).with_session_epoch(2);
        let request = asked(ApiKey::Fetch, version, &ask);
        let Ask::Answered(reply) = request.ask else { panic!("the door knows the answer") };
        let reply: FetchResponse = answered(&request.head, reply);
        assert_eq!((reply.error_code, reply.session_id), (70, 0));
        // A full fetch that asks for a session, or ends one, is served.
        for epoch in [0, -1] {
            let ask = FetchRequest::default().with_session_id(9).with_session_epoch(epoch);
            assert!(matches!(asked(ApiKey::Fetch, version, &ask).ask, Ask::Fetch(_)));
        }
    }
}

#[test]
fn offsets_are_listed_by_place_and_by_time_in_every_version() {
    for version in offered(ApiKey::ListOffsets) {
        let times = [-2, -1, -3, 1_700_000_000_000, -9];
        let parts = times.iter().enumerate().map(|(partition, time_ms)| {
            let part = ListOffsetsPartition::default()
                .with_partition_index(partition as i32)
                .with_timestamp(*time_ms);
            if version >= 4 { part.with_current_leader_epoch(6) } else { part }
        });
        let rain =
            ListOffsetsTopic::default().with_name(topic("rain")).with_partitions(parts.collect());
        let mut ask =
            ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![rain]);
        if version >= 2 {
            ask = ask.with_isolation_level(1);
        }
        let request = asked(ApiKey::ListOffsets, version, &ask);
        let Ask::ListOffsets(ask) = &request.ask else { panic!("offsets were asked") };
        assert_eq!(ask.committed, version >= 2);
        assert!(ask.parts.iter().all(|p| p.epoch == (version >= 4).then_some(6)));
        let places: Vec<_> = ask.parts.iter().map(|p| p.place).collect();
        let max =
            if version >= 7 { Ok(Place::MaxTime) } else { Err(KafkaError::UnsupportedVersion) };
        let time = Ok(Place::Time(1_700_000_000_000));
        let odd = Err(KafkaError::UnsupportedVersion);
        assert_eq!(places, [Ok(Place::First), Ok(Place::Next), max, time, odd]);

        let found = Found { offset: 44, time_ms: 1_700_000_000_001, epoch: 6 };
        let results = [Ok(found), Ok(Found::NOTHING), Err(KafkaError::NotLeader)];
        let parts = results.into_iter().enumerate().map(|(partition, result)| FoundPart {
            stream: "rain".into(),
            partition: partition as i32,
            result,
        });
        let reply: ListOffsetsResponse =
            answered(&request.head, Reply::ListOffsets(parts.collect()));
        let parts = &reply.topics[0].partitions;
        assert_eq!((parts[0].error_code, parts[0].offset), (0, 44));
        assert_eq!(parts[0].timestamp, 1_700_000_000_001);
        assert_eq!(parts[0].leader_epoch, if version >= 4 { 6 } else { -1 });
        assert_eq!((parts[1].error_code, parts[1].offset, parts[1].timestamp), (0, -1, -1));
        assert_eq!((parts[2].error_code, parts[2].offset), (6, -1));
    }
}

#[test]
fn streams_are_created_with_settings_that_are_true_in_every_version() {
    let new = |name: &str, partitions, replication| {
        CreatableTopic::default()
            .with_name(topic(name))
            .with_num_partitions(partitions)
            .with_replication_factor(replication)
    };
    let with = |name: &str, value: Option<&str>| {
        let setting = CreatableTopicConfig::default().with_name(text(name));
        vec![setting.with_value(value.map(text))]
    };
    for version in offered(ApiKey::CreateTopics) {
        let topics = vec![
            new("usual", -1, -1),
            new("eight", 8, 3).with_configs(with("cleanup.policy", Some("delete"))),
            new("compact", 8, 3).with_configs(with("cleanup.policy", Some("compact"))),
            new("odd", 8, 3).with_configs(with("no.such", None)),
            new("none", 0, 3),
            new("many", i32::MAX, 3),
            new("thin", 1, 0),
            new("a/b", 1, 1),
            new("twice", 1, 1),
            new("twice", 1, 1),
        ];
        let ask = CreateTopicsRequest::default()
            .with_topics(topics)
            .with_timeout_ms(3_000)
            .with_validate_only(true);
        let request = asked(ApiKey::CreateTopics, version, &ask);
        let Ask::CreateStreams(ask) = request.ask else { panic!("streams were to be made") };
        assert!(ask.validate_only && ask.timeout_ms == 3_000);
        let specs: Vec<_> =
            ask.streams.iter().map(|s| s.spec.as_ref().map_err(|r| r.error.code())).collect();
        let usual = StreamSpec { partitions: None, settings: Settings::default() };
        let eight = StreamSpec { partitions: Some(8), ..usual };
        let one = StreamSpec { partitions: Some(1), ..usual };
        let refused = [Err(40), Err(40), Err(37), Err(37), Err(38), Err(17)];
        assert_eq!(specs[..2], [Ok(&usual), Ok(&eight)]);
        assert_eq!(specs[2..8], refused);
        assert_eq!(specs[8..], [Ok(&one), Err(42)]);

        let made = Created { id: StreamId(3), partitions: 8, replication: 3 };
        let exists = Refused::new(KafkaError::StreamExists, "it exists");
        let created = |name: &str, result| CreatedStream { name: name.into(), result };
        let streams = vec![created("eight", Ok(made)), created("usual", Err(exists))];
        let reply: CreateTopicsResponse = answered(&request.head, Reply::CreateStreams(streams));
        let (eight, usual) = (&reply.topics[0], &reply.topics[1]);
        assert_eq!((eight.error_code, eight.error_message.as_deref()), (0, None));
        assert_eq!((usual.error_code, usual.error_message.as_deref()), (36, Some("it exists")));
        if version >= 5 {
            assert_eq!((eight.num_partitions, eight.replication_factor), (8, 3));
            assert_eq!(eight.configs.as_ref().map(Vec::len), Some(0), "null breaks Java's client");
            assert_eq!(usual.configs.as_ref().map(Vec::len), Some(0), "null breaks Java's client");
        }
        assert_eq!(eight.topic_id.as_u128(), if version >= 7 { 3 } else { 0 });
    }
}
