//! One type per name, in both packages.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::sources;

/// Names that two types have, and why.
const SHARED: &[(&str, &str)] = &[];

/// What the standard library's and others' traits want types to be called.
const ASSOCIATED: [&str; 6] = ["Data", "Err", "Error", "Output", "Target", "Value"];

#[test]
fn no_two_types_have_one_name() {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        for (number, line) in &source.lines {
            if let Some(name) = declared(line) {
                let place = format!("{}:{number}", source.place());
                places.entry(name.to_owned()).or_default().insert(place);
            }
        }
    }
    places.retain(|_, all| all.len() > 1);
    let new: Vec<_> = places
        .iter()
        .filter(|(name, _)| SHARED.iter().all(|(shared, _)| shared != name))
        .collect();
    assert!(new.is_empty(), "one name for two types: {new:#?}");
    for (name, reason) in SHARED {
        assert!(
            places.contains_key(*name),
            "{name} is one type only; not shared, though: {reason}"
        );
    }
}

/// The type that a line declares; not one that a trait's implementation has to name.
fn declared(line: &str) -> Option<&str> {
    let mut words = line
        .split_whitespace()
        .filter(|word| !word.starts_with("pub"));
    let kind = words.next()?;
    let name = words.next()?;
    let end = name.find(|c: char| !c.is_ascii_alphanumeric());
    let name = &name[..end.unwrap_or(name.len())];
    let is_type = ["struct", "enum", "trait", "type", "union"].contains(&kind)
        && name.starts_with(|c: char| c.is_ascii_uppercase());
    let is_associated = kind == "type" && line.starts_with(' ') && ASSOCIATED.contains(&name);
    (is_type && !is_associated).then_some(name)
}
