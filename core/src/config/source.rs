//! Reads the main file and those it includes, and joins them to one tree.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::problem::{Problem, ProblemSink, Span};
use crate::config::scalar::Scalar;
use crate::config::tree::{self, TomlEntry, TomlTable, TomlValue};
use crate::table::Written;

/// More files than this are a pattern gone wrong.
const MOST_FILES: usize = 1000;

/// How the loader reaches the world, so that it can be given any.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// The text of a file.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// The paths of a directory's files, in any order, each beginning with the directory as given.
    pub list: &'a dyn Fn(&Path) -> io::Result<Vec<PathBuf>>,
    /// A variable of the environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// A file of the configuration, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    /// Its path, as it was named.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// The files as read, and where their lines begin.
#[derive(Debug, Default)]
pub(super) struct SourceFiles {
    pub(super) texts: Vec<SourceText>,
    line_starts: Vec<Vec<usize>>,
}

impl SourceFiles {
    /// The file and line of the beginning of `span`.
    pub(super) fn written(&self, span: Span) -> Written {
        let starts = self.line_starts.get(usize::from(span.file));
        let line = starts.map_or(0, |starts| {
            starts.partition_point(|start| *start <= span.start)
        });
        Written {
            file: span.file,
            line: u32::try_from(line).unwrap_or(u32::MAX),
        }
    }

    /// `path` as written at `span`, relative to the file that holds it.
    pub(super) fn relative(&self, path: &str, span: Span) -> PathBuf {
        let file = self.texts.get(usize::from(span.file));
        let folder = file.and_then(|file| file.path.parent());
        folder.map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
    }

    fn add(&mut self, path: PathBuf, text: String) -> u16 {
        let newlines = text.match_indices('\n').map(|(newline, _)| newline + 1);
        self.line_starts
            .push(std::iter::once(0).chain(newlines).collect());
        self.texts.push(SourceText { path, text });
        u16::try_from(self.texts.len() - 1).unwrap_or(u16::MAX)
    }
}

/// The main file with all that it includes, as one tree; `None` when it cannot be read.
pub(super) fn read(
    main: &Path,
    reader: &Reader<'_>,
    report: &ProblemSink,
) -> (SourceFiles, Option<(TomlTable, Span)>) {
    let mut sources = SourceFiles::default();
    let text = match (reader.read)(main) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("{}: {}", main.display(), reason(&error));
            report.push(Problem::error("unreadable", None, message));
            return (sources, None);
        }
    };
    let file = sources.add(main.to_owned(), text);
    let (mut root, span) = tree::parse(&sources.texts[0].text, file, reader.env, report);
    for (path, named_at) in included(&root, &sources, reader, report) {
        let text = match (reader.read)(&path) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("{}: {}", path.display(), reason(&error));
                report.error("unreadable", named_at, message);
                continue;
            }
        };
        let file = sources.add(path, text);
        let text = &sources.texts[usize::from(file)].text;
        let (table, _) = tree::parse(text, file, reader.env, report);
        merge(&mut root, table, &sources, report);
    }
    (sources, Some((root, span)))
}

/// The files that the root's `include` names, each once, those of one pattern in order of their
/// names. Values of another type are left to the reader of the root section.
fn included(
    root: &TomlTable,
    sources: &SourceFiles,
    reader: &Reader<'_>,
    report: &ProblemSink,
) -> Vec<(PathBuf, Span)> {
    let Ok(at) = tree::position(root, "include") else {
        return Vec::new();
    };
    let TomlValue::Array(patterns) = &root[at].node.value else {
        return Vec::new();
    };
    let mut files: Vec<(PathBuf, Span)> = Vec::new();
    for node in patterns {
        let TomlValue::Scalar(Scalar::Text(pattern)) = &node.value else {
            continue;
        };
        let path = sources.relative(pattern, node.span);
        for path in matching(&path, node.span, reader, report) {
            if files.len() >= MOST_FILES {
                let message = format!("more than {MOST_FILES} files are included");
                report.error("bad-include", node.span, message);
                return files;
            }
            let is_main = sources.texts.iter().any(|source| source.path == path);
            if !is_main && files.iter().all(|(known, _)| *known != path) {
                files.push((path, node.span));
            }
        }
    }
    files
}

/// The files that `path` stands for. Only its last step may hold `*` and `?`; a pattern that
/// matches nothing is fine, a plain name must exist.
fn matching(path: &Path, span: Span, reader: &Reader<'_>, report: &ProblemSink) -> Vec<PathBuf> {
    let wild = |text: &str| text.contains(['*', '?']);
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let name = path.file_name().map(|name| name.to_string_lossy());
    let Some(name) = name else {
        report.error("bad-include", span, "this names no file");
        return Vec::new();
    };
    if wild(&folder.to_string_lossy()) {
        report.push(
            Problem::error(
                "bad-include",
                Some(span),
                "only a file's name may be a pattern",
            )
            .help("list each folder: include = [\"a/*.toml\", \"b/*.toml\"]"),
        );
        return Vec::new();
    }
    if !wild(&name) {
        return vec![path.to_owned()];
    }
    match (reader.list)(folder) {
        Ok(mut paths) => {
            paths.retain(|path| {
                path.file_name()
                    .is_some_and(|file| glob(&name, &file.to_string_lossy()))
            });
            paths.sort();
            paths
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let message = format!("{}: {}", folder.display(), reason(&error));
            report.error("unreadable", span, message);
            Vec::new()
        }
    }
}

/// Whether `name` fits `pattern`, where `*` stands for any letters and `?` for one. As in a shell
/// a leading dot must be written.
fn glob(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // After a mismatch, the last star takes one letter more: no deeper return is ever needed.
    let (mut at, mut letter, mut star) = (0, 0, None);
    while letter < name.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, letter));
            at += 1;
        } else if pattern
            .get(at)
            .is_some_and(|p| *p == '?' || *p == name[letter])
        {
            at += 1;
            letter += 1;
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            at = star_at + 1;
            letter = taken + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|p| *p == '*')
}

/// Adds what an included file holds: listeners and routes after those of before, regions beside
/// them, and a section only if no file before wrote it.
fn merge(root: &mut TomlTable, included: TomlTable, sources: &SourceFiles, report: &ProblemSink) {
    for entry in included {
        if entry.name == "include" {
            report.push(
                Problem::error(
                    "bad-include",
                    Some(entry.key),
                    "an included file cannot include others",
                )
                .help("name the file in the main file's `include`"),
            );
            continue;
        }
        match tree::position(root, &entry.name) {
            Ok(at) => join(&mut root[at], entry, sources, report),
            Err(at) => root.insert(at, entry),
        }
    }
}

fn join(before: &mut TomlEntry, after: TomlEntry, sources: &SourceFiles, report: &ProblemSink) {
    match (&mut before.node.value, after.node.value) {
        (TomlValue::Array(items), TomlValue::Array(more)) => items.extend(more),
        (TomlValue::Table(table), TomlValue::Table(more)) if after.name == "region" => {
            for entry in more {
                match tree::position(table, &entry.name) {
                    Err(at) => table.insert(at, entry),
                    Ok(at) => {
                        let name = format!("region `{}`", entry.name);
                        duplicate(&name, table[at].key, entry.key, sources, report);
                    }
                }
            }
        }
        _ => {
            let name = format!("`{}`", after.name);
            duplicate(&name, before.key, after.key, sources, report);
        }
    }
}

fn duplicate(what: &str, first: Span, second: Span, sources: &SourceFiles, report: &ProblemSink) {
    let Written { file, line } = sources.written(first);
    let file = sources.texts[usize::from(file)].path.display();
    let message = format!("{what} is already written at {file}:{line}");
    report.error("duplicate-key", second, message);
}

/// An I/O error without the number of the operating system.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission to read it".to_owned(),
        io::ErrorKind::InvalidData => "not UTF-8 text".to_owned(),
        io::ErrorKind::IsADirectory => "a directory, not a file".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_pattern_matches_names_as_a_shell_would() {
        assert!(glob("*.toml", "a.toml"));
        assert!(glob("*a*b?.toml", "xaxabbc.toml"));
        assert!(!glob("*.toml", "a.toml.bak"));
        assert!(!glob("*.toml", ".hidden.toml"));
        assert!(!glob("?.toml", ".toml"));
        assert!(glob("**", "x"));
    }
}
