//! Files and functions that a reader can keep in mind.

use std::collections::BTreeMap;

use super::sources::{Source, sources};

/// Lines of a file without its tests, comments included.
const FILE: usize = 400;
/// Lines of a function, from its name to its end.
const FUNCTION: usize = 60;

/// Longer files, and why.
const LONG_FILES: &[(&str, &str)] = &[];
/// Longer functions, and why.
const LONG_FUNCTIONS: &[(&str, &str)] = &[("src/worker.rs run", "not split yet")];

#[test]
fn no_file_is_longer_than_a_reader_can_keep_in_mind() {
    let lengths = sources().into_iter().map(|source| {
        let length = source.lines.last().map_or(0, |(number, _)| *number);
        (source.place(), length)
    });
    check(lengths.collect(), FILE, LONG_FILES);
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let lengths = sources().iter().flat_map(functions).collect();
    check(lengths, FUNCTION, LONG_FUNCTIONS);
}

fn check(mut lengths: BTreeMap<String, usize>, most: usize, known: &[(&str, &str)]) {
    lengths.retain(|_, length| *length > most);
    for (name, reason) in known {
        let was_long = lengths.remove(*name).is_some();
        assert!(was_long, "{name} is short; not needed any more: {reason}");
    }
    assert!(lengths.is_empty(), "longer than {most} lines: {lengths:#?}");
}

/// The functions of a file with their lengths. As rustfmt writes them, one ends with the brace that
/// stands as far in as it begins.
fn functions(source: &Source) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut open: Vec<(String, usize, usize)> = Vec::new();
    for (number, line) in &source.lines {
        let indent = line.len() - line.trim_start().len();
        if let Some(name) = function(line) {
            let name = format!("{} {name}", source.place());
            open.push((name, indent, *number));
        }
        let code = line.trim();
        if let Some((_, of, start)) = open.last()
            && *of == indent
            && (code == "}" || start == number && code.ends_with(['}', ';']))
            && let Some((name, _, start)) = open.pop()
        {
            found.push((name, number + 1 - start));
        }
    }
    found
}

/// The name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let known = [
        "pub",
        "pub(crate)",
        "pub(super)",
        "async",
        "const",
        "unsafe",
    ];
    let first = words.find(|word| !known.contains(word))?;
    let name = (first == "fn").then(|| words.next())??;
    name.split(['(', '<']).next()
}
