//! Packets there and back, and what is refused.

use super::*;
use crate::log::from_journal;
use model::LogEntry;
use model::log::EntryKind;

fn packet(message: Message) -> Packet {
    let (from, to) = (ReplicaId(message.from), ReplicaId(message.to));
    let body = Body::Consensus(Box::new(message));
    Packet { from, to, fresh: true, strained: true, wall_ms: 1_700_000_000_000, body }
}

fn append() -> Message {
    let entry = |index, kind, bytes: &'static [u8]| {
        from_journal(LogEntry { index, term: 4, kind, bytes: Bytes::from_static(bytes) })
    };
    let mut m = Message { from: 1, to: 2, term: 5, log_term: 4, ..Message::default() };
    m.set_msg_type(MessageType::MsgAppend);
    (m.index, m.commit) = (9, 8);
    let entries =
        vec![entry(10, EntryKind::Normal, b"abc"), entry(11, EntryKind::Configuration, b"de")];
    m.set_entries(entries.into());
    m
}

fn snapshot() -> Message {
    let mut m = Message { from: 1, to: 2, term: 5, ..Message::default() };
    m.set_msg_type(MessageType::MsgSnapshot);
    let about = m.mut_snapshot().mut_metadata();
    (about.index, about.term) = (77, 5);
    about.mut_conf_state().set_voters(vec![1, 3]);
    about.mut_conf_state().set_learners(vec![2]);
    m.mut_snapshot().data = Bytes::from_static(b"manifest");
    m
}

fn every() -> Vec<Packet> {
    let mut answer = Message { from: 2, to: 1, term: 5, reject: true, ..Message::default() };
    answer.set_msg_type(MessageType::MsgAppendResponse);
    (answer.reject_hint, answer.log_term) = (3, 2);
    let (from, to) = (ReplicaId(3), ReplicaId(1));
    let plain = |body| Packet { from, to, fresh: false, strained: false, wall_ms: 5, body };
    let mut all = vec![packet(append()), packet(snapshot()), packet(answer)];
    all.extend([Body::Gone, Body::Knock, Body::Fetching { index: 6 }].map(plain));
    all
}

#[test]
fn packets_survive_their_encoding_and_any_cut_is_found() {
    for packet in every() {
        let bytes = encode(&packet);
        assert_eq!(decode(&bytes).expect("own bytes"), packet);
        for cut in 0..bytes.len() {
            assert!(decode(&bytes.slice(..cut)).is_err(), "{packet:?} cut at {cut}");
        }
    }
}

#[test]
fn flipped_bytes_never_panic_or_allocate_on_trust() {
    for packet in every() {
        let bytes = encode(&packet);
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = bytes.to_vec();
                bad[at] = value;
                let _ = decode(&Bytes::from(bad));
            }
        }
    }
}

#[test]
fn terms_out_of_order_and_term_0_are_refused() {
    let mut m = append();
    m.mut_entries()[1].term = 3;
    assert!(decode(&encode(&packet(m))).is_err());
    let mut m = append();
    m.mut_entries()[1].term = 6;
    assert!(decode(&encode(&packet(m))).is_err());
    let mut m = append();
    m.term = 0;
    assert!(decode(&encode(&packet(m))).is_err());
}

#[test]
fn only_a_leaders_words_to_a_fresh_learner_may_create_it() {
    assert!(may_create(&encode(&packet(append()))));
    let old = Packet { fresh: false, ..packet(append()) };
    assert!(!may_create(&encode(&old)));
    let mut vote = append();
    vote.set_msg_type(MessageType::MsgRequestVote);
    assert!(!may_create(&encode(&packet(vote))));
    assert!(!may_create(b""));
}
