//! `shoal gen prometheus`, `shoal gen alerts`: what a Prometheus needs to watch a mesh.

use super::Target;

/// `prometheus.yml`.
pub(super) fn scrape(targets: &[Target], rules: Option<&str>) -> String {
    let addresses: Vec<String> =
        targets.iter().map(|it| format!("          - {}", it.http)).collect();
    let rules = rules.map_or(String::new(), |file| format!("rule_files:\n  - {file}\n"));
    format!(
        "# Made by `shoal gen prometheus`.
global:
  scrape_interval: 5s
  evaluation_interval: 5s
{rules}scrape_configs:
  - job_name: shoal
    metrics_path: /metrics
    static_configs:
      - targets:
{}
",
        addresses.join("\n")
    )
}

/// Rules that wake somebody, each with what to do.
pub(super) const ALERTS: &str = r#"# Made by `shoal gen alerts`.
groups:
  - name: shoal
    rules:
      - alert: ShoalPeerSilent
        expr: up{job="shoal"} == 0
        for: 30s
        labels: { severity: warning }
        annotations:
          summary: "{{ $labels.instance }} does not answer"
          try: "shoal members; start it again on its folder"
      - alert: ShoalShardWithoutLeader
        expr: max(shoal_shards_without_leader) > 0
        for: 10s
        labels: { severity: critical }
        annotations:
          summary: "{{ $value }} shards have no leader: what belongs to them is refused"
          try: "shoal health; shoal explain SH0501"
      - alert: ShoalUnderReplicated
        expr: sum(shoal_shards_under_replicated) > 0
        for: 5m
        labels: { severity: warning }
        annotations:
          summary: "{{ $value }} shards have fewer voters than copies"
          try: "shoal health; let another peer join"
      - alert: ShoalDiskFull
        expr: max(shoal_disk_full) > 0
        labels: { severity: critical }
        annotations:
          summary: "a disk is full: events are refused"
          try: "shoal explain SH0502"
      - alert: ShoalTaskParked
        expr: sum(shoal_tasks{state="parked"}) > 0
        labels: { severity: critical }
        annotations:
          summary: "{{ $value }} tasks are parked"
          try: "shoal pipeline list; shoal why-slow"
      - alert: ShoalDeadLetters
        expr: sum(increase(shoal_dead_events_total[10m])) > 0
        labels: { severity: warning }
        annotations:
          summary: "{{ $value }} events were given up in ten minutes"
          try: "shoal explain SH0601"
      - alert: ShoalAppendsSlow
        expr: histogram_quantile(0.99, sum by (le) (rate(shoal_append_latency_seconds_bucket[5m]))) > 0.5
        for: 5m
        labels: { severity: warning }
        annotations:
          summary: "one append in a hundred takes longer than {{ $value }} s"
          try: "shoal why-slow"
      - alert: ShoalGroupLag
        expr: max(shoal_group_lag_events_max) > 100000
        for: 10m
        labels: { severity: warning }
        annotations:
          summary: "a group is {{ $value }} events behind"
          try: "the dashboard's groups"
"#;
