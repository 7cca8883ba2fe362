//! What is wrong, for people: diagnostics of a file that somebody wrote, with a stable code, drawn as rustc draws them; and any error with
//! what caused it.

use std::ops::Range;

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It works, and may not do what was meant.
    Warning,
    /// It does not work.
    Error,
}

/// One complaint.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// `R012`; stable for ever.
    pub code: &'static str,
    /// How bad.
    pub level: Level,
    /// What is wrong, in one line.
    pub message: String,
    /// The file, as the user named it.
    pub file: String,
    /// Byte range in the file.
    pub span: Range<usize>,
    /// What stands beside the caret.
    pub label: String,
    /// The way out, or the name that was meant.
    pub help: Option<String>,
}

/// An error and what caused it, in one line.
pub fn causes(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(c) = cause {
        text = format!("{text}: {c}");
        cause = c.source();
    }
    text
}

/// Draws diagnostics as rustc does, one after the other. `sources` are the files by name; a diagnostic of a file that is
/// not among them is drawn without its line. Control characters of the text and of messages come out harmless.
pub fn draw(all: &[Diagnostic], sources: &[(String, String)], color: bool) -> String {
    use annotate_snippets::{AnnotationKind, Group, Level as Tone, Renderer, Snippet};
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for d in all {
        let tone = if d.level == Level::Error { Tone::ERROR } else { Tone::WARNING };
        let title = tone.primary_title(clean(&d.message)).id(d.code);
        let source = sources.iter().find(|(name, _)| *name == d.file);
        let mut group = match source {
            Some((name, text)) => {
                // The line alone is enough, and a file with many complaints is not gone through for each.
                let (line, start, span) = line(text, &d.span);
                let text = tame(line);
                let mut mark = AnnotationKind::Primary.span(span);
                if !d.label.is_empty() {
                    mark = mark.label(clean(&d.label));
                }
                title.element(Snippet::source(text).line_start(start).path(clean(name)).annotation(mark))
            }
            None => Group::with_title(title).element(annotate_snippets::Origin::path(clean(&d.file))),
        };
        if let Some(h) = &d.help {
            group = group.element(Tone::HELP.message(clean(h)));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    out
}

/// The line in which a span begins, its number from 1, and the span within it, on character boundaries.
fn line<'t>(text: &'t str, span: &Range<usize>) -> (&'t str, usize, Range<usize>) {
    let floor = |mut i: usize| {
        i = i.min(text.len());
        while !text.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    let start = floor(span.start);
    let from = text[..start].rfind('\n').map_or(0, |i| i + 1);
    let to = text[start..].find('\n').map_or(text.len(), |i| start + i);
    let end = floor(span.end).clamp(start, to);
    let number = 1 + text.as_bytes()[..from].iter().filter(|b| **b == b'\n').count();
    (&text[from..to], number, start - from..end - from)
}

/// Text of the same length in bytes whose control characters, but for line feeds and tabs, are spaces or question marks.
fn tame(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => out.push(' '),
            c if c.is_control() || hides(c) => out.extend(std::iter::repeat_n('?', c.len_utf8())),
            c => out.push(c),
        }
    }
    out
}

/// One line without control characters.
fn clean(s: &str) -> String {
    s.chars().flat_map(|c| if c.is_control() || hides(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// Characters that turn the direction of text or take no room.
fn hides(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(span: Range<usize>) -> Vec<Diagnostic> {
        let (code, level, message, file) = ("R012", Level::Error, "the field `a.\u{1b}[31mb` is not known".to_owned(), "f.toml".to_owned());
        vec![Diagnostic { code, level, message, file, span, label: "no parser gives it".into(), help: Some("did you mean `a.c`?".into()) }]
    }

    #[test]
    fn it_looks_as_rustc_does() {
        let sources = [("f.toml".to_owned(), "x = 1\nwhere = 'a.b == 1'\n".to_owned())];
        let s = draw(&one(15..18), &sources, false);
        assert!(s.starts_with("error[R012]: the field"), "{s}");
        for part in ["--> f.toml:2:10", "^^^ no parser gives it", "= help: did you mean `a.c`?"] {
            assert!(s.contains(part), "{part} in {s}");
        }
    }

    #[test]
    fn nothing_from_outside_reaches_the_terminal_as_control() {
        let sources = [("f.toml".to_owned(), "x = \"\u{1b}[2J\u{9b}\u{202e}\"\r\ny = 'é'".to_owned())];
        for span in [0..3, 5..6, 6..9, 9..300, 400..500, Range { start: 3, end: 1 }] {
            let s = draw(&one(span), &sources, false);
            assert!(!s.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{s:?}");
        }
        assert!(draw(&one(0..1), &[], false).contains("f.toml"));
    }
}
