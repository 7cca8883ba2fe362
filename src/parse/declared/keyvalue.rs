//! `key=value` and `key="value"` pairs, with blanks or commas between them.

use super::pattern::{NONE, Span};
use std::collections::HashMap;

/// Finds the values of known keys; of equal keys the last wins. Text that is no pair is read over. `false` where there
/// is no pair at all.
pub(super) fn read(keys: &HashMap<Box<[u8]>, u16>, s: &[u8], caps: &mut [Span]) -> bool {
    caps.fill(NONE);
    let (mut at, mut any) = (0, false);
    while at < s.len() {
        let n = s[at..].iter().position(|&c| matches!(c, b'=' | b' ' | b'\t' | b',')).map_or(s.len(), |n| at + n);
        if s.get(n) != Some(&b'=') || n == at {
            at = n + 1;
            continue;
        }
        let key = &s[at..n];
        let (from, to, next) = match s.get(n + 1) {
            Some(b'"') => {
                let mut i = n + 2;
                loop {
                    match s.get(i) {
                        None | Some(b'"') => break,
                        Some(b'\\') => i += 2,
                        _ => i += 1,
                    }
                }
                let i = i.min(s.len());
                (n + 2, i, i + 1)
            }
            _ => {
                let e = s[n + 1..].iter().position(|&c| matches!(c, b' ' | b'\t' | b',')).map_or(s.len(), |e| n + 1 + e);
                (n + 1, e, e)
            }
        };
        any = true;
        if let Some(c) = keys.get(key).and_then(|&v| caps.get_mut(v as usize)) {
            *c = (from as u32, to as u32);
        }
        at = next.max(at + 1);
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_plain_and_quoted() {
        let keys: HashMap<Box<[u8]>, u16> = [("a", 0), ("b", 1), ("c", 2)].map(|(k, v)| (k.as_bytes().into(), v)).into();
        for (line, want) in [
            ("a=1 b=\"x y\" c=3", ["1", "x y", "3"]),
            ("junk a=1,b=2, d=9 b=3", ["1", "3", ""]),
            (r#"a="x \" y" b="cut"#, [r#"x \" y"#, "cut", ""]),
            ("a= b==", ["", "=", ""]),
        ] {
            let mut caps = [NONE; 3];
            assert!(read(&keys, line.as_bytes(), &mut caps), "{line}");
            let got = caps.map(|c| if c == NONE { "" } else { &line[c.0 as usize..c.1 as usize] });
            assert_eq!(got, want, "{line}");
        }
        assert!(!read(&keys, b"nothing here", &mut [NONE; 3]));
    }
}
