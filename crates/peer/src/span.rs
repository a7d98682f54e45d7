//! Spans of requests, from the door to the commit, for whoever gathers traces.
//!
//! Promises that a build without the feature `otlp` has none of it, and that one with it does nothing until
//! [`gather`] was said. A span is of a request, or of a part of one that went to one shard: never of an event.

#[cfg(not(feature = "otlp"))]
mod silent;
#[cfg(feature = "otlp")]
mod told;

#[cfg(not(feature = "otlp"))]
pub use silent::Span;
#[cfg(feature = "otlp")]
pub use told::{Span, gather};

use crate::limits;
use door::trace::{Parent, TRACEPARENT};
use model::Batch;

/// The parent that the first event of a batch names: producers put it there.
pub fn parent_of(batch: Option<&Batch>) -> Option<Parent> {
    let first = batch?.records(limits::BATCH_PLAIN_BYTES).ok()?.next()?.ok()?;
    let named = first.headers.iter().find(|(name, _)| name == TRACEPARENT.as_bytes());
    Parent::read(named?.1.as_deref()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::batch::BatchBuilder;

    #[test]
    fn the_first_event_of_a_batch_names_the_parent() {
        let said = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let batch = |headers: &[(&str, Option<&[u8]>)]| {
            let mut builder = BatchBuilder::new();
            builder.push(0, Some(b"k"), Some(b"v"), headers);
            builder.build().expect("one event")
        };
        let parent = parent_of(Some(&batch(&[("a", None), ("traceparent", Some(said))])));
        assert_eq!(parent.map(|it| it.span), Some(0xb7ad_6b71_6920_3331));
        assert_eq!(parent_of(Some(&batch(&[("traceparent", None)]))), None);
        assert_eq!(parent_of(None), None);
    }
}
