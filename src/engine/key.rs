//! Typed values as bytes: equal values have equal bytes, and bytes sort as the values do.
//!
//! Keys, `distinct` values and what an alert carries are kept in this form. Order of kinds: null, truth values, whole
//! numbers, floats, text, v4 addresses, v6 addresses, instants. A float without a fraction is a whole number.

use crate::event::{Timestamp, Value, fold};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Text longer than this many bytes is cut in a key, its hash standing for the rest, so that state per key is bounded.
pub const MAX_TEXT: usize = 512;

/// One value, read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Scalar {
    /// No value (`missing = "null"`, a cooldown field that the event lacks).
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A float with a fraction.
    Float(f64),
    /// Text.
    Str(String),
    /// An address.
    Ip(IpAddr),
    /// An instant.
    Time(Timestamp),
}

/// Appends the bytes of a value; a missing one is null, of a list the first element counts.
pub fn encode(v: Value<'_>, out: &mut Vec<u8>) {
    match v {
        Value::Missing => out.push(0),
        Value::Bool(b) => out.extend_from_slice(&[1, b as u8]),
        Value::Int(n) => int(n as i128, out),
        Value::Big(n) => int(n as i128, out),
        Value::Float(x) if x.fract() == 0.0 && x.abs() < 1e30 => int(x as i128, out),
        Value::Float(x) => {
            let bits = x.to_bits();
            let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
            out.push(3);
            out.extend_from_slice(&ordered.to_be_bytes());
        }
        Value::Str(s) => text(s, out),
        Value::Ip(ip) => match fold(ip) {
            IpAddr::V4(a) => {
                out.push(5);
                out.extend_from_slice(&a.octets());
            }
            IpAddr::V6(a) => {
                out.push(6);
                out.extend_from_slice(&a.octets());
            }
        },
        Value::Time(t) => {
            out.push(7);
            out.extend_from_slice(&((t.0 as u64) ^ 1 << 63).to_be_bytes());
        }
        Value::List(l) => encode(l.iter().next().unwrap_or(Value::Missing), out),
    }
}

fn int(n: i128, out: &mut Vec<u8>) {
    out.push(2);
    out.extend_from_slice(&((n as u128) ^ 1 << 127).to_be_bytes());
}

fn text(s: &[u8], out: &mut Vec<u8>) {
    out.push(4);
    let mut put = |s: &[u8]| {
        for &b in s {
            out.push(b);
            if b == 0 {
                out.push(0xff);
            }
        }
    };
    if s.len() <= MAX_TEXT {
        put(s);
    } else {
        let cut = (0..=MAX_TEXT - 40).rev().find(|&i| s[i] & 0xc0 != 0x80).unwrap_or(0);
        put(&s[..cut]);
        put(format!("…{:016x}", xxhash_rust::xxh3::xxh3_64(s)).as_bytes());
    }
    out.extend_from_slice(&[0, 0]);
}

/// Reads the first value and says what is left; `None` at the end.
pub fn decode(b: &[u8]) -> Option<(Scalar, &[u8])> {
    let (&kind, b) = b.split_first()?;
    let take = |n: usize| b.split_at_checked(n);
    Some(match kind {
        0 => (Scalar::Null, b),
        1 => take(1).map(|(v, r)| (Scalar::Bool(v[0] != 0), r))?,
        2 => take(16).and_then(|(v, r)| Some((Scalar::Int((u128::from_be_bytes(v.try_into().ok()?) ^ 1 << 127) as i128), r)))?,
        3 => {
            let (v, r) = take(8)?;
            let o = u64::from_be_bytes(v.try_into().ok()?);
            (Scalar::Float(f64::from_bits(if o >> 63 == 1 { o & !(1 << 63) } else { !o })), r)
        }
        4 => {
            let (mut s, mut i) = (Vec::new(), 0);
            loop {
                match (b.get(i)?, b.get(i + 1)) {
                    (0, Some(0xff)) => {
                        s.push(0);
                        i += 2;
                    }
                    (0, _) => break,
                    (&c, _) => {
                        s.push(c);
                        i += 1;
                    }
                }
            }
            (Scalar::Str(String::from_utf8_lossy(&s).into_owned()), b.get(i + 2..)?)
        }
        5 => take(4).and_then(|(v, r)| Some((Scalar::Ip(IpAddr::from(<[u8; 4]>::try_from(v).ok()?)), r)))?,
        6 => take(16).and_then(|(v, r)| Some((Scalar::Ip(IpAddr::from(<[u8; 16]>::try_from(v).ok()?)), r)))?,
        7 => take(8).and_then(|(v, r)| Some((Scalar::Time(Timestamp((u64::from_be_bytes(v.try_into().ok()?) ^ 1 << 63) as i64)), r)))?,
        _ => return None,
    })
}

/// All values of a key in order.
pub fn scalars(mut b: &[u8]) -> Vec<Scalar> {
    let mut all = Vec::new();
    while let Some((s, rest)) = decode(b) {
        all.push(s);
        b = rest;
    }
    all
}

impl Scalar {
    /// The value as an event holds it.
    pub fn value(&self) -> Value<'_> {
        match self {
            Scalar::Null => Value::Missing,
            Scalar::Bool(b) => Value::Bool(*b),
            Scalar::Int(n) => i64::try_from(*n).map(Value::Int).or_else(|_| u64::try_from(*n).map(Value::Big)).unwrap_or(Value::Float(*n as f64)),
            Scalar::Float(x) => Value::Float(*x),
            Scalar::Str(s) => Value::Str(s.as_bytes()),
            Scalar::Ip(ip) => Value::Ip(*ip),
            Scalar::Time(t) => Value::Time(*t),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(v: Value<'_>) -> Vec<u8> {
        let mut b = Vec::new();
        encode(v, &mut b);
        b
    }

    #[test]
    fn values_read_back_and_sort_as_they_are() {
        let ip = |s: &str| Value::Ip(s.parse().expect("an address"));
        let sorted = [
            Value::Missing,
            Value::Bool(false),
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Int(-1),
            Value::Int(0),
            Value::Int(7),
            Value::Big(u64::MAX),
            Value::Float(-0.5),
            Value::Float(0.5),
            Value::Float(1.5),
            Value::Str(b""),
            Value::Str(b"a"),
            Value::Str(b"a\0"),
            Value::Str(b"a\0b"),
            Value::Str(b"a\x01"),
            Value::Str(b"ab"),
            ip("10.0.0.9"),
            ip("203.0.113.9"),
            ip("2001:db8::1"),
            Value::Time(Timestamp(-5)),
            Value::Time(Timestamp(5)),
        ];
        for w in sorted.windows(2) {
            assert!(bytes(w[0]) < bytes(w[1]), "{:?} before {:?}", w[0], w[1]);
        }
        for v in sorted {
            let b = bytes(v);
            let (s, rest) = decode(&b).expect("a value");
            assert_eq!((s.value(), rest), (v, &[][..]));
        }
    }

    #[test]
    fn equal_values_have_equal_bytes_and_numbers_never_equal_text() {
        assert_eq!(bytes(Value::Ip("::ffff:203.0.113.9".parse().expect("v6"))), bytes(Value::Ip("203.0.113.9".parse().expect("v4"))));
        assert_eq!(bytes(Value::Float(22.0)), bytes(Value::Int(22)));
        assert_ne!(bytes(Value::Int(22)), bytes(Value::Str(b"22")));
        assert_ne!(bytes(Value::Missing), bytes(Value::Str(b"null")));
    }

    #[test]
    fn long_text_is_cut_and_stays_apart() {
        let (a, b) = ("é".repeat(100_000), "é".repeat(100_001));
        let (x, y) = (bytes(Value::Str(a.as_bytes())), bytes(Value::Str(b.as_bytes())));
        assert!(x.len() <= MAX_TEXT && x != y);
        assert!(matches!(decode(&x), Some((Scalar::Str(s), [])) if s.starts_with('é') && !s.contains('\u{fffd}')));
    }

    #[test]
    fn any_bytes_decode_without_panic() {
        for a in 0..=255u8 {
            for n in 0..20 {
                scalars(&vec![a; n]);
                scalars(&[&[a][..], &vec![0; n]].concat());
            }
        }
    }
}
