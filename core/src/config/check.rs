//! From what was written to what is meant: every section, its defaults, and what must agree.

mod edge;
mod region;
mod route;
mod settings;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::fields::{Fields, Text, wrong_type};
use crate::config::keys::{Kind, ROOT, Section};
use crate::config::problem::{Findings, Problem, Span};
use crate::config::source::{Reader, SourceFiles, reason};
use crate::config::tree::{Node, Table, Value};
use crate::config::{Config, Secret};
use crate::model::id::MAX_REGIONS;
use crate::table::RoutingTable;

/// What every check needs: the files, the world, and where to report.
pub(super) struct Context<'a> {
    pub(super) sources: &'a SourceFiles,
    pub(super) reader: &'a Reader<'a>,
    pub(super) report: &'a Findings,
    named_files: RefCell<BTreeMap<PathBuf, Span>>,
}

/// The configuration that `root` means. It is complete even where problems were reported, with
/// defaults in the place of what could not be read.
pub(super) fn check(
    root: &Table,
    span: Span,
    sources: &SourceFiles,
    reader: &Reader<'_>,
    report: &Findings,
) -> Config {
    let context = Context {
        sources,
        reader,
        report,
        named_files: RefCell::default(),
    };
    let root = Fields::new(root, span, &ROOT, report);
    // The patterns were followed when the files were read; here only their type is checked.
    let _ = root.texts("include");
    let (downstream, upstream) = settings::timeouts(&root, &context);
    let listeners = edge::listeners(&root, downstream, &context);
    let admin = edge::admin(&root, &listeners, &context);
    let viewer = edge::viewer(&root, &listeners, &context);
    let regions = region::regions(&root, &context);
    let failback = settings::failback(root.section("failback"), Default::default());
    let (routes, route_failback) = route::routes(
        &root,
        &regions,
        (upstream, failback),
        viewer.unknown,
        &context,
    );
    let files = sources.texts.iter();
    let files = files.map(|source| source.path.display().to_string());
    let regions: Vec<_> = regions.into_iter().take(MAX_REGIONS).collect();
    Config {
        name: settings::name(&root, &context),
        workers: root
            .integer("workers")
            .and_then(|number| usize::try_from(number).ok())
            .unwrap_or(0),
        listeners,
        admin,
        viewer,
        table: Arc::new(
            RoutingTable::new(files.collect(), regions, routes)
                .with_failback(failback, &route_failback),
        ),
        limits: settings::limits(&root, &context),
        dns: settings::dns(&root, &context),
        drain: settings::drain(&root, &context),
        access_log: settings::access_log(&root, &context),
        failback,
        route_failback,
        state: settings::state(&root, &context),
        sources: sources.texts.clone(),
        named_files: context.named_files.into_inner(),
        warnings: Vec::new(),
        content_hash: 0,
    }
}

impl Context<'_> {
    /// Adds an error at `span` with a line on how to mend it.
    pub(super) fn error(&self, code: &'static str, span: Span, message: String, help: &str) {
        self.report
            .push(Problem::error(code, Some(span), message).help(help));
    }

    /// Adds a warning at `span`.
    pub(super) fn warn(&self, code: &'static str, span: Span, message: &str, help: &str) {
        self.report
            .push(Problem::warning(code, Some(span), message).help(help));
    }

    /// The file named by `key`, remembered with its place.
    pub(super) fn path(&self, fields: &Fields<'_>, key: &str) -> Option<PathBuf> {
        let Text { text, span } = fields.text(key)?;
        if text.is_empty() {
            self.report.error("bad-value", span, "this names no file");
            return None;
        }
        let path = self.sources.relative(text, span);
        self.named_files
            .borrow_mut()
            .entry(path.clone())
            .or_insert(span);
        Some(path)
    }

    /// The secret under `key`: a string, `{ file = ".." }` or `{ env = ".." }`.
    pub(super) fn secret(&self, fields: &Fields<'_>, key: &str) -> Option<Secret> {
        let node = fields.node(key)?;
        let secret = match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Table(table) => self.secret_elsewhere(table, node),
            _ => {
                let expected = "a string, { file = \"..\" } or { env = \"..\" }";
                wrong_type(self.report, node, expected, None)
            }
        }?;
        if secret.is_empty() {
            self.report
                .error("bad-secret", node.span, "this secret is empty");
            return None;
        }
        Some(Secret(secret))
    }

    fn secret_elsewhere(&self, table: &Table, node: &Node) -> Option<String> {
        let fields = Fields::new(table, node.span, &SECRET, self.report);
        if table.len() != 1 {
            let message = "a secret comes from one place: { file = \"..\" } or { env = \"..\" }";
            self.report.error("bad-secret", node.span, message);
            return None;
        }
        if let Some(name) = fields.text("env") {
            let value = (self.reader.env)(name.text);
            if value.is_none() {
                let message = format!("the environment variable `{}` is not set", name.text);
                self.report.error("undefined-variable", name.span, message);
            }
            return value;
        }
        let path = self.path(&fields, "file")?;
        match (self.reader.read)(&path) {
            // Editors and `echo` end a file with a newline that is no part of the secret.
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                let message = format!("{}: {}", path.display(), reason(&error));
                self.report
                    .error("unreadable", fields.place("file"), message);
                None
            }
        }
    }
}

/// A secret that stands elsewhere.
pub(super) static SECRET: Section = Section {
    doc: "A secret that stands elsewhere.",
    keys: &[
        crate::config::keys::Key {
            name: "file",
            kind: Kind::Path,
            default: "",
            required: false,
            doc: "A file that holds it; a newline at its end is no part of it.",
        },
        crate::config::keys::Key {
            name: "env",
            kind: Kind::Text,
            default: "",
            required: false,
            doc: "The environment variable that holds it.",
        },
    ],
};
