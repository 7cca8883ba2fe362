//! Sizes and spans of time, as they are written and as others count them.

use crate::event::Span;
use std::time::Duration;

/// Reads a number of bytes: `65536`, `64KiB`, `16MiB`, `1GiB`.
pub fn bytes(s: &str) -> Option<usize> {
    let n = s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let unit = match s[n..].trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    s[..n].parse::<usize>().ok()?.checked_mul(unit)
}

/// The span of time that others count in nanoseconds.
pub(super) fn span(d: Duration) -> Span {
    Span(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_their_units() {
        for (s, n) in
            [("0", Some(0)), ("10", Some(10)), ("64KiB", Some(65536)), ("1 MiB", Some(1 << 20)), ("1GiB", Some(1 << 30)), ("64k", None), ("", None)]
        {
            assert_eq!(bytes(s), n, "{s}");
        }
    }
}
