//! The words of a text, as text search and the index see them: both read them here, so that they agree.
//!
//! A word is a maximal run of letters and digits (`char::is_alphanumeric`) and `_`, in lower case by the simple mapping of
//! Unicode, one character for one. Bytes that are no UTF-8 separate words.

use std::ops::ControlFlow;
use std::ops::Range;

/// A character in lower case, one for one (the simple mapping of Unicode).
pub fn lower(c: char) -> char {
    if c.is_ascii() { c.to_ascii_lowercase() } else { c.to_lowercase().next().unwrap_or(c) }
}

/// The character at the front and its length in bytes; none where there is no UTF-8, which is one byte long.
fn first(b: &[u8]) -> (Option<char>, usize) {
    let front = &b[..b.len().min(4)];
    let good = match std::str::from_utf8(front) {
        Ok(s) => s,
        Err(e) => std::str::from_utf8(&front[..e.valid_up_to()]).unwrap_or_default(),
    };
    good.chars().next().map_or((None, 1), |c| (Some(c), c.len_utf8()))
}

/// How long the piece of a word at the front is; 0 where none begins.
#[inline]
fn piece(b: &[u8]) -> usize {
    match b.first() {
        None => 0,
        Some(c) if c.is_ascii() => usize::from(c.is_ascii_alphanumeric() || *c == b'_'),
        Some(_) => match first(b) {
            (Some(c), n) if c.is_alphanumeric() => n,
            _ => 0,
        },
    }
}

/// Where the words of a text stand, in order.
pub fn spans(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < text.len() && piece(&text[at..]) == 0 {
            at += if text[at].is_ascii() { 1 } else { first(&text[at..]).1 };
        }
        let start = at;
        while at < text.len() {
            match piece(&text[at..]) {
                0 => break,
                n => at += n,
            }
        }
        (at > start).then_some(start..at)
    })
}

/// Puts a word in lower case into `out`, which is cleared first.
pub fn fold(word: &[u8], out: &mut Vec<u8>) {
    out.clear();
    if word.is_ascii() {
        out.extend(word.iter().map(u8::to_ascii_lowercase));
        return;
    }
    for chunk in word.utf8_chunks() {
        for c in chunk.valid().chars() {
            out.extend_from_slice(lower(c).encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Calls `each` with the words of a text in order, in lower case, until it breaks. `buffer` is reused: nothing is
/// allocated once it has grown, and a word that is in lower case already is not copied.
pub fn each<B>(text: &[u8], buffer: &mut Vec<u8>, mut each: impl FnMut(&[u8]) -> ControlFlow<B>) -> ControlFlow<B> {
    for span in spans(text) {
        let word = &text[span];
        if word.iter().all(|c| c.is_ascii() && !c.is_ascii_uppercase()) {
            each(word)?;
        } else {
            fold(word, buffer);
            each(buffer)?;
        }
    }
    ControlFlow::Continue(())
}

/// The words of a text in order, in lower case.
pub fn list(text: &[u8]) -> Vec<String> {
    let (mut all, mut buffer) = (Vec::new(), Vec::new());
    let _ = each::<()>(text, &mut buffer, |w| {
        all.push(String::from_utf8_lossy(w).into_owned());
        ControlFlow::Continue(())
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_run_of_letters_digits_and_underscores() {
        for (text, want) in [
            ("", ""),
            (" \t.,-", ""),
            ("SQL injection", "sql injection"),
            ("sql-injection,SQL_Injection/42", "sql injection sql_injection 42"),
            ("user=root;id=7", "user root id 7"),
            ("Über straße ΣΑΣ İx", "über straße σασ ix"),
            ("日本語 ٣٤ \u{212a}elvin", "日本語 ٣٤ kelvin"),
            ("a\u{301}b", "a b"),
            ("x\u{1f600}y", "x y"),
        ] {
            assert_eq!(list(text.as_bytes()).join(" "), want, "{text}");
        }
        assert_eq!(list(b"ab\xffcd \xc3"), ["ab", "cd"], "what is no UTF-8 separates");
    }

    proptest::proptest! {
        #[test]
        fn words_are_those_that_splitting_by_characters_gives(text in "[a-zA-Z0-9_ .é\u{212a}ΣİẞДж日\u{1f600}\u{301}-]{0,40}") {
            let naive: Vec<String> = text
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .filter(|w| !w.is_empty())
                .map(|w| w.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect())
                .collect();
            assert_eq!(list(text.as_bytes()), naive);
            assert!(spans(text.as_bytes()).all(|s| text.get(s).is_some()));
        }
    }
}
