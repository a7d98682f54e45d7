//! Events that are tried again: appended once more, with a header that says for which stage, and for which of its
//! buckets. Every other stage passes them over, so that nobody counts an event twice.

use crate::event::Event;

/// The header's name.
pub const RETRY: &str = "shoal-retry";

/// For whom an event is, as the stage that reads it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meant {
    /// For all buckets: it is an ordinary event, or this stage's code had failed before it had a key.
    All,
    /// Only the items of this bucket failed.
    Bucket(u32),
    /// For another stage.
    Others,
}

/// What the header says: `pipeline.stage`, with `#bucket` if its other buckets have folded the event.
pub fn retry_mark(stage: &str, bucket: Option<u32>) -> String {
    match bucket {
        None => stage.to_owned(),
        Some(bucket) => format!("{stage}#{bucket}"),
    }
}

/// Whether a header means this stage.
pub fn is_mark_of(mark: &str, stage: &str) -> bool {
    mark.split('#').next() == Some(stage)
}

/// For whom `event` is, said to the stage `stage`.
pub(crate) fn meant(event: &Event, stage: &str) -> Meant {
    let Some((_, mark)) = event.headers.iter().find(|(name, _)| name == RETRY.as_bytes()) else {
        return Meant::All;
    };
    let Some(Ok(mark)) = mark.as_deref().map(std::str::from_utf8) else { return Meant::Others };
    if !is_mark_of(mark, stage) {
        return Meant::Others;
    }
    match mark.split_once('#').map(|(_, bucket)| bucket.parse()) {
        None => Meant::All,
        Some(Ok(bucket)) => Meant::Bucket(bucket),
        Some(Err(_)) => Meant::Others,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(mark: &str) -> Meant {
        let headers = vec![(RETRY.into(), Some(mark.to_owned().into()))];
        meant(&Event { headers, ..Event::default() }, "orders.totals")
    }

    #[test]
    fn an_event_is_for_all_unless_it_says_for_whom() {
        assert_eq!(meant(&Event::default(), "orders.totals"), Meant::All);
        assert_eq!(seen(&retry_mark("orders.totals", None)), Meant::All);
        assert_eq!(seen(&retry_mark("orders.totals", Some(7))), Meant::Bucket(7));
        for other in ["orders.total", "orders.totals.more", "", "orders.totals#x", "a#7"] {
            assert_eq!(seen(other), Meant::Others, "{other}");
        }
    }
}
