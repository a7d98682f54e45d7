//! `shoal gen grafana`: a dashboard over the metrics of a mesh.

use serde_json::{Value, json};

/// Title, unit, and each line's name and query.
type Panel = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const PANELS: &[Panel] = &[
    (
        "Events a second",
        "ops",
        &[
            ("in", "sum(rate(shoal_events_in_total[1m]))"),
            ("out", "sum(rate(shoal_events_out_total[1m]))"),
            ("refused", "sum(rate(shoal_appends_refused_total[1m]))"),
        ],
    ),
    (
        "Append to acknowledgement",
        "s",
        &[
            (
                "p50",
                "histogram_quantile(0.5, sum by (le) (rate(shoal_append_latency_seconds_bucket[1m])))",
            ),
            (
                "p99",
                "histogram_quantile(0.99, sum by (le) (rate(shoal_append_latency_seconds_bucket[1m])))",
            ),
        ],
    ),
    (
        "Arrival to view",
        "s",
        &[
            (
                "p50",
                "histogram_quantile(0.5, sum by (le) (rate(shoal_event_latency_seconds_bucket[1m])))",
            ),
            (
                "p99",
                "histogram_quantile(0.99, sum by (le) (rate(shoal_event_latency_seconds_bucket[1m])))",
            ),
        ],
    ),
    (
        "Sync of the disk, p99",
        "s",
        &[(
            "{{instance}}",
            "histogram_quantile(0.99, sum by (le, instance) (rate(shoal_fsync_seconds_bucket[1m])))",
        )],
    ),
    ("Shards led", "short", &[("{{instance}}", "shoal_shards_led")]),
    (
        "Shards in trouble",
        "short",
        &[
            ("without leader", "max(shoal_shards_without_leader)"),
            ("under-replicated", "sum(shoal_shards_under_replicated)"),
        ],
    ),
    (
        "Tasks",
        "short",
        &[
            ("{{state}}", "sum by (state) (shoal_tasks)"),
            ("restarts", "sum(increase(shoal_actor_restarts_total[1m]))"),
        ],
    ),
    (
        "Behind",
        "short",
        &[
            ("tasks", "sum(shoal_task_backlog_events)"),
            ("the last group", "max(shoal_group_lag_events_max)"),
            ("dead letters", "sum(shoal_dead_events_total)"),
        ],
    ),
    ("Processor", "percentunit", &[("{{instance}}", "rate(shoal_process_cpu_seconds_total[1m])")]),
    ("Memory", "bytes", &[("{{instance}}", "shoal_process_resident_memory_bytes")]),
    ("Disk free", "bytes", &[("{{instance}}", "shoal_disk_free_bytes")]),
    (
        "Leads changed, clients held",
        "short",
        &[
            ("changes", "sum(increase(shoal_shard_owner_changes_total[1m]))"),
            ("seconds held", "sum(rate(shoal_backpressure_seconds_total[1m]))"),
        ],
    ),
];

/// The dashboard as Grafana imports it.
pub(super) fn dashboard() -> Value {
    let panel = |(at, (title, unit, lines)): (usize, &Panel)| {
        let source = json!({ "type": "prometheus", "uid": "${source}" });
        let target = |(index, (name, query)): (usize, &(&str, &str))| {
            let id = char::from(b'A' + index as u8).to_string();
            json!({ "refId": id, "expr": query, "legendFormat": name, "datasource": source })
        };
        json!({
            "id": at + 1,
            "type": "timeseries",
            "title": title,
            "datasource": source,
            "gridPos": { "x": (at % 3) * 8, "y": (at / 3) * 8, "w": 8, "h": 8 },
            "fieldConfig": { "defaults": { "unit": unit, "min": 0 }, "overrides": [] },
            "targets": lines.iter().enumerate().map(target).collect::<Vec<_>>(),
        })
    };
    json!({
        "title": "shoal",
        "uid": "shoal",
        "tags": ["shoal"],
        "schemaVersion": 39,
        "refresh": "5s",
        "time": { "from": "now-15m", "to": "now" },
        "templating": { "list": [{ "name": "source", "type": "datasource", "query": "prometheus" }] },
        "panels": PANELS.iter().enumerate().map(panel).collect::<Vec<_>>(),
    })
}
