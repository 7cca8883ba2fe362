//! Parameters of a request as a client writes them: names, instants, choices; and what is wrong with them, in words.

use crate::config::near;
use crate::event::{Span, Timestamp, time};
use jiff::tz::TimeZone;

/// The parts of a list with commas; an empty one names nothing.
pub fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|s| !s.is_empty())
}

/// One of a few words.
pub fn one_of<T: Copy, const N: usize>(name: &str, text: &str, values: [(&str, T); N]) -> Result<T, String> {
    values.iter().find(|(v, _)| *v == text).map(|(_, b)| *b).ok_or_else(|| unknown(name, text, &values.map(|(v, _)| v)))
}

/// What somebody sent, as it may stand in an answer.
pub fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// That something is not known, what was probably meant, and what there is.
pub fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    let mean = near(given, known.iter().copied()).map_or(String::new(), |n| format!("did you mean `{n}`? "));
    format!("there is no {what} `{}`; {mean}known: {}", shown(given), known.join(", "))
}

/// An instant in RFC 3339, or a span back from now.
pub fn instant(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Some(back) = Span::parse(text) {
        return Ok(now.minus(back));
    }
    // In a query a plus sign is a blank, and a zone is often written with one.
    let b = text.as_bytes();
    let zoned = b.len() > 19 && (b.ends_with(b"Z") || b.ends_with(b"z") || b[19..].iter().any(|c| matches!(c, b'+' | b'-' | b' ')));
    let plus = if b.len() > 19 && text.is_char_boundary(19) { format!("{}{}", &text[..19], text[19..].replace(' ', "+")) } else { text.to_owned() };
    match time::iso(plus.as_bytes(), &TimeZone::UTC) {
        Some((ts, n)) if n == plus.len() && zoned => Ok(ts),
        _ => Err(format!("`{name}` is a time as 2026-11-23T05:00:00Z, or a span back from now as 90s, 1h or 30d")),
    }
}
