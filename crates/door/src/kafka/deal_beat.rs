//! ConsumerGroupHeartbeat (68): a consumer of a group whose coordinator deals the partitions out says what it wants and
//! holds, and hears what it may hold.

use super::wire::{Flaw, Reader, Writer};
use super::{Ask, Head, KafkaError, Reply};
use model::deal::{AWAY, Beat, COMES, Hand, Told};
use model::group::{self, Refusal, Said};
use model::{PartitionId, StreamId};

/// From this version on consumers make their ids themselves, and may want streams by a regular expression.
const OWN_ID_MIN: i16 = 1;

pub(super) fn decode(reader: &mut Reader, head: &Head) -> Result<Ask, Flaw> {
    let group = reader.text("a group's name")?;
    let mut beat = Beat {
        consumer: reader.text("a member's id")?,
        epoch: reader.i32()?,
        instance: reader.text_opt()?,
        rack: reader.text_opt()?,
        client: head.client_id.clone().unwrap_or_default(),
        // The gateway knows where the client is.
        host: String::new(),
        rebalance_ms: u32::try_from(reader.i32()?).ok(),
        ..Beat::default()
    };
    beat.names = reader.array_opt(1, |reader| reader.text("a topic's name"))?;
    if head.version >= OWN_ID_MIN {
        beat.pattern = reader.text_opt()?;
    }
    beat.assignor = reader.text_opt()?;
    beat.holds = holds(reader)?;
    reader.tags()?;
    let refused = |why: &str| Ok(Ask::Answered(Reply::Group(Err(Refusal::BadAsk(why.to_owned())))));
    match flaw(&group, &beat, head.version) {
        Some(why) => refused(why),
        None => Ok(Ask::Group { group, ask: group::Ask::Hold(Box::new(beat)) }),
    }
}

fn holds(reader: &mut Reader) -> Result<Option<Hand>, Flaw> {
    let streams = reader.array_opt(18, |reader| {
        let stream = StreamId(reader.uuid()?);
        let parts = reader.array("a topic's list of partitions", 4, Reader::i32)?;
        reader.tags()?;
        // Nobody was ever given one below 0.
        let parts = parts.into_iter().filter_map(|it| u32::try_from(it).ok());
        Ok(parts.map(move |partition| PartitionId { stream, partition }).collect::<Vec<_>>())
    })?;
    Ok(streams.map(|streams| streams.into_iter().flatten().collect()))
}

/// What no client says that knows the protocol.
fn flaw(group: &str, beat: &Beat, version: i16) -> Option<&'static str> {
    let is_empty = |it: &Option<String>| it.as_deref() == Some("");
    let comes = beat.epoch == COMES;
    // None at all is an answer, too: it is there, and wants nothing yet.
    let wants = beat.names.is_some() || beat.pattern.is_some();
    let holds_nothing = beat.holds.as_ref().is_some_and(Hand::is_empty);
    let flaws = [
        (group.is_empty(), "the group's id is empty"),
        (is_empty(&beat.instance), "the member's instance id is empty"),
        (is_empty(&beat.rack), "the member's rack id is empty"),
        (is_empty(&beat.assignor), "the assignor's name is empty"),
        (beat.epoch < AWAY, "the member's epoch is less than -2"),
        (beat.consumer.is_empty() && !(comes && version < OWN_ID_MIN), "the member's id is empty"),
        (
            beat.epoch == AWAY && beat.instance.is_none(),
            "the member comes back as an instance, but names none",
        ),
        (
            comes && beat.rebalance_ms.is_none_or(|ms| ms == 0),
            "the member comes in without a rebalance timeout",
        ),
        (comes && !holds_nothing, "the member comes in, but does not say that it holds nothing"),
        (comes && !wants, "the member comes in, but does not say what it wants"),
    ];
    flaws.into_iter().find(|(found, _)| *found).map(|(_, why)| why)
}

pub(super) fn encode(writer: &mut Writer, reply: &Result<Said, Refusal>) {
    let none = Told::default();
    let (error, told) = match reply {
        Ok(Said::Told(told)) => (None, told),
        Ok(_) => (Some(KafkaError::Unknown), &none),
        Err(refusal) => (Some(KafkaError::from(refusal)), &none),
    };
    writer.i32(0);
    writer.error(error);
    writer.text_opt(reply.as_ref().err().and_then(why));
    writer.text_opt(Some(&*told.consumer).filter(|id| !id.is_empty()));
    writer.i32(told.epoch);
    writer.i32(told.beat_ms as i32);
    match &told.hand {
        None => writer.i8(-1),
        Some(hand) => {
            writer.i8(1);
            encode_hand(writer, hand);
            writer.tags();
        }
    }
    writer.tags();
}

fn encode_hand(writer: &mut Writer, hand: &Hand) {
    let parts: Vec<PartitionId> = hand.iter().copied().collect();
    let streams = || parts.chunk_by(|a, b| a.stream == b.stream);
    writer.count(streams().count());
    for parts in streams() {
        writer.uuid(parts[0].stream.0);
        writer.count(parts.len());
        parts.iter().for_each(|it| writer.i32(it.partition as i32));
        writer.tags();
    }
}

/// A word for those who read it in a log.
fn why(refusal: &Refusal) -> Option<&str> {
    Some(match refusal {
        Refusal::BadAsk(why) => why,
        Refusal::UnknownConsumer => "the group has no member of this id: join again",
        Refusal::OldEpoch => "this epoch is not the one that the member was told: join again",
        Refusal::Fenced => "another process has taken this instance id",
        Refusal::Unreleased => {
            "this instance id is another member's that is still there: end it first"
        }
        Refusal::NoAssignor => "there is no such assignor: uniform and range are there",
        Refusal::BadPattern => "the regular expression is none, or too large",
        Refusal::NotDealt => {
            "the group's members use the classic protocol: end them all first, or join as they do"
        }
        Refusal::Full => "the group has as much as it may have, or as many",
        _ => return None,
    })
}
