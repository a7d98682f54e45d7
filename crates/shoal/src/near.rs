//! The nearest right word for a wrong one.

/// A word further off than this is not what was meant.
const DISTANCE_MAX: usize = 3;

/// The known word that `word` was probably meant to be. A dotted word is also compared by its last part.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let far = |known: &str| {
        let known = known.to_lowercase();
        let tail = known.rsplit('.').next().unwrap_or(&known);
        distance(&word, &known).min(distance(&word, tail))
    };
    let (far, best) = known.into_iter().map(|known| (far(known), known)).min()?;
    (far <= DISTANCE_MAX && far * 2 <= word.len().max(2)).then_some(best)
}

/// Edits between two words (Levenshtein 1966); two neighbouring letters swapped count as one.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_nonsense_is_not() {
        let known = ["mesh.port", "mesh.token", "kafka.port", "peer.weight"];
        assert_eq!(nearest("mesh.tokne", known), Some("mesh.token"));
        assert_eq!(nearest("KAFKA.PRT", known), Some("kafka.port"));
        assert_eq!(nearest("wieght", known), Some("peer.weight"));
        assert_eq!(nearest("sh031", ["SH0001", "SH0301"]), Some("SH0301"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("x", known), None);
    }
}
