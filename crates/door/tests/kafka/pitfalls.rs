//! What other servers got wrong, byte by byte.

use crate::oracle::{CORRELATION, answered, frame, text, topic};
use bytes::{BufMut, Bytes, BytesMut};
use door::kafka::*;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Decodable;

/// A request's first fields with a client id of one character, and what follows.
fn raw(api: i16, version: i16, rest: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(api);
    bytes.put_i16(version);
    bytes.put_i32(CORRELATION);
    bytes.put_i16(1);
    bytes.put_u8(b'x');
    bytes.put_slice(rest);
    bytes.freeze()
}

#[test]
fn a_newer_api_versions_is_answered_in_version_0_with_error_35_and_the_list() {
    for version in [5, 32_767, -1] {
        let request = decode(raw(18, version, b"\0whatever")).expect("answered, not rejected");
        assert!(matches!(request.ask, Ask::Versions));
        let bytes = encode(&request.head, Reply::Versions).expect("a reply");
        let mut expected = vec![1, 2, 3, 4, 0, 35, 0, 0, 0, 30];
        expected.extend([0, 0, 0, 0, 0, 9]); // Produce
        expected.extend([0, 1, 0, 4, 0, 13]); // Fetch
        expected.extend([0, 2, 0, 1, 0, 7]); // ListOffsets
        expected.extend([0, 3, 0, 0, 0, 12]); // Metadata
        expected.extend([0, 8, 0, 2, 0, 9]); // OffsetCommit
        expected.extend([0, 9, 0, 1, 0, 9]); // OffsetFetch
        expected.extend([0, 10, 0, 0, 0, 4]); // FindCoordinator
        expected.extend([0, 11, 0, 0, 0, 9]); // JoinGroup
        expected.extend([0, 12, 0, 0, 0, 4]); // Heartbeat
        expected.extend([0, 13, 0, 0, 0, 5]); // LeaveGroup
        expected.extend([0, 14, 0, 0, 0, 5]); // SyncGroup
        expected.extend([0, 15, 0, 0, 0, 5]); // DescribeGroups
        expected.extend([0, 16, 0, 0, 0, 5]); // ListGroups
        expected.extend([0, 18, 0, 0, 0, 4]); // ApiVersions
        expected.extend([0, 19, 0, 0, 0, 7]); // CreateTopics
        expected.extend([0, 20, 0, 0, 0, 6]); // DeleteTopics
        expected.extend([0, 21, 0, 0, 0, 2]); // DeleteRecords
        expected.extend([0, 22, 0, 0, 0, 4]); // InitProducerId
        expected.extend([0, 23, 0, 2, 0, 4]); // OffsetForLeaderEpoch
        expected.extend([0, 24, 0, 0, 0, 3]); // AddPartitionsToTxn
        expected.extend([0, 25, 0, 0, 0, 3]); // AddOffsetsToTxn
        expected.extend([0, 26, 0, 0, 0, 3]); // EndTxn
        expected.extend([0, 28, 0, 0, 0, 3]); // TxnOffsetCommit
        expected.extend([0, 32, 0, 1, 0, 4]); // DescribeConfigs
        expected.extend([0, 37, 0, 0, 0, 3]); // CreatePartitions
        expected.extend([0, 42, 0, 0, 0, 2]); // DeleteGroups
        expected.extend([0, 44, 0, 0, 0, 1]); // IncrementalAlterConfigs
        expected.extend([0, 60, 0, 0, 0, 1]); // DescribeCluster
        expected.extend([0, 68, 0, 0, 0, 1]); // ConsumerGroupHeartbeat
        expected.extend([0, 69, 0, 0, 0, 1]); // ConsumerGroupDescribe
        assert_eq!(bytes[..4], (expected.len() as i32).to_be_bytes());
        assert_eq!(bytes[4..], expected);
        let list = ApiVersionsResponse::decode(&mut bytes.slice(8..), 0).expect("version 0");
        assert_eq!((list.error_code, list.api_keys.len()), (35, versions::OFFERS.len()));
    }
}

#[test]
fn api_versions_has_the_old_response_header_in_version_3_and_4() {
    for version in [3, 4] {
        let ask = ApiVersionsRequest::default()
            .with_client_software_name(text("c"))
            .with_client_software_version(text("1"));
        let request = decode(frame(ApiKey::ApiVersions, version, &ask)).expect("valid");
        let bytes = encode(&request.head, Reply::Versions).expect("a reply");
        // Correlation, then at once the error code and the compact count; no tags in between.
        assert_eq!(bytes[4..11], [1, 2, 3, 4, 0, 0, 31]);
    }
}

#[test]
fn unknown_apis_and_versions_close_the_connection_and_say_so() {
    for (api, version) in [(9999, 0), (-1, 0), (36, 0), (71, 0)] {
        let reject = decode(raw(api, version, &[])).expect_err("not offered");
        assert_eq!(reject, Reject::Api { api, version });
    }
    for (api, version) in [(3, 13), (3, -1), (1, 3), (1, 14), (0, 10), (2, 0), (22, 5)] {
        let reject = decode(raw(api, version, &[])).expect_err("not offered");
        assert_eq!(reject, Reject::Version { api, version });
    }
    assert_eq!(decode(Bytes::from_static(b"abc")).expect_err("short"), Reject::Short(3));
}

#[test]
fn names_that_are_no_names_are_answered_with_17_and_come_back_as_they_were() {
    let long = "t".repeat(32_767);
    for name in ["../../etc/passwd", "a\0b", "", "..", &long, &"x".repeat(250)] {
        for version in [1, 9, 12] {
            let wanted = MetadataRequestTopic::default().with_name(Some(topic(name)));
            let ask = MetadataRequest::default().with_topics(Some(vec![wanted]));
            let request = decode(frame(ApiKey::Metadata, version, &ask)).expect("valid");
            let reply: MetadataResponse =
                answered(&request.head, request.ask.refuse(KafkaError::UnknownStream));
            assert_eq!(reply.topics[0].error_code, 17, "{name:.20}");
            assert_eq!(reply.topics[0].name, Some(topic(name)));
        }
    }
    // Not UTF-8: still a name that cannot be, not a broken frame.
    let request = decode(raw(3, 1, b"\0\0\0\x01\0\x04\xff\xfe\xfd\xfc")).expect("valid");
    let Ask::Metadata(ask) = request.ask else { panic!("metadata was asked") };
    assert_eq!(ask.streams, Some(vec![Wanted::BadName("????".into())]));
}

#[test]
fn unknown_tagged_fields_are_skipped() {
    // Head tags: tag 9 with two bytes; the body: null topics, false, false, tag 300 with one byte.
    let rest = [1, 9, 2, 0xaa, 0xbb, 0, 0, 0, 1, 0xac, 2, 1, 0xcc];
    let request = decode(raw(3, 12, &rest)).expect("valid");
    let Ask::Metadata(ask) = request.ask else { panic!("metadata was asked") };
    assert_eq!(ask, Metadata { streams: None, create: false });
}

#[test]
fn a_null_client_id_is_no_error() {
    let frame = Bytes::from_static(&[0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
    assert_eq!(decode(frame).expect("valid").head.client_id, None);
}

#[test]
fn every_ask_can_be_refused_as_a_whole() {
    let error = KafkaError::CoordinatorLoading;
    for version in [0, 4] {
        let request =
            decode(frame(ApiKey::InitProducerId, version, &InitProducerIdRequest::default()));
        let request = request.expect("valid");
        let reply: InitProducerIdResponse = answered(&request.head, request.ask.refuse(error));
        assert_eq!(reply.error_code, 14);
    }
    let request = decode(frame(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default()));
    let request = request.expect("valid");
    let reply: ApiVersionsResponse = answered(&request.head, request.ask.refuse(error));
    assert_eq!(reply.error_code, 0);
}

#[test]
fn create_topics_0_and_1_have_their_own_forms() {
    // One topic "t", 2 partitions, replication 1, no assignment, no config, 100 ms; version 1 adds
    // validate-only.
    let mut rest = vec![0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    rest.extend([0, 0, 0, 100]);
    for version in [0, 1] {
        let mut rest = rest.clone();
        if version == 1 {
            rest.push(1);
        }
        let request = decode(raw(19, version, &rest)).expect("valid");
        let Ask::CreateStreams(ask) = &request.ask else { panic!("a stream was to be made") };
        assert_eq!(ask.validate_only, version == 1);
        assert_eq!(
            ask.streams[0].spec,
            Ok(StreamSpec { partitions: Some(2), settings: Default::default() })
        );
        let result = Err(Refused::new(KafkaError::StreamExists, "no"));
        let reply = Reply::CreateStreams(vec![CreatedStream { name: "t".into(), result }]);
        let mut expected = vec![1, 2, 3, 4, 0, 0, 0, 1, 0, 1, b't', 0, 36];
        if version == 1 {
            expected.extend([0, 2, b'n', b'o']);
        }
        assert_eq!(encode(&request.head, reply).expect("a reply")[4..], expected);
    }
}
