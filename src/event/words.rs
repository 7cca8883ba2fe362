//! Words of a text: maximal runs of letters, digits and `_`, compared in lower case. The index and the evaluator find the same ones.

/// What a byte is by itself: no part of a word, part of one, or the beginning of a character that has to be looked at.
const KIND: [u8; 256] = {
    let mut t = [0; 256];
    let mut i = 0;
    while i < 256 {
        let c = i as u8;
        t[i] = if c.is_ascii_alphanumeric() || c == b'_' { 1 } else { (c >= 0x80) as u8 * 2 };
        i += 1;
    }
    t
};

/// The words of a text, as they stand in it.
pub fn words(text: &[u8]) -> Words<'_> {
    Words { text, at: 0 }
}

/// See [`words`].
#[derive(Clone, Debug)]
pub struct Words<'a> {
    text: &'a [u8],
    at: usize,
}

impl Words<'_> {
    /// Where the words that have not been given yet begin to be looked for; right behind the last one.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Goes over what is part of a word, or over what is none.
    #[inline]
    fn pass(&mut self, part: bool) {
        let plain = u8::from(part);
        while let Some(&c) = self.text.get(self.at) {
            let kind = KIND[usize::from(c)];
            if kind == plain {
                self.at += 1;
            } else if kind != 2 || !self.pass_character(part) {
                break;
            }
        }
    }

    /// The same for one character that is no ASCII; `false` if it is of the other kind.
    #[cold]
    fn pass_character(&mut self, part: bool) -> bool {
        let c = character(&self.text[self.at..]);
        let same = c.is_some_and(char::is_alphanumeric) == part;
        self.at += if same { c.map_or(1, char::len_utf8) } else { 0 };
        same
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.pass(false);
        let from = self.at;
        self.pass(true);
        self.text.get(from..self.at).filter(|w| !w.is_empty())
    }
}

/// The character at the front; `None` where the bytes are none.
fn character(b: &[u8]) -> Option<char> {
    let front = &b[..b.len().min(4)];
    let good = match std::str::from_utf8(front) {
        Ok(s) => s,
        Err(e) => std::str::from_utf8(&front[..e.valid_up_to()]).unwrap_or_default(),
    };
    good.chars().next()
}

/// A character in lower case, one for one (the simple mapping of Unicode).
pub fn lower(c: char) -> char {
    if c.is_ascii() { c.to_ascii_lowercase() } else { c.to_lowercase().next().unwrap_or(c) }
}

/// Appends a text in lower case, character by character; bytes that are no character stay as they are. `true` if that changed it.
pub fn fold(text: &[u8], to: &mut Vec<u8>) -> bool {
    let from = to.len();
    if text.is_ascii() {
        to.extend_from_slice(text);
        to[from..].make_ascii_lowercase();
    } else {
        let (mut at, mut utf8) = (0, [0; 4]);
        while let Some(&first) = text.get(at) {
            match character(&text[at..]) {
                Some(c) => {
                    to.extend_from_slice(lower(c).encode_utf8(&mut utf8).as_bytes());
                    at += c.len_utf8();
                }
                None => {
                    to.push(first);
                    at += 1;
                }
            }
        }
    }
    to[from..] != *text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folded(text: &str) -> Vec<String> {
        words(text.as_bytes())
            .map(|w| {
                let mut to = Vec::new();
                fold(w, &mut to);
                String::from_utf8(to).expect("text")
            })
            .collect()
    }

    #[test]
    fn words_are_runs_of_letters_digits_and_underscores() {
        for (text, want) in [
            ("", vec![]),
            (" -- ", vec![]),
            ("Failed password for root", vec!["failed", "password", "for", "root"]),
            ("{\"src_ip\":\"10.0.0.1\"}", vec!["src_ip", "10", "0", "0", "1"]),
            ("Überfall: ÄÖÜ-x 東京 ", vec!["überfall", "äöü", "x", "東京"]),
            ("a\u{2014}b", vec!["a", "b"]),
        ] {
            assert_eq!(folded(text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn they_are_those_of_a_plain_split(text in "\\PC{0,60}") {
            let plain: Vec<String> = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).map(|w| w.chars().map(lower).collect()).collect();
            prop_assert_eq!(folded(&text), plain);
        }

        #[test]
        fn any_bytes_have_words_that_lie_in_them(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut all = words(&bytes);
            let mut end = 0;
            while let Some(w) = all.next() {
                prop_assert!(!w.is_empty() && all.at() - w.len() >= end);
                prop_assert_eq!(&bytes[all.at() - w.len()..all.at()], w);
                end = all.at();
            }
        }
    }
}
