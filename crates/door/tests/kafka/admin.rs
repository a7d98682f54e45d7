//! What people do to streams: delete, grow, trim, describe, alter; what they ask of the mesh. Both ways, in
//! every version.

use crate::oracle::{answered, asked, offered, text, topic};
use door::kafka::settings::{Alteration, How, altered, shown};
use door::kafka::*;
use kafka_protocol::messages::create_partitions_request::*;
use kafka_protocol::messages::delete_records_request::*;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::*;
use kafka_protocol::messages::offset_for_leader_epoch_request::*;
use kafka_protocol::messages::*;
use model::{MeshId, PeerId, Settings, StreamId};

#[test]
fn streams_are_deleted_by_name_or_by_id_in_every_version() {
    for version in offered(ApiKey::DeleteTopics) {
        let mut ask = DeleteTopicsRequest::default().with_timeout_ms(1_000);
        let mut expected = vec![Wanted::Name("rain".into()), Wanted::BadName("../x".into())];
        if version >= 6 {
            let named = |name| DeleteTopicState::default().with_name(Some(topic(name)));
            let id = uuid::Uuid::from_u128(77);
            let by_id = DeleteTopicState::default().with_name(None).with_topic_id(id);
            ask = ask.with_topics(vec![named("rain"), named("../x"), by_id]);
            expected.push(Wanted::Id(StreamId(77)));
        } else {
            ask = ask.with_topic_names(vec![topic("rain"), topic("../x")]);
        }
        let request = asked(ApiKey::DeleteTopics, version, &ask);
        let Ask::DeleteStreams(wanted) = &request.ask else { panic!("a deletion") };
        assert_eq!(*wanted, expected);
        let in_use = || Refused::new(KafkaError::NotAllowed, "a pipeline uses it");
        let deleted = wanted.iter().cloned().map(|it| match it {
            Wanted::Id(_) => it.deleted(Err(in_use())),
            other => other.deleted(Ok(())),
        });
        let reply: DeleteTopicsResponse =
            answered(&request.head, Reply::DeleteStreams(deleted.collect()));
        let codes: Vec<i16> = reply.responses.iter().map(|it| it.error_code).collect();
        assert_eq!(codes[..2], [0, 3]);
        assert_eq!(reply.responses[0].name, Some(topic("rain")));
        if version >= 6 {
            let by_id = &reply.responses[2];
            assert_eq!((by_id.error_code, by_id.topic_id.as_u128(), &by_id.name), (29, 77, &None));
            assert_eq!(by_id.error_message.as_deref(), Some("a pipeline uses it"));
        }
    }
}

#[test]
fn partitions_are_added_in_every_version() {
    for version in offered(ApiKey::CreatePartitions) {
        let to = |name: &str, count| {
            CreatePartitionsTopic::default().with_name(topic(name)).with_count(count)
        };
        let assigned = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1)]);
        let topics = vec![
            to("rain", 6).with_assignments(None),
            to("none", 0).with_assignments(None),
            to("placed", 6).with_assignments(Some(vec![assigned])),
        ];
        let ask = CreatePartitionsRequest::default().with_topics(topics).with_validate_only(true);
        let request = asked(ApiKey::CreatePartitions, version, &ask);
        let Ask::GrowStreams(ask) = &request.ask else { panic!("more partitions") };
        assert!(ask.validate_only);
        let wanted: Vec<_> = ask
            .streams
            .iter()
            .map(|it| it.partitions.as_ref().copied().map_err(|refused| refused.error.code()))
            .collect();
        assert_eq!(wanted, [Ok(6), Err(37), Err(39)]);
        let error = Refused::new(KafkaError::InvalidPartitions, "it has 8");
        let grown = vec![
            Grown { name: "rain".into(), result: Ok(()) },
            Grown { name: "none".into(), result: Err(error) },
        ];
        let reply: CreatePartitionsResponse = answered(&request.head, Reply::GrowStreams(grown));
        assert_eq!((reply.results[0].error_code, reply.results[1].error_code), (0, 37));
        assert_eq!(reply.results[1].error_message.as_deref(), Some("it has 8"));
    }
}

#[test]
fn old_events_are_deleted_in_every_version() {
    for version in offered(ApiKey::DeleteRecords) {
        let part = |partition, offset| {
            let part = DeleteRecordsPartition::default().with_partition_index(partition);
            part.with_offset(offset)
        };
        let rain = DeleteRecordsTopic::default()
            .with_name(topic("rain"))
            .with_partitions(vec![part(0, 70), part(1, -1)]);
        let ask = DeleteRecordsRequest::default().with_topics(vec![rain]);
        let request = asked(ApiKey::DeleteRecords, version, &ask);
        let Ask::TrimStreams(parts) = &request.ask else { panic!("a deletion of events") };
        let below: Vec<_> = parts.iter().map(|it| (it.partition, it.below)).collect();
        assert_eq!(below, [(0, Some(70)), (1, None)]);
        let of = |partition, result| TrimmedPart { stream: "rain".into(), partition, result };
        let parts = vec![of(0, Ok(70)), of(1, Err(KafkaError::OutOfRange))];
        let reply: DeleteRecordsResponse = answered(&request.head, Reply::TrimStreams(parts));
        let parts = &reply.topics[0].partitions;
        assert_eq!((parts[0].low_watermark, parts[0].error_code), (70, 0));
        assert_eq!((parts[1].low_watermark, parts[1].error_code), (-1, 1));
    }
}

#[test]
fn settings_are_described_in_every_version() {
    for version in offered(ApiKey::DescribeConfigs) {
        let resource = |kind: i8, name: &str, keys: Option<Vec<_>>| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configuration_keys(keys)
        };
        let keys = vec![text("retention.ms"), text("cleanup.policy")];
        let resources =
            vec![resource(2, "rain", Some(keys)), resource(4, "1", None), resource(8, "x", None)];
        let ask = DescribeConfigsRequest::default().with_resources(resources);
        let request = asked(ApiKey::DescribeConfigs, version, &ask);
        let Ask::DescribeSettings(wanted) = &request.ask else { panic!("a description") };
        let resources: Vec<_> = wanted.iter().map(|it| it.resource.clone()).collect();
        let other = Resource::Other(8, "x".into());
        assert_eq!(resources, [Resource::Stream("rain".into()), Resource::Peer("1".into()), other]);
        let week = Settings { retention_ms: Some(604_800_000), ..Settings::default() };
        let mut wanted = wanted.clone().into_iter();
        let mut answer = |result| wanted.next().expect("three").answer(result);
        let refused = Refused::new(KafkaError::InvalidRequest, "it has no settings");
        let all = vec![
            answer(Ok(shown(&week))),
            answer(Ok(settings::of_peer(16, 3))),
            answer(Err(refused)),
        ];
        let reply: DescribeConfigsResponse = answered(&request.head, Reply::DescribeSettings(all));
        let rain = &reply.results[0];
        let told: Vec<_> = rain
            .configs
            .iter()
            .map(|it| (&*it.name, it.value.as_deref(), it.read_only, it.config_source))
            .collect();
        let policy = ("cleanup.policy", Some("delete"), true, 5);
        assert_eq!(told, [policy, ("retention.ms", Some("604800000"), false, 1)]);
        assert_eq!(rain.configs[1].config_type, if version >= 3 { 5 } else { 0 });
        let peer = &reply.results[1];
        assert!(peer.configs.iter().all(|it| it.read_only && it.config_source == 4));
        assert_eq!((peer.resource_type, &*peer.resource_name), (4, "1"));
        assert_eq!((reply.results[2].error_code, reply.results[2].configs.len()), (42, 0));
    }
}

#[test]
fn settings_are_altered_one_by_one_in_every_version() {
    for version in offered(ApiKey::IncrementalAlterConfigs) {
        let config = |name: &str, operation, value: Option<&str>| {
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(operation)
                .with_value(value.map(text))
        };
        let configs = vec![
            config("retention.ms", 0, Some("1000")),
            config("retention.bytes", 1, None),
            config("cleanup.policy", 2, Some("compact")),
        ];
        let rain = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("rain"))
            .with_configs(configs);
        let ask = IncrementalAlterConfigsRequest::default()
            .with_resources(vec![rain])
            .with_validate_only(true);
        let request = asked(ApiKey::IncrementalAlterConfigs, version, &ask);
        let Ask::AlterSettings(ask) = &request.ask else { panic!("an alteration") };
        assert!(ask.validate_only);
        let (resource, alterations) = &ask.resources[0];
        assert_eq!(*resource, Resource::Stream("rain".into()));
        let hows: Vec<_> = alterations.iter().map(|it| it.how.clone()).collect();
        assert_eq!(hows, [How::Set(Some("1000".into())), How::Clear, How::List]);
        let refused = Refused::new(KafkaError::InvalidSetting, "no list");
        let all = vec![Altered { resource: resource.clone(), result: Err(refused) }];
        let reply: IncrementalAlterConfigsResponse =
            answered(&request.head, Reply::AlterSettings(all));
        let rain = &reply.responses[0];
        assert_eq!((rain.error_code, rain.error_message.as_deref()), (40, Some("no list")));
        assert_eq!((rain.resource_type, &*rain.resource_name), (2, "rain"));
    }
}

#[test]
fn a_setting_is_kept_refused_or_true_anyway() {
    let set = |name: &str, value: &str| Alteration {
        name: name.into(),
        how: How::Set(Some(value.into())),
    };
    let usual = Settings::default();
    let week = Settings { retention_ms: Some(604_800_000), ..usual };
    assert_eq!(altered(usual, &[set("retention.ms", "604800000")]), Ok(week));
    let clear = Alteration { name: "retention.ms".into(), how: How::Clear };
    assert_eq!(
        altered(week, &[clear, set("retention.bytes", "-1")]).map(|it| it.forgets()),
        Ok(false)
    );
    assert_eq!(altered(week, &[set("cleanup.policy", "delete")]), Ok(week));
    let bad = [
        set("retention.ms", "soon"),
        set("retention.ms", "-2"),
        set("max.message.bytes", "99999999"),
        set("cleanup.policy", "compact"),
        set("no.such", "1"),
        Alteration { name: "retention.ms".into(), how: How::List },
    ];
    for alteration in bad {
        let refused = altered(week, std::slice::from_ref(&alteration)).expect_err("refused");
        assert_eq!(refused.error, KafkaError::InvalidSetting, "{alteration:?}");
    }
}

#[test]
fn the_mesh_is_described_in_every_version() {
    for version in offered(ApiKey::DescribeCluster) {
        let mut ask = DescribeClusterRequest::default();
        if version >= 1 {
            ask = ask.with_endpoint_type(2);
            let request = asked(ApiKey::DescribeCluster, version, &ask);
            assert!(matches!(request.ask, Ask::DescribeMesh(DescribeMesh { peers: false })));
            ask = ask.with_endpoint_type(1);
        }
        let request = asked(ApiKey::DescribeCluster, version, &ask);
        assert!(matches!(request.ask, Ask::DescribeMesh(DescribeMesh { peers: true })));
        let zone = Some("z".to_owned());
        let peers = vec![MetadataPeer { id: PeerId(2), host: "h2".into(), port: 9092, zone }];
        let described = DescribedMesh { mesh: MeshId(5), controller: PeerId(2), peers };
        let reply: DescribeClusterResponse =
            answered(&request.head, Reply::DescribeMesh(Ok(described)));
        assert_eq!((reply.error_code, reply.controller_id.0, reply.brokers.len()), (0, 2, 1));
        assert_eq!(&*reply.cluster_id, "00000000000000000000000000000005");
        let peer = &reply.brokers[0];
        assert_eq!((peer.broker_id.0, &*peer.host, peer.rack.as_deref()), (2, "h2", Some("z")));
        let refused = Reply::DescribeMesh(Err(KafkaError::UnsupportedEndpoint));
        let reply: DescribeClusterResponse = answered(&request.head, refused);
        assert_eq!(reply.error_code, 115);
    }
}

#[test]
fn ends_of_epochs_are_told_in_every_version() {
    for version in offered(ApiKey::OffsetForLeaderEpoch) {
        let part = |partition, current| {
            OffsetForLeaderPartition::default()
                .with_partition(partition)
                .with_current_leader_epoch(current)
                .with_leader_epoch(4)
        };
        let rain = OffsetForLeaderTopic::default()
            .with_topic(topic("rain"))
            .with_partitions(vec![part(0, 7), part(1, -1)]);
        let mut ask = OffsetForLeaderEpochRequest::default().with_topics(vec![rain]);
        if version >= 3 {
            ask = ask.with_replica_id(BrokerId(-1));
        }
        let request = asked(ApiKey::OffsetForLeaderEpoch, version, &ask);
        let Ask::Epochs(parts) = &request.ask else { panic!("ends of epochs") };
        let wanted: Vec<_> = parts.iter().map(|it| (it.partition, it.current, it.epoch)).collect();
        assert_eq!(wanted, [(0, Some(7), 4), (1, None, 4)]);
        let of = |partition, result| EpochEnd { stream: "rain".into(), partition, result };
        let parts =
            vec![of(0, Ok(Some((3, 70)))), of(1, Ok(None)), of(2, Err(KafkaError::FencedEpoch))];
        let reply: OffsetForLeaderEpochResponse = answered(&request.head, Reply::Epochs(parts));
        let told: Vec<_> = reply.topics[0]
            .partitions
            .iter()
            .map(|it| (it.partition, it.error_code, it.leader_epoch, it.end_offset))
            .collect();
        assert_eq!(told, [(0, 0, 3, 70), (1, 0, -1, -1), (2, 74, -1, -1)]);
    }
}
