//! Problems as rustc shows them: the line, a caret, and how to mend it.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::config::problem::{Problem, Severity, Span};
use crate::config::source::SourceText;

/// A place as people and editors name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextPlace {
    /// The file, as it was named.
    pub(super) file: String,
    /// Line, from 1.
    pub(super) line: usize,
    /// Column in characters, from 1.
    pub(super) column: usize,
}

/// Where `span` begins; `None` when it is in none of `sources`.
pub(super) fn place(sources: &[SourceText], span: Span) -> Option<TextPlace> {
    let source = sources.get(usize::from(span.file))?;
    let start = source.text.floor_char_boundary(span.start);
    let before = &source.text[..start];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Some(TextPlace {
        file: source.path.display().to_string(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    })
}

/// All of `list`, one after the other, each followed by an empty line.
pub(super) fn problems(sources: &[SourceText], list: &[Problem], color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut text = String::new();
    for problem in list {
        text.push_str(&renderer.render(&[group(sources, problem)]));
        text.push_str("\n\n");
    }
    text
}

fn group<'a>(sources: &'a [SourceText], problem: &'a Problem) -> Group<'a> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level
        .primary_title(problem.message.as_str())
        .id(problem.code);
    let located = problem
        .span
        .and_then(|span| Some((span, sources.get(usize::from(span.file))?)));
    let mut group = match located {
        Some((span, source)) => title.element(snippet(source, span)),
        None => Group::with_title(title),
    };
    if let Some(help) = &problem.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    group
}

/// Only the line of the problem is handed over: the renderer walks all the text it is given,
/// and a file may have a hundred thousand lines.
fn snippet(source: &SourceText, span: Span) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    let text = source.text.as_str();
    let start = text.floor_char_boundary(span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..]
        .find('\n')
        .map_or(text.len(), |newline| start + newline);
    // What spans several lines is marked on its first: a caret under a whole table says less.
    let end = text.floor_char_boundary(span.end).clamp(start, line_end);
    let line = text[..line_start].matches('\n').count() + 1;
    Snippet::source(&text[line_start..line_end])
        .line_start(line)
        .path(source.path.display().to_string())
        .annotation(AnnotationKind::Primary.span(start - line_start..end - line_start))
}
