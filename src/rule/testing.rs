//! Rule tests as data: what stands in `[[rule.test]]`.

use crate::event::{Field, Timestamp};
use std::ops::Range;

/// One `[[rule.test]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleTest {
    /// What it shows.
    pub name: String,
    /// Its notation.
    pub body: Body,
    /// Where it stands: byte offset of the table in its file.
    pub offset: usize,
}

/// The two notations of a test.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Rows of offset, fields and marks.
    Timeline(Vec<Row>),
    /// Records of a format and the alerts that they must give.
    Lines {
        /// The format; none means recognised.
        format: Option<String>,
        /// The records.
        lines: Vec<String>,
        /// The moment of arrival.
        received: Option<Timestamp>,
        /// What is due, in any order.
        alerts: Vec<Due>,
    },
}

/// A row of a timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Offset from the start.
    pub at: crate::event::Span,
    /// The event, `each` included; none where only time passes.
    pub event: Option<Vec<(Field, String)>>,
    /// Whether one alert is due at this time.
    pub due: bool,
    /// The row as it was written.
    pub text: String,
}

/// An alert that a test of raw lines expects.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// Its `@timestamp`.
    pub at: Timestamp,
    /// Its key, nulls left out; none where the test does not say.
    pub key: Option<Vec<(Field, String)>>,
}

/// A row of a timeline as written: names are not looked up yet.
#[derive(Clone, Debug, PartialEq)]
pub struct RawRow {
    /// Offset from the start.
    pub at: crate::event::Span,
    /// Fields, each with the bytes of its name and of its value in the timeline's text; none for `-`.
    pub pairs: Option<Vec<Pair>>,
    /// Whether an alert is due.
    pub due: bool,
    /// The row as it was written.
    pub text: String,
}

/// `field=value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The field's name.
    pub name: String,
    /// Its bytes in the text.
    pub name_span: Range<usize>,
    /// The value.
    pub value: String,
    /// Its bytes in the text, quotes included.
    pub value_span: Range<usize>,
}

/// Reads a timeline: every row, and everything that is wrong with the rows that do not read.
pub fn timeline(text: &str) -> (Vec<RawRow>, Vec<Wrong>) {
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let (from, body) = (start, line.trim_end());
        start += line.len();
        match row(body, from) {
            Ok(Some(r)) => rows.push(r),
            Ok(None) => {}
            Err(e) => wrong.push(e),
        }
    }
    (rows, wrong)
}

/// What is wrong with a row: the bytes, the complaint, the way out.
pub type Wrong = (Range<usize>, String, Option<String>);

fn row(line: &str, from: usize) -> Result<Option<RawRow>, Wrong> {
    let mut at = 0;
    let Some(first) = next(line, &mut at, from)? else { return Ok(None) };
    if first.text.starts_with('#') {
        return Ok(None);
    }
    let Some(offset) = offset(&first.text) else {
        let help = Some("a row begins with its offset: `0s`, `1m59s`, `900ms`, `2h`, `8d`".to_owned());
        return Err((first.span, format!("`{}` is no offset", first.text.escape_debug()), help));
    };
    let mut out = RawRow { at: offset, pairs: Some(Vec::new()), due: false, text: line.to_owned() };
    let mut dash = false;
    while let Some(w) = next(line, &mut at, from)? {
        if w.text.starts_with('#') {
            break;
        }
        if w.text.starts_with('!') {
            out.due = true;
            break;
        }
        if w.text == "-" && w.eq.is_none() {
            dash = true;
            continue;
        }
        match w.eq {
            Some(eq) if eq > 0 => {
                let name = w.text[..eq].to_owned();
                let split = w.span.start + eq;
                if let Some(p) = out.pairs.iter().flatten().find(|p| p.name == name) {
                    let help = Some(format!("it is `{}` already", p.value.escape_debug()));
                    return Err((w.span.start..split, format!("`{name}` stands twice in one row"), help));
                }
                let pair = Pair { name, name_span: w.span.start..split, value: w.text[eq + 1..].to_owned(), value_span: split + 1..w.span.end };
                if let Some(all) = &mut out.pairs {
                    all.push(pair);
                }
            }
            _ => {
                let help = Some("behind the offset stand `field=value`, `-`, `!` and `#`; a value with spaces in double quotes".to_owned());
                return Err((w.span, format!("`{}` is no `field=value`", w.text.escape_debug()), help));
            }
        }
    }
    if dash {
        if out.pairs.as_ref().is_some_and(|p| !p.is_empty()) {
            return Err((from..from + line.len(), "a row with `-` only lets time pass".into(), Some("leave out `-` or the fields".into())));
        }
        out.pairs = None;
    }
    Ok(Some(out))
}

struct Word {
    text: String,
    span: Range<usize>,
    /// Where `=` stands in the text.
    eq: Option<usize>,
}

/// The next word of a row, quotes taken off its value.
fn next(line: &str, at: &mut usize, from: usize) -> Result<Option<Word>, Wrong> {
    let rest = &line[*at..];
    let skipped = rest.len() - rest.trim_start().len();
    let start = *at + skipped;
    let mut w = Word { text: String::new(), span: from + start..from + start, eq: None };
    let mut chars = line[start..].char_indices().peekable();
    let mut end = line.len();
    while let Some((i, c)) = chars.next() {
        if c.is_whitespace() {
            end = start + i;
            break;
        }
        if c == '=' && w.eq.is_none() {
            w.eq = Some(w.text.len());
        } else if c == '"' && w.eq.is_some_and(|e| e + 1 == w.text.len()) {
            let mut closed = false;
            while let Some((_, c)) = chars.next() {
                match c {
                    '"' => {
                        closed = true;
                        break;
                    }
                    '\\' => match chars.next() {
                        Some((_, c)) => w.text.push(c),
                        None => break,
                    },
                    c => w.text.push(c),
                }
            }
            if !closed {
                return Err((from + start + i..from + line.len(), "the value has no end".into(), Some("close it with `\"`".into())));
            }
            continue;
        }
        w.text.push(c);
    }
    *at = end;
    w.span = from + start..from + end;
    Ok((end > start).then_some(w))
}

/// Reads an offset: whole numbers with `ms`, `s`, `m`, `h` or `d`, one behind the other.
pub fn offset(s: &str) -> Option<crate::event::Span> {
    let mut total = 0i64;
    let mut rest = s;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        if digits == 0 || unit == 0 {
            return None;
        }
        total = total.checked_add(crate::event::Span::parse(&rest[..digits + unit])?.0)?;
        rest = &rest[digits + unit..];
    }
    (!s.is_empty()).then_some(crate::event::Span(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_offset_pairs_and_mark() {
        let (rows, wrong) = timeline("# nothing\n\n1m59s  user.name=\"a \\\"b\\\" c\" url.path=/x#y=z  ! two of # them\n10m -\n900ms\n");
        assert_eq!(wrong, []);
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].at, crate::event::Span::seconds(119));
        assert!(rows[0].due);
        let pairs = rows[0].pairs.as_ref().map(|p| p.iter().map(|p| (p.name.as_str(), p.value.as_str())).collect::<Vec<_>>());
        assert_eq!(pairs, Some(vec![("user.name", "a \"b\" c"), ("url.path", "/x#y=z")]));
        assert_eq!(rows[1].pairs, None);
        assert_eq!((rows[2].at.0, rows[2].pairs.as_ref().map(Vec::len)), (900_000_000, Some(0)));
    }

    #[test]
    fn what_does_not_read_is_named_where_it_stands() {
        let text = "0s\nlater user.name=a\n1s user.name\n2s user.name=\"a\n3s =x\n4s - user.name=a\n5s user.name=a user.name=b\n";
        let (rows, wrong) = timeline(text);
        assert_eq!(rows.len(), 1);
        let spans: Vec<&str> = wrong.iter().map(|(s, ..)| &text[s.clone()]).collect();
        assert_eq!(spans, ["later", "user.name", "\"a", "=x", "4s - user.name=a", "user.name"]);
    }

    #[test]
    fn offsets_add_up() {
        for (s, ms) in [("0s", 0), ("1m59s", 119_000), ("8d1s", 691_201_000), ("1s500ms", 1500)] {
            assert_eq!(offset(s).map(|s| s.0 / 1_000_000), Some(ms), "{s}");
        }
        for s in ["", "s", "5", "1m5", "-1s", "1 s", "99999999999999999999d", "1w"] {
            assert_eq!(offset(s), None, "{s}");
        }
    }
}
