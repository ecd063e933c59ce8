//! The nearest of some names to a word that is none of them.

/// Returns the name that `word` was probably meant to be: one with few typing errors, or one that continues
/// the word.
pub(super) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // In a short word, two errors make another word.
    let errors_max = if word.chars().count() < 5 { 1 } else { 2 };
    let errors =
        |name: &str| if word.len() >= 3 && name.starts_with(word) { 1 } else { distance(word, name) };
    names
        .into_iter()
        .map(|name| (errors(name), name))
        .filter(|(errors, _)| *errors <= errors_max)
        .min()
        .map(|(_, name)| name)
}

/// The number of typing errors between two words: letters that are missing, added, wrong, or swapped with a
/// neighbour (optimal string alignment distance).
fn distance(one: &str, two: &str) -> usize {
    let (one, two): (Vec<char>, Vec<char>) = (one.chars().collect(), two.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=two.len()).collect()];
    for at in 1..=one.len() {
        let mut row = vec![at];
        for to in 1..=two.len() {
            let replaced = rows[at - 1][to - 1] + usize::from(one[at - 1] != two[to - 1]);
            let mut least = replaced.min(rows[at - 1][to] + 1).min(row[to - 1] + 1);
            if at > 1 && to > 1 && one[at - 1] == two[to - 2] && one[at - 2] == two[to - 1] {
                least = least.min(rows[at - 2][to - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][two.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_counted() {
        for (one, two, errors) in [
            ("", "", 0),
            ("a", "", 1),
            ("conut", "count", 1),
            ("staus", "status", 1),
            ("verfiy", "verify", 1),
            ("abc", "xyz", 3),
        ] {
            assert_eq!((distance(one, two), distance(two, one)), (errors, errors), "{one} {two}");
        }
    }

    #[test]
    fn the_nearest_name_is_found_and_others_are_not() {
        let names = ["serve", "count", "verify", "status", "report", "store", "healthcheck", "man"];
        for (word, name) in [
            ("conut", "count"),
            ("staus", "status"),
            ("reprot", "report"),
            ("health", "healthcheck"),
            ("mna", "man"),
            ("Count", "count"),
        ] {
            assert_eq!(nearest(word, names), Some(name), "{word}");
        }
        for word in ["logs", "files", "frobnicate", "nginx", "", "s", "mn x"] {
            assert_eq!(nearest(word, names), None, "{word}");
        }
    }
}
