//! What consumers want: streams by name and by regular expression, as the catalogue has them.

use crate::limits::{PATTERN_SIZE_MAX, PATTERNS_MAX};
use model::deal::Consumer;
use model::group::Refusal;
use model::{Catalogue, StreamId};
use regex::{Regex, RegexBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The catalogue, and what each regular expression finds in it.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    catalogue: Arc<Catalogue>,
    patterns: BTreeMap<String, (Regex, BTreeSet<StreamId>)>,
}

impl Wishes {
    /// True if it is newer than the one that was known.
    pub fn learn_catalogue(&mut self, catalogue: Arc<Catalogue>) -> bool {
        if catalogue.index <= self.catalogue.index {
            return false;
        }
        for (regex, streams) in self.patterns.values_mut() {
            *streams = found(regex, &catalogue);
        }
        self.catalogue = catalogue;
        true
    }

    pub fn index(&self) -> u64 {
        self.catalogue.index
    }

    /// A regular expression is wanted, of the kind that takes time as its text is long, whatever it is matched with.
    pub fn learn(&mut self, pattern: &str) -> Result<(), Refusal> {
        if self.patterns.contains_key(pattern) {
            return Ok(());
        }
        if self.patterns.len() >= PATTERNS_MAX {
            return Err(Refusal::Full);
        }
        let compiled = |pattern: &str| {
            let mut builder = RegexBuilder::new(pattern);
            builder.size_limit(PATTERN_SIZE_MAX).dfa_size_limit(PATTERN_SIZE_MAX);
            builder.build().map_err(|_| Refusal::BadPattern)
        };
        // By itself as well: what closes a bracket that it did not open is none.
        compiled(pattern)?;
        let regex = compiled(&format!("^(?:{pattern})$"))?;
        let streams = found(&regex, &self.catalogue);
        self.patterns.insert(pattern.to_owned(), (regex, streams));
        Ok(())
    }

    /// Forgets those that nobody uses.
    pub fn keep_only(&mut self, used: &BTreeSet<&str>) {
        self.patterns.retain(|pattern, _| used.contains(pattern.as_str()));
    }

    /// The streams that a consumer wants and that are there.
    pub fn streams(&self, consumer: &Consumer) -> BTreeSet<StreamId> {
        let named = consumer.names.iter().filter_map(|name| self.catalogue.stream_names.get(name));
        let matching = consumer.pattern.as_ref().and_then(|pattern| self.patterns.get(pattern));
        let matching = matching.into_iter().flat_map(|(_, streams)| streams);
        named.chain(matching).copied().collect()
    }

    pub fn parts(&self, stream: StreamId) -> u32 {
        self.catalogue.streams.get(&stream).map_or(0, |stream| stream.partitions)
    }
}

fn found(regex: &Regex, catalogue: &Catalogue) -> BTreeSet<StreamId> {
    let names = catalogue.stream_names.iter();
    names.filter(|(name, _)| regex.is_match(name)).map(|(_, id)| *id).collect()
}
