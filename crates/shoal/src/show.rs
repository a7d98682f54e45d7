//! What people see: tables, JSON, and values in words.
//!
//! Promises plain text without colour, and that a reader who goes away early (`| head`) is no error.

use crate::yaml::yaml;
use clap::ValueEnum;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;
use std::io::Write;

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    #[default]
    Table,
    Json,
    Yaml,
}

/// Prints text and ends the line.
pub(crate) fn print(text: &str) {
    // Who does not read any more does not miss anything.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints an answer: as it came for programs, else as what `table` makes of it.
pub(crate) fn answer(output: Output, value: &Value, table: impl FnOnce(&Value) -> String) {
    match output {
        Output::Json => print(&format!("{value:#}")),
        Output::Yaml => print(&yaml(value)),
        Output::Table => print(&table(value)),
    }
}

/// Columns with a heading, padded with spaces.
pub(crate) fn table(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(heading.iter().copied());
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// A table of one row for each element of a list, a column for each (heading, field).
pub(crate) fn list(elements: &Value, columns: &[(&str, &str)]) -> String {
    let heading: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    let row = |element: &Value| columns.iter().map(|(_, field)| words(&element[*field])).collect();
    table(&heading, elements.as_array().into_iter().flatten().map(row))
}

/// A value as people write it: a text without quotes, nothing as "-", a list with commas. Control characters are
/// escaped: what a stranger wrote into a stream must not steer the terminal.
pub(crate) fn words(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => plain(text),
        Value::Array(list) if list.is_empty() => "-".to_owned(),
        Value::Array(list) => list.iter().map(words).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Text whose control characters are escaped.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_padded_and_has_no_trailing_spaces() {
        let members = json!([
            {"id": 1, "name": "p1", "zone": "", "pipelines": ["a v1", "b v2"]},
            {"id": 12, "name": "harbour", "zone": "z", "pipelines": []},
        ]);
        let columns = [("ID", "id"), ("NAME", "name"), ("ZONE", "zone"), ("RUNS", "pipelines")];
        let shown = list(&members, &columns);
        assert_eq!(
            shown,
            "ID  NAME     ZONE  RUNS\n1   p1       -     a v1,b v2\n12  harbour  z     -"
        );
    }

    #[test]
    fn a_value_cannot_steer_the_terminal() {
        assert_eq!(words(&json!("a\u{1b}[2J\nb")), "a\\u{1b}[2J\\nb");
        assert_eq!(words(&json!(null)), "-");
        assert_eq!(words(&json!({"a": 1})), "{\"a\":1}");
    }
}
