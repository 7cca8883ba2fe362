//! A shallow look at a JSON text: its members, skipped over without being read. For recognition, which must be cheap,
//! and for cutting documents; what it takes for JSON may still be none, the parser has the last word.

/// A stretch of the text.
pub(super) type Part<'r> = &'r [u8];

fn blank(b: &[u8], mut at: usize) -> usize {
    while matches!(b.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The end of the string that begins at `at`, past its second quote.
fn string(b: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    loop {
        i += memchr::memchr2(b'"', b'\\', b.get(i..)?)?;
        if b[i] == b'"' {
            return Some(i + 1);
        }
        i += 2;
    }
}

/// The end of the value that begins at `at`.
fn value(b: &[u8], at: usize) -> Option<usize> {
    match b.get(at)? {
        b'"' => string(b, at),
        b'{' | b'[' => {
            let (mut i, mut depth) = (at, 0usize);
            loop {
                match b.get(i)? {
                    b'"' => {
                        i = string(b, i)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(i + 1);
                        }
                    }
                    _ => {}
                }
                i += 1;
            }
        }
        _ => {
            let n = b[at..].iter().position(|c| matches!(c, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
            Some(n.map_or(b.len(), |n| at + n))
        }
    }
}

/// Calls `f` with each key (as it stands between its quotes) and value of an object; `None` where the text breaks off.
pub(super) fn members<'r>(b: Part<'r>, mut f: impl FnMut(Part<'r>, Part<'r>)) -> Option<()> {
    let mut at = blank(b, 0);
    if b.get(at) != Some(&b'{') {
        return None;
    }
    at = blank(b, at + 1);
    if b.get(at) == Some(&b'}') {
        return Some(());
    }
    loop {
        if b.get(at) != Some(&b'"') {
            return None;
        }
        let end = string(b, at)?;
        let key = &b[at + 1..end - 1];
        at = blank(b, end);
        if b.get(at) != Some(&b':') {
            return None;
        }
        at = blank(b, at + 1);
        let end = value(b, at)?;
        f(key, &b[at..end]);
        at = blank(b, end);
        match b.get(at)? {
            b',' => at = blank(b, at + 1),
            b'}' => return Some(()),
            _ => return None,
        }
    }
}

/// Calls `f` with each element of an array.
pub(super) fn elements<'r>(b: Part<'r>, mut f: impl FnMut(Part<'r>)) -> Option<()> {
    let mut at = blank(b, 0);
    if b.get(at) != Some(&b'[') {
        return None;
    }
    at = blank(b, at + 1);
    if b.get(at) == Some(&b']') {
        return Some(());
    }
    loop {
        let end = value(b, at)?;
        if end == at {
            return None;
        }
        f(&b[at..end]);
        at = blank(b, end);
        match b.get(at)? {
            b',' => at = blank(b, at + 1),
            b']' => return Some(()),
            _ => return None,
        }
    }
}

/// The value of a key; of equal keys the last.
pub(super) fn member<'r>(b: Part<'r>, key: &[u8]) -> Option<Part<'r>> {
    let mut found = None;
    members(b, |k, v| {
        if k == key {
            found = Some(v);
        }
    });
    found
}

/// The inside of a string, or the text of another value.
pub(super) fn plain(v: Part<'_>) -> Part<'_> {
    match v {
        [b'"', inner @ .., b'"'] => inner,
        v => v,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_members_and_nothing_below() {
        let text = br#" { "a" : "x\"}" , "b":{"a":[1,{"c":"]"}]},"c":[ ], "d" : 1.5e3, "e":null } "#;
        let mut got = Vec::new();
        assert_eq!(members(text, |k, v| got.push((String::from_utf8_lossy(k).into_owned(), String::from_utf8_lossy(v).into_owned()))), Some(()));
        let want = [("a", r#""x\"}""#), ("b", r#"{"a":[1,{"c":"]"}]}"#), ("c", "[ ]"), ("d", "1.5e3"), ("e", "null")];
        assert_eq!(got, want.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn broken_text_is_seen() {
        for t in ["", "{", "[1]", "{\"a\"", "{\"a\":", "{\"a\":\"", "{\"a\":1", "{\"a\":1 x", "{a:1}", "{\"a\":\"\\"] {
            assert_eq!(members(t.as_bytes(), |_, _| ()), None, "{t}");
        }
        for t in ["[", "[1", "[1 2]", "[,]", "[1,]"] {
            assert_eq!(elements(t.as_bytes(), |_| ()), None, "{t}");
        }
    }
}
