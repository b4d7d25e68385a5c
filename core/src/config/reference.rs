//! The reference of all keys, as `docs/configuration.md` holds it.

use std::fmt::Write as _;

use crate::config::keys::{Key, Kind, ROOT, Section};

/// What stands before the sections.
const INTRODUCTION: &str = "# Configuration reference

One TOML file, given by `-c FILE`. `meridian validate -c FILE` reports every mistake at once, each with its
line and a caret; `meridian schema` prints a JSON Schema for editors. This page is generated from the
description that the reader itself follows.

* A key that is not described here is an error.
* Durations are strings of whole numbers with a unit (`us`, `ms`, `s`, `m`, `h`, `d`): `\"250ms\"`, `\"1m30s\"`.
* Sizes are bytes, or strings with a unit (`KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB`): `\"64KiB\"`.
* Paths are relative to the file that holds them.
* `${VAR}`, `${VAR:-default}` and `${VAR:?message}` inside a string are replaced by environment variables, after
  parsing; `$$` is one dollar sign. A number or a boolean may be a string too, so `workers = \"${WORKERS:-0}\"` works.
* A secret is a string, `{ file = \"..\" }` or `{ env = \"..\" }`. It is never printed.
";

/// The reference of all keys, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    section(&mut page, "", "The file", &ROOT);
    page
}

/// One section, then those within it, as deep as they go.
fn section(page: &mut String, path: &str, title: &str, section: &Section) {
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "\n## {title}\n\n{}\n\n| key | takes | default | what it does |\n|---|---|---|---|\n",
        section.doc
    );
    for key in section.keys {
        let default = match (key.required, key.default) {
            (true, _) => "required".to_owned(),
            (false, "") => String::new(),
            (false, default) => format!("`{default}`"),
        };
        let _ = writeln!(
            page,
            "| `{}` | {} | {default} | {} |",
            key.name,
            takes(&key.kind),
            key.doc
        );
    }
    for key in section.keys {
        within(page, path, key);
    }
}

fn within(page: &mut String, path: &str, key: &Key) {
    let name = if path.is_empty() {
        key.name.to_owned()
    } else {
        format!("{path}.{}", key.name)
    };
    match key.kind {
        Kind::Table(inner) => section(page, &name, &format!("`[{name}]`"), inner),
        Kind::Tables(inner) => section(page, &name, &format!("`[[{name}]]`"), inner),
        Kind::TableOrTables(one, _) => section(page, &name, &format!("`[{name}]`"), one),
        Kind::Named(_, inner) => {
            let name = format!("{name}.X");
            section(page, &name, &format!("`[{name}]`"), inner);
        }
        _ => {}
    }
}

fn takes(kind: &Kind) -> String {
    match kind {
        Kind::Text => "string".to_owned(),
        Kind::Flag => "boolean".to_owned(),
        Kind::Integer(least, most) => format!("integer, {least} to {most}"),
        Kind::Share => "share, 0 to 1 or `\"20%\"`".to_owned(),
        Kind::Degrees(most) => format!("number, -{most} to {most}"),
        Kind::Duration(least) if least.is_zero() => "duration".to_owned(),
        Kind::Duration(least) => format!("duration, at least {least:?}"),
        Kind::Size(0) => "size".to_owned(),
        Kind::Size(least) => format!("size, at least {least} bytes"),
        Kind::Path => "path".to_owned(),
        Kind::Secret => "secret".to_owned(),
        Kind::Status => "status, or a range".to_owned(),
        Kind::Word(words) => words_of(words),
        Kind::WordOr(words, other) => format!("{} or {other}", words_of(words)),
        Kind::Plain => "string, number or boolean".to_owned(),
        Kind::List(item) => format!("array: {}", takes(item)),
        Kind::Map(key, item) => format!("table: {key} = {}", takes(item)),
        Kind::Table(_) => "table".to_owned(),
        Kind::Tables(_) => "array of tables".to_owned(),
        Kind::TableOrTables(..) => "table, or array of tables".to_owned(),
        Kind::Named(name, _) => format!("tables by {name} name"),
    }
}

fn words_of(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
    words.join(", ")
}
