//! The sources of both packages, without comments and without their tests.

use std::fs;
use std::path::{Path, PathBuf};

/// One file.
pub(crate) struct Source {
    /// Whether it is of the pure core's package.
    pub(crate) is_core: bool,
    /// Relative to `src`, with slashes.
    pub(crate) path: String,
    /// Without comments and without the tests at the end.
    pub(crate) lines: Vec<(usize, String)>,
}

impl Source {
    /// Where it is in the repository.
    pub(crate) fn place(&self) -> String {
        let package = if self.is_core { "core/src/" } else { "src/" };
        format!("{package}{}", self.path)
    }

    /// The module at the top that it belongs to.
    pub(crate) fn module(&self) -> &str {
        let end = self.path.find(['/', '.']).unwrap_or(self.path.len());
        &self.path[..end]
    }
}

/// All files of both packages.
pub(crate) fn sources() -> Vec<Source> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = sources_below(&project.join("src"), false);
    found.extend(sources_below(&project.join("core/src"), true));
    assert!(found.len() > 20, "the sources were found");
    found
}

fn sources_below(root: &Path, is_core: bool) -> Vec<Source> {
    let mut folders = vec![root.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be listed") {
            let path = entry.expect("src can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(source(root, &path, is_core));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn source(root: &Path, path: &PathBuf, is_core: bool) -> Source {
    let text = fs::read_to_string(path).expect("a source is text");
    let relative = path.strip_prefix(root).expect("it is below src");
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    let lines = (1..)
        .zip(text.lines())
        .take_while(|(_, line)| {
            !line.trim().starts_with("#[cfg(test)]") && !line.trim().starts_with("#[cfg(all(test")
                || line.starts_with(' ')
        })
        .map(|(number, line)| {
            let code = line.split("//").next().unwrap_or_default();
            (number, code.to_owned())
        });
    Source {
        is_core,
        path: parts.join("/"),
        lines: lines.collect(),
    }
}
