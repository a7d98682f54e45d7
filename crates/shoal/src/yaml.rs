//! JSON as YAML 1.2: indented lines, texts in quotes wherever they could be taken for something else.

use serde_json::Value;

/// The whole document, without a last line end.
pub(crate) fn yaml(value: &Value) -> String {
    let mut text = String::new();
    put(value, 0, false, &mut text);
    text.trim_start_matches('\n').to_owned()
}

/// Appends a value; `hangs` if it begins behind a dash, on the same line.
fn put(value: &Value, depth: usize, hangs: bool, text: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (at, (key, value)) in map.iter().enumerate() {
                if at > 0 || !hangs {
                    line(depth, text);
                }
                text.push_str(&format!("{}:", scalar(&Value::String(key.clone()))));
                below(value, depth + 1, text);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (at, value) in list.iter().enumerate() {
                if at > 0 || !hangs {
                    line(depth, text);
                }
                text.push('-');
                match is_flat(value) {
                    true => text.push_str(&format!(" {}", scalar(value))),
                    false => {
                        text.push(' ');
                        put(value, depth + 1, true, text);
                    }
                }
            }
        }
        flat => text.push_str(&scalar(flat)),
    }
}

fn below(value: &Value, depth: usize, text: &mut String) {
    match is_flat(value) {
        true => text.push_str(&format!(" {}", scalar(value))),
        false => put(value, depth, false, text),
    }
}

fn is_flat(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => true,
    }
}

fn line(depth: usize, text: &mut String) {
    text.push('\n');
    text.push_str(&"  ".repeat(depth));
}

fn scalar(value: &Value) -> String {
    match value {
        // Words that start with a letter and hold nothing odd mean themselves, but for a few.
        Value::String(text) if is_plain(text) => text.clone(),
        // JSON's text form is YAML's, in double quotes.
        other => other.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    const TAKEN: [&str; 10] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan"];
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let all = text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    first && all && !TAKEN.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_maps_and_odd_texts_are_written_so_that_they_come_back() {
        let value = json!({"a": [1, {"b": "x y", "c": []}, [2, 3]], "d": {}, "on": "no", "e": null,
                           "f": {"g": "1.5"}});
        let expected = "a:\n  - 1\n  - b: \"x y\"\n    c: []\n  - - 2\n    - 3\nd: {}\ne: null\n\
                        f:\n  g: \"1.5\"\n\"on\": \"no\"";
        assert_eq!(yaml(&value), expected);
        assert_eq!(yaml(&json!("plain")), "plain");
        assert_eq!(yaml(&json!([])), "[]");
    }
}
