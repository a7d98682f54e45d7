//! The advertisement demo, in the shape of the Yahoo streaming benchmark: 100 campaigns of 10 ads; of all that people
//! do with ads, the views are counted by campaign and ten seconds of the time when they happened.
//!
//! Promises the same events each time, one in twenty of them out of order.

use super::replay::Due;
use super::verdict::Verdict;
use door::http::ViewRow;
use flow::{Pipelines, Tumbling, row_key_of_window};
use model::hash::{bucket_of, hash64};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What people do, which ad belongs to whom, the views with their campaigns, and the counts.
pub(crate) const EVENTS: &str = "ad_events";
pub(crate) const ADS: &str = "ads";
pub(crate) const VIEW: &str = "campaign_views";
const WITH_CAMPAIGN: &str = "views_with_campaign";

const CAMPAIGNS: u64 = 100;
const ADS_OF_A_CAMPAIGN: u64 = 10;
/// Events of a run, one a millisecond of their own time.
pub(crate) const COUNT: usize = 100_000;
/// Thursday, 1 January 2026.
const BEGIN_MS: i64 = 1_767_225_600_000;
const WINDOW_MS: i64 = 10_000;
/// How much later an event may come than it should; one in twenty does.
const OUT_OF_ORDER_MS: u64 = 500;
const LATE: Duration = Duration::from_secs(2);
/// A partition that stands still because a peer died must not let the others close its windows.
const QUIET: Duration = Duration::from_secs(3_600);
/// Nothing more comes of the ads once they are told.
const TOLD: Duration = Duration::from_secs(1);

/// What happened to an ad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    View,
    Click,
    Purchase,
    /// Nothing happened: it only says what time it is.
    End,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct AdEvent {
    ad: u64,
    user: u64,
    what: What,
    time_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ad {
    ad: u64,
    campaign: u64,
}

pub(super) fn pipelines(mesh: &mut Pipelines) {
    let pipeline = mesh.pipeline("ads");
    let events = pipeline.read_with(EVENTS, 4).json::<AdEvent>();
    let views = events
        .event_time(|event| event.time_ms, LATE)
        .idle_after(QUIET)
        .filter(|event| event.what == What::View);
    let ads = pipeline.read_with(ADS, 4).json::<Ad>().idle_after(TOLD);
    views
        .key_by(|event| event.ad)
        .as_of(ads.key_by(|ad| ad.ad))
        .inner(|_, ad| ad.campaign)
        .to(WITH_CAMPAIGN);
    pipeline
        .read(WITH_CAMPAIGN)
        .json::<u64>()
        .key_by(|campaign| *campaign)
        .window(Tumbling::of(Duration::from_millis(WINDOW_MS.unsigned_abs())))
        .count()
        .view(VIEW);
}

/// The event of this number, and the campaign of its ad.
fn event(number: u64) -> AdEvent {
    let drawn = hash64(&number.to_be_bytes());
    let what = [What::View, What::Click, What::Purchase][(drawn % 3) as usize];
    let ad = drawn / 3 % (CAMPAIGNS * ADS_OF_A_CAMPAIGN);
    let user = (drawn >> 32) % 100_000;
    AdEvent { ad, user, what, time_ms: BEGIN_MS + number as i64 }
}

/// Ads are dealt to campaigns like cards, so that their numbers alone do not tell whose they are.
fn campaign_of(ad: u64) -> u64 {
    ad * 37 % CAMPAIGNS
}

/// Which ad belongs to whom, told before anything happens.
pub(super) fn ads(partitions: u32) -> anyhow::Result<Vec<Due>> {
    let due = |ad: u64| {
        let key = ad.to_string();
        let partition = bucket_of(key.as_bytes(), partitions);
        let json = serde_json::to_vec(&Ad { ad, campaign: campaign_of(ad) })?;
        Ok(Due { time_ms: BEGIN_MS - 1, partition, key, json })
    };
    (0..CAMPAIGNS * ADS_OF_A_CAMPAIGN).map(due).collect()
}

/// Everything that happens, as it comes in; the last in each partition says that all before it is over.
pub(super) fn events(partitions: u32) -> anyhow::Result<Vec<Due>> {
    let mut order: Vec<u64> = (0..COUNT as u64).collect();
    let comes = |number: u64| match number % 20 {
        7 => number + hash64(&(!number).to_be_bytes()) % OUT_OF_ORDER_MS,
        _ => number,
    };
    order.sort_by_key(|number| comes(*number));
    let due = |number: u64| {
        let event = event(number);
        let key = event.user.to_string();
        let partition = bucket_of(key.as_bytes(), partitions);
        // Sent when it comes, which is not when it happened.
        let time_ms = BEGIN_MS + comes(number) as i64;
        Ok(Due { time_ms, partition, key, json: serde_json::to_vec(&event)? })
    };
    let mut all: Vec<Due> = order.into_iter().map(due).collect::<anyhow::Result<_>>()?;
    let time_ms = BEGIN_MS + COUNT as i64 + 60_000;
    let json = serde_json::to_vec(&AdEvent { ad: 0, user: 0, what: What::End, time_ms })?;
    let end_ms = BEGIN_MS + COUNT as i64;
    all.extend((0..partitions).map(|partition| Due {
        time_ms: end_ms,
        partition,
        key: String::new(),
        json: json.clone(),
    }));
    Ok(all)
}

/// The oracle: what the counts must be, of events and ads alone, without a pipeline.
pub(super) fn expected() -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for event in (0..COUNT as u64).map(event).filter(|event| event.what == What::View) {
        let start_ms = event.time_ms - event.time_ms.rem_euclid(WINDOW_MS);
        let campaign = campaign_of(event.ad).to_string();
        let key = row_key_of_window(campaign.as_bytes(), start_ms);
        *counts.entry(String::from_utf8_lossy(&key).into_owned()).or_default() += 1;
    }
    counts
}

/// Holds the view against the oracle.
pub(super) fn verdict(expected: &BTreeMap<String, u64>, rows: &[ViewRow]) -> Verdict {
    let mut verdict = Verdict::new("views", expected.values().sum());
    verdict.compare(VIEW, expected, rows, |count, row| row.as_u64() == Some(*count));
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::testing::TestMesh;

    #[test]
    fn the_oracle_and_the_pipeline_agree_whatever_dies() {
        let expected = expected();
        assert_eq!(expected.len(), CAMPAIGNS as usize * COUNT / WINDOW_MS as usize);
        for seed in 0..2 {
            let mut mesh = TestMesh::of(pipelines).seed(seed);
            for due in ads(4).expect("JSON") {
                mesh.send_at(ADS, due.key, due.json, due.time_ms);
            }
            mesh.run();
            let mut ends = 0;
            for due in events(4).expect("JSON") {
                if due.key.is_empty() {
                    // As many as it takes that each partition gets one.
                    (0..16)
                        .for_each(|n| mesh.send_at(EVENTS, n.to_string(), &due.json, due.time_ms));
                    ends += 1;
                } else {
                    mesh.send_at(EVENTS, due.key, due.json, due.time_ms);
                }
            }
            mesh.run();
            // A task that dies must see once more that the ads are quiet.
            for _ in 0..10 {
                mesh.advance(TOLD * 2);
                mesh.run();
            }
            assert_eq!(ends, 4);
            let rows = mesh.view(VIEW).rows().into_iter();
            let rows: Vec<ViewRow> = rows
                .map(|(key, value)| ViewRow { key: key.as_str().into(), value: (&value).into() })
                .collect();
            let verdict = verdict(&expected, &rows);
            assert!(verdict.is_equal(), "seed {seed}: {}", verdict.text());
            assert!(mesh.dead("ads.views_with_campaign").is_empty(), "seed {seed}");
        }
    }
}
