//! Numbers of the picture as people read them at a glance.

use serde_json::Value;

/// A count or rate: `0`, `3.5`, `812`, `12.3k`, `1.2M`.
pub(super) fn count(value: &Value) -> String {
    let Some(number) = value.as_f64() else { return "-".to_owned() };
    match number {
        n if n >= 1e6 => format!("{:.1}M", n / 1e6),
        n if n >= 1e4 => format!("{:.1}k", n / 1e3),
        n if n >= 10.0 || n == n.trunc() => format!("{n:.0}"),
        n => format!("{n:.1}"),
    }
}

/// Bytes with two or three digits.
pub(super) fn bytes(value: &Value) -> String {
    let Some(number) = value.as_f64() else { return "-".to_owned() };
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = (0..units.len() - 1).find(|step| number < 1024f64.powi(*step as i32 + 1));
    let step = step.unwrap_or(units.len() - 1);
    format!("{:.0} {}", number / 1024f64.powi(step as i32), units[step])
}

/// Milliseconds, or `-` where nothing was measured.
pub(super) fn ms(value: &Value) -> String {
    value.as_f64().map_or("-".to_owned(), |ms| format!("{ms:.1} ms"))
}

/// How long ago a time was: `now`, `12 s`, `3 min`, `5 h`, `9 d`.
pub(super) fn ago(then_ms: i64, now_ms: i64) -> String {
    let seconds = (now_ms - then_ms).max(0) / 1_000;
    match seconds {
        0 => "now".to_owned(),
        s if s < 120 => format!("{s} s"),
        s if s < 7_200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_short() {
        let counts = [0.0, 3.46, 812.4, 9_999.0, 12_345.0, 1_234_567.0].map(|n| count(&json!(n)));
        assert_eq!(counts, ["0", "3.5", "812", "9999", "12.3k", "1.2M"]);
        let sizes = [0u64, 1023, 1 << 20, 31 << 30, 5 << 40].map(|n| bytes(&json!(n)));
        assert_eq!(sizes, ["0 B", "1023 B", "1 MiB", "31 GiB", "5 TiB"]);
        assert_eq!([count(&Value::Null), bytes(&Value::Null), ms(&Value::Null)], ["-"; 3]);
        let ages = [0, 59_000, 600_000, 7_200_000, 1_000_000_000].map(|age| ago(0, age));
        assert_eq!(ages, ["now", "59 s", "10 min", "2 h", "11 d"]);
    }
}
