//! What `shoal top` draws: from above the verdict, the rates, peers, pipelines, and what happened.

use super::words::{ago, bytes, count, ms};
use crate::show::{plain, words};
use model::Problem;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Sparkline, Table, Wrap};
use serde_json::Value;
use std::collections::VecDeque;

/// Seconds of the small chart.
const HISTORY: usize = 120;
/// Rows of a list; the page has all of them.
const PEERS_MAX: usize = 12;
const STAGES_MAX: usize = 12;

/// The last picture, and what became of the peer that sends them.
pub(super) struct Screen {
    base: String,
    coloured: bool,
    picture: Value,
    problem: Option<Problem>,
    rates: VecDeque<u64>,
}

/// How a thing is, for who sees colours.
#[derive(Clone, Copy)]
enum Tone {
    Good,
    Odd,
    Bad,
}

impl Screen {
    pub(super) fn new(base: String, coloured: bool) -> Self {
        Self { base, coloured, picture: Value::Null, problem: None, rates: VecDeque::new() }
    }

    /// The next picture, or why none comes: the last one stays.
    pub(super) fn take(&mut self, news: Result<Value, Problem>) {
        match news {
            Err(problem) => self.problem = Some(problem),
            Ok(picture) => {
                let earlier = picture["history"].as_array().into_iter().flatten();
                let rates = earlier.map(|moment| &moment["rates"]).chain([&picture["rates"]]);
                let rates = rates.map(|rates| rates["in_per_s"].as_f64().unwrap_or(0.0));
                self.rates.extend(rates.map(|rate| rate.round().max(0.0) as u64));
                while self.rates.len() > HISTORY {
                    self.rates.pop_front();
                }
                (self.picture, self.problem) = (picture, None);
            }
        }
    }

    pub(super) fn draw(&self, frame: &mut Frame) {
        let (peers, stages) = (self.peers(), self.stages());
        let rows = |list: &[Row]| list.len().max(1) as u16 + 2;
        let areas = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(3),
            Constraint::Length(4),
            Constraint::Length(rows(&peers)),
            Constraint::Length(rows(&stages)),
            Constraint::Min(3),
        ]);
        let [title, verdict, rates, peers_at, stages_at, recent] = areas.areas(frame.area());
        frame.render_widget(self.title(), title);
        frame.render_widget(self.verdict().wrap(Wrap { trim: true }), verdict);
        self.draw_rates(frame, rates);
        let heading = [
            "PEER", "STATE", "ZONE", "LEADS", "COPIES", "IN/S", "OUT/S", "CPU", "MEMORY", "FREE",
            "SYNC P99", "VERSION", "NOTE",
        ];
        let widths = [10, 8, 8, 5, 6, 7, 7, 5, 8, 8, 9, 8, 20];
        frame.render_widget(self.table(&heading, &widths, peers), peers_at);
        let heading =
            ["STAGE", "STATE", "EVENTS/S", "BACKLOG", "WATERMARK", "TASKS", "PARKED", "DEAD"];
        let widths = [28, 8, 9, 9, 14, 9, 12, 6];
        frame.render_widget(self.table(&heading, &widths, stages), stages_at);
        frame.render_widget(self.recent(recent.height), recent);
    }

    fn title(&self) -> Line<'_> {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let (epoch, copies) = (words(&self.picture["epoch"]), words(&self.picture["replication"]));
        Line::from(vec![
            Span::styled("shoal top", bold),
            Span::raw(format!("  {}  epoch {epoch}, {copies} copies each", self.base)),
            Span::raw("  q quits"),
        ])
    }

    fn verdict(&self) -> Paragraph<'_> {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        if let Some(problem) = &self.problem {
            let text = format!("{}; what you see is old. Asking again…", problem.what);
            return Paragraph::new(text).style(self.tone(Tone::Bad).patch(bold));
        }
        let health = &self.picture["health"];
        if health.is_null() {
            return Paragraph::new("gathering…");
        }
        let (shards, peers) = (&health["shards"], &health["peers"]);
        let tone = match (&health["healthy"], shards["led"] == shards["total"]) {
            (Value::Bool(true), _) => Tone::Good,
            (_, true) => Tone::Odd,
            _ => Tone::Bad,
        };
        let moving = self.list("ring").filter(|row| moves(row)).count();
        let counts = format!(
            "{} of {} shards led, {} under-replicated, {moving} on their way; {} of {} peers alive",
            words(&shards["led"]),
            words(&shards["total"]),
            words(&shards["under_replicated"]),
            words(&peers["alive"]),
            words(&peers["total"]),
        );
        let verdict = Line::styled(words(&health["verdict"]), self.tone(tone).patch(bold));
        Paragraph::new(vec![verdict, Line::raw(counts)])
    }

    fn draw_rates(&self, frame: &mut Frame, area: Rect) {
        let rates = &self.picture["rates"];
        let of = |name: &str| {
            format!("{} (p99 {})", ms(&rates[name]["p50_ms"]), ms(&rates[name]["p99_ms"]))
        };
        let lines = vec![
            Line::raw(format!(
                "events in {}/s ({}/s), out {}/s ({}/s), refused {}/s",
                count(&rates["in_per_s"]),
                bytes(&rates["bytes_in_per_s"]),
                count(&rates["out_per_s"]),
                bytes(&rates["bytes_out_per_s"]),
                count(&rates["refused_per_s"]),
            )),
            Line::raw(format!("acknowledged in {}, in the view in {}", of("append"), of("event"))),
            Line::raw(format!("on disk in {}", of("sync"))),
        ];
        let [text, chart] =
            Layout::horizontal([Constraint::Min(40), Constraint::Length(40)]).areas(area);
        frame.render_widget(Paragraph::new(lines), text);
        // The latest on the right.
        let shown = self.rates.len().min(usize::from(chart.width));
        let latest: Vec<u64> = self.rates.iter().skip(self.rates.len() - shown).copied().collect();
        let chart = Rect { height: chart.height.saturating_sub(1), ..chart };
        frame.render_widget(Sparkline::default().data(latest), chart);
    }

    fn peers(&self) -> Vec<Row<'static>> {
        let row = |peer: &Value| {
            let state = match (&peer["answers"], peer["state"].as_str()) {
                (Value::Bool(true), Some("alive")) => Tone::Good,
                (_, Some("gone")) => Tone::Bad,
                _ => Tone::Odd,
            };
            let load = &peer["load"];
            let full = if load["disk_full"] == true { " full!" } else { "" };
            let cpu = load["cpu"].as_f64().map_or("-".into(), |it| format!("{:.0}%", it * 100.0));
            let cells = [
                words(&peer["name"]),
                words(&peer["state"]),
                words(&peer["zone"]),
                words(&peer["leads"]),
                words(&peer["replicas"]),
                count(&load["in_per_s"]),
                count(&load["out_per_s"]),
                cpu,
                bytes(&load["memory"]),
                format!("{}{full}", bytes(&load["disk_free"])),
                ms(&load["sync_p99_ms"]),
                words(&peer["version"]),
                words(&peer["note"]),
            ];
            Row::new(cells).style(self.tone(state))
        };
        self.list("peers").take(PEERS_MAX).map(row).collect()
    }

    fn stages(&self) -> Vec<Row<'static>> {
        let now = self.picture["at_ms"].as_i64().unwrap_or(0);
        let row = |pipeline: &Value, stage: &Value| {
            let parked = !stage["parked"].as_array().is_none_or(Vec::is_empty);
            let tone = match (&pipeline["state"], parked) {
                (_, true) => Tone::Bad,
                (Value::String(state), _) if state == "running" => Tone::Good,
                _ => Tone::Odd,
            };
            let mark = stage["watermark_ms"].as_i64();
            let mark = mark.map_or("none yet".to_owned(), |mark| match ago(mark, now) {
                age if age == "now" => age,
                age => format!("{age} old"),
            });
            let cells = [
                format!("{}.{}", words(&pipeline["name"]), words(&stage["name"])),
                words(&pipeline["state"]),
                count(&stage["per_s"]),
                count(&stage["backlog"]),
                mark,
                format!("{} of {}", words(&stage["running"]), words(&stage["buckets"])),
                words(&stage["parked"]),
                count(&stage["dead_events"]),
            ];
            Row::new(cells).style(self.tone(tone))
        };
        let stages = self.list("pipelines").flat_map(|pipeline| {
            let stages = pipeline["stages"].as_array().into_iter().flatten();
            stages.map(move |stage| row(pipeline, stage))
        });
        stages.take(STAGES_MAX).collect()
    }

    fn recent(&self, height: u16) -> Paragraph<'static> {
        let now = self.picture["at_ms"].as_i64().unwrap_or(0);
        let line = |it: &Value| {
            let at = ago(it["at_ms"].as_i64().unwrap_or(now), now);
            Line::raw(format!("{at:>7}  {:<12} {}", self.name(&it["peer"]), words(&it["text"])))
        };
        let heading = Line::styled("RECENT", Style::new().add_modifier(Modifier::BOLD));
        let all = self.list("recent").map(line);
        Paragraph::new([heading].into_iter().chain(all).take(height.into()).collect::<Vec<_>>())
    }

    fn table(
        &self,
        heading: &[&'static str],
        widths: &[u16],
        rows: Vec<Row<'static>>,
    ) -> Table<'static> {
        let rows = match rows.is_empty() {
            true => vec![Row::new(["none"])],
            false => rows,
        };
        let heading = heading.iter().copied().map(Span::raw);
        let heading = Row::new(heading).style(Style::new().add_modifier(Modifier::BOLD));
        Table::new(rows, widths.iter().copied().map(Constraint::Length)).header(heading)
    }

    fn list(&self, field: &str) -> impl Iterator<Item = &Value> {
        self.picture[field].as_array().into_iter().flatten()
    }

    fn name(&self, id: &Value) -> String {
        let found = self.list("peers").find(|peer| peer["id"] == *id);
        found.map_or(format!("p{}", plain(&id.to_string())), |peer| words(&peer["name"]))
    }

    fn tone(&self, tone: Tone) -> Style {
        match (self.coloured, tone) {
            (false, _) | (_, Tone::Good) => Style::new(),
            (true, Tone::Odd) => Style::new().fg(Color::Yellow),
            (true, Tone::Bad) => Style::new().fg(Color::Red),
        }
    }
}

/// Whether a shard is not yet where the ring wants it.
fn moves(row: &Value) -> bool {
    let ids = |of: &str| {
        let ids = row[of].as_array().into_iter().flatten().filter_map(Value::as_i64);
        let mut ids: Vec<i64> = ids.collect();
        ids.sort_unstable();
        ids
    };
    ids("voters") != ids("target") || !ids("learners").is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    fn picture() -> Value {
        let load = json!({"in_per_s": 12_345.0, "out_per_s": 3.46, "cpu": 0.5, "memory": 104_857_600u64,
            "disk_free": 1_073_741_824u64, "disk_full": true, "sync_p99_ms": 2.8, "up_s": 9});
        let stage = json!({"name": "word_counts", "parked": [3, 7], "running": 14, "buckets": 16,
            "per_s": 250.0, "backlog": 12_000, "watermark_ms": null, "dead_events": 2});
        json!({
            "at_ms": 1_000_000, "epoch": 4, "replication": 3,
            "health": {"verdict": "the mesh works, but: peers that do not answer: p2", "healthy": false,
                "shards": {"total": 64, "led": 64, "under_replicated": 64}, "peers": {"alive": 2, "total": 3}},
            "rates": {"in_per_s": 12_345.0, "append": {"p50_ms": 1.4, "p99_ms": 5.7}},
            "peers": [
                {"id": 1, "name": "p1", "state": "alive", "answers": true, "zone": "a", "leads": 34,
                 "replicas": 64, "version": "0.1.0", "load": load},
                {"id": 2, "name": "p2", "state": "gone", "answers": false, "note": "gone\u{1b}[2J"},
            ],
            "ring": [{"shard": 0, "voters": [1, 2], "learners": [], "target": [2, 1]},
                     {"shard": 1, "voters": [1, 2], "learners": [3], "target": [2, 3]}],
            "pipelines": [{"name": "words", "state": "running", "stages": [stage]}],
            "recent": [{"at_ms": 988_000, "peer": 1, "text": "p2 is gone"}],
            "history": [{"at_ms": 1, "rates": {"in_per_s": 5.0}}],
        })
    }

    fn drawn(screen: &Screen) -> (String, bool) {
        let mut terminal = Terminal::new(TestBackend::new(140, 24)).expect("memory");
        terminal.draw(|frame| screen.draw(frame)).expect("memory");
        let buffer = terminal.backend().buffer();
        let coloured = buffer.content().iter().any(|cell| cell.fg != Color::Reset);
        (terminal.backend().to_string(), coloured)
    }

    #[test]
    fn a_picture_says_everything_in_words_and_colours_only_repeat_them() {
        let mut screen = Screen::new("http://127.0.0.1:8080".into(), true);
        assert!(drawn(&screen).0.contains("gathering"));
        screen.take(Ok(picture()));
        let (text, coloured) = drawn(&screen);
        for words in [
            "the mesh works, but: peers that do not answer: p2",
            "64 of 64 shards led, 64 under-replicated, 1 on their way; 2 of 3 peers alive",
            "events in 12.3k/s",
            "acknowledged in 1.4 ms (p99 5.7 ms), in the view in - (p99 -)",
            "p1         alive    a        34    64     12.3k   3.5     50%   100 MiB  1 GiB fu",
            "p2         gone",
            "gone\\u{1b}[2J",
            "words.word_counts            running  250       12.0k     none yet       14 of 16  3,7",
            "12 s  p1           p2 is gone",
        ] {
            assert!(text.contains(words), "{words:?} is missing in\n{text}");
        }
        assert!(coloured, "what is gone is red");
        assert_eq!(screen.rates, [5, 12_345]);
        let mut plain = Screen::new("x".into(), false);
        plain.take(Ok(picture()));
        let (same, coloured) = drawn(&plain);
        assert!(!coloured && same.lines().skip(1).eq(text.lines().skip(1)), "{same}");
    }

    #[test]
    fn a_peer_that_ends_is_told_above_the_last_picture() {
        let mut screen = Screen::new("x".into(), false);
        screen.take(Ok(picture()));
        screen.take(Err(Problem::new("SH0101", "x sends nothing any more", "it stops", "wait")));
        let (text, _) = drawn(&screen);
        assert!(text.contains("x sends nothing any more; what you see is old"), "{text}");
        assert!(text.contains("words.word_counts"), "{text}");
        screen.take(Ok(picture()));
        assert!(!drawn(&screen).0.contains("is old"));
    }
}
