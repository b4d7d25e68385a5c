//! Counts by kind, where somebody else says what the kinds are.

use std::collections::BTreeMap;

/// Kinds that are told apart; the rest is counted as one.
const KINDS: usize = 16;

/// Counts one more of a kind; of kinds there may be only so many.
pub(crate) fn add(counts: &mut BTreeMap<String, u64>, kind: &str) {
    if let Some(count) = counts.get_mut(kind) {
        *count += 1;
        return;
    }
    let kind = if counts.len() < KINDS { kind } else { "others" };
    *counts.entry(kind.to_owned()).or_default() += 1;
}

/// The counts in one line, `-` for none.
pub(crate) fn counts(kinds: &BTreeMap<String, u64>) -> String {
    let all = kinds.iter().map(|(kind, count)| format!("{kind} {count}"));
    match kinds.is_empty() {
        true => "-".to_owned(),
        false => all.collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_bounded() {
        let mut counts = BTreeMap::new();
        for number in 0..100 {
            add(&mut counts, &number.to_string());
        }
        assert_eq!(counts.len(), KINDS + 1);
        assert_eq!(counts["others"], 100 - KINDS as u64);
    }
}
