//! The figures of a run, as a table for people and as JSON for scripts.

use super::histogram::Histogram;
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;

/// Quantiles of one latency, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// How many events it was measured on.
    pub events: u64,
}

impl Latency {
    /// None when nothing was measured.
    pub fn of(seen: &Histogram) -> Option<Self> {
        (seen.count() > 0).then(|| Self {
            p50: rounded(seen.quantile_ms(0.5)),
            p99: rounded(seen.quantile_ms(0.99)),
            p999: rounded(seen.quantile_ms(0.999)),
            max: rounded(seen.max_ms()),
            events: seen.count(),
        })
    }
}

/// What one run of `shoal bench` says.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Asked for; 0 is as fast as possible.
    pub rate: u64,
    pub seconds: f64,
    pub events: u64,
    pub events_per_s: f64,
    pub ack_ms: Option<Latency>,
    pub visible_ms: Option<Latency>,
    /// CPU of all peers together, from the first event until the last one was seen.
    pub cpu_s_per_million: Option<f64>,
    /// CPU of the load generator, on the same machine.
    pub driver_cpu_s_per_million: Option<f64>,
    /// The largest peer, at the end of the load.
    pub rss_mb: Option<f64>,
    /// The largest peer, before the load.
    pub idle_rss_mb: Option<f64>,
    /// The busiest peer before the load, in percent of a core.
    pub idle_cpu_percent: Option<f64>,
    pub peers: usize,
    pub partitions: u32,
    pub keys: usize,
    pub event_bytes: usize,
    /// Batches that had to be sent again.
    pub retries: u64,
    pub hardware: String,
}

/// Three digits after the point.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl Report {
    /// The figures for programs.
    pub fn value(&self) -> anyhow::Result<Value> {
        Ok(serde_json::to_value(self)?)
    }

    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let rate = if self.rate == 0 { "max".to_owned() } else { self.rate.to_string() };
        let mut row = |name: &str, value: String| {
            table.add_row([name.to_owned(), value]);
        };
        row("events", format!("{} in {:.1} s, asked for {rate}/s", self.events, self.seconds));
        row("events/s", format!("{:.0}", self.events_per_s));
        row("ack ms", quantiles(self.ack_ms));
        row("visible ms", quantiles(self.visible_ms));
        row("CPU s per million", or_unknown(self.cpu_s_per_million));
        row("  load generator", or_unknown(self.driver_cpu_s_per_million));
        row("memory MB", or_unknown(self.rss_mb));
        row("idle memory MB", or_unknown(self.idle_rss_mb));
        row("idle CPU %", or_unknown(self.idle_cpu_percent));
        row("peers", format!("{}, {} partitions", self.peers, self.partitions));
        row("events are", format!("{} B, {} keys", self.event_bytes, self.keys));
        row("sent again", format!("{} batches", self.retries));
        row("hardware", self.hardware.clone());
        row("checked", "acknowledged = offsets = counted".to_owned());
        table.to_string()
    }
}

fn quantiles(latency: Option<Latency>) -> String {
    latency.map_or("not measured".to_owned(), |l| {
        format!("p50 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.1}", l.p50, l.p99, l.p999, l.max)
    })
}

fn or_unknown(value: Option<f64>) -> String {
    value.map_or("unknown".to_owned(), |value| format!("{value:.2}"))
}
