//! No circle of imports, from file to file.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{Source, sources};

/// Which files of a package each of them imports from.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let (core, shell): (Vec<_>, Vec<_>) = sources.iter().partition(|source| source.is_core);
    let mut found = circles(&imports(&core));
    found.extend(circles(&imports(&shell)));
    assert!(found.is_empty(), "these import each other: {found:#?}");
}

fn imports(sources: &[&Source]) -> Imports {
    let places: BTreeMap<Vec<String>, String> = sources
        .iter()
        .map(|source| (module_path(&source.path), source.place()))
        .collect();
    let each = sources.iter().map(|source| {
        let own = module_path(&source.path);
        let named = paths(source).into_iter().filter_map(|path| {
            let path = absolute(&own, &path, &places)?;
            // The deepest module that is a file; what comes after it is an item.
            (0..=path.len())
                .rev()
                .find_map(|end| places.get(&path[..end]))
        });
        let others = named.filter(|place| **place != source.place()).cloned();
        (source.place(), others.collect())
    });
    each.collect()
}

/// `a/b.rs` is `a::b`; the file of the crate has no name.
fn module_path(file: &str) -> Vec<String> {
    let name = file.trim_end_matches(".rs");
    match name {
        "lib" | "main" => Vec::new(),
        _ => name.split('/').map(str::to_owned).collect(),
    }
}

/// A path as it is written in the module `own`, from the crate on; nothing if it is another crate's.
fn absolute(
    own: &[String],
    path: &[String],
    places: &BTreeMap<Vec<String>, String>,
) -> Option<Vec<String>> {
    let ups = path.iter().take_while(|word| *word == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" => Some([&own[..own.len().checked_sub(ups)?], &path[ups..]].concat()),
        "self" => Some([own, &path[1..]].concat()),
        // A module of its own.
        first => {
            let child = [own, &[first.to_owned()]].concat();
            places.contains_key(&child).then(|| [own, path].concat())
        }
    }
}

/// Every path to be followed: those of `use`, and those that stand in the code.
fn paths(source: &Source) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut statement = String::new();
    for (_, line) in &source.lines {
        let code = line.trim();
        let is_use = code
            .strip_prefix("pub")
            .is_some_and(|rest| rest.contains(" use "))
            || code.starts_with("use ");
        // `super` within a module that is no file is this one's.
        if statement.is_empty() && is_use && !(line.starts_with(' ') && code.contains("super::")) {
            let at = code.find("use ").map_or(0, |at| at + 4);
            statement = code[at..].to_owned();
        } else if !statement.is_empty() {
            statement.push_str(code);
        } else {
            found.extend(inline(code));
        }
        if statement.ends_with(';') {
            let tree = std::mem::take(&mut statement);
            expand(&[], tree.trim_end_matches(';'), &mut found);
        }
    }
    found
}

/// Paths within a line of code: what has `::` in it and follows no other such path. Whom an item is
/// shown to is no import.
fn inline(code: &str) -> impl Iterator<Item = Vec<String>> {
    let shown_to = code.strip_prefix("pub(in ");
    let code = shown_to.map_or(code, |rest| {
        rest.split_once(')').map_or("", |(_, item)| item)
    });
    let words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let paths = words.filter(|word| word.contains("::") && !word.starts_with("super::"));
    paths.map(|path| path.split("::").map(str::to_owned).collect())
}

/// The paths of a `use` tree below `prefix`.
fn expand(prefix: &[String], tree: &str, found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    if let Some((head, rest)) = tree.split_once('{') {
        let mut prefix = prefix.to_vec();
        let words = head
            .split("::")
            .map(str::trim)
            .filter(|word| !word.is_empty());
        prefix.extend(words.map(str::to_owned));
        for branch in branches(rest.strip_suffix('}').unwrap_or(rest)) {
            expand(&prefix, branch, found);
        }
    } else if !tree.is_empty() {
        let path = tree.split(" as ").next().unwrap_or_default();
        let words = path.split("::").map(|word| word.trim().to_owned());
        found.push(prefix.iter().cloned().chain(words).collect());
    }
}

/// What stands between commas, but for those within braces.
fn branches(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut all) = (0_u32, 0, Vec::new());
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                all.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    all.push(&list[start..]);
    all
}

/// Files that can each reach all others of theirs.
fn circles(imports: &Imports) -> BTreeSet<Vec<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = imports
        .keys()
        .map(|file| (file, reached(file, imports)))
        .collect();
    let circle = |file: &String| -> Vec<String> {
        let mutual = reach[file]
            .iter()
            .filter(|other| reach[**other].contains(file));
        mutual.map(|other| (*other).clone()).collect()
    };
    imports
        .keys()
        .map(circle)
        .filter(|files| files.len() > 1)
        .collect()
}

fn reached<'a>(from: &'a String, imports: &'a Imports) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut next = vec![from];
    while let Some(file) = next.pop() {
        for other in &imports[file] {
            if found.insert(other) {
                next.push(other);
            }
        }
    }
    found
}
