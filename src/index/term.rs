//! Values as terms: hash of the field's name, kind, value, so that bytes sort as the values of a kind do. Each term reads back as its
//! value.

use crate::event::{Timestamp, Value, words};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use xxhash_rust::xxh3::xxh3_64;

/// Text over so many bytes is no term.
pub const MAX_TEXT: usize = 128;

const TEXT: u8 = 1;
/// Text in lower case, where that differs from how it stands.
const FOLDED: u8 = 2;
const WHOLE: u8 = 3;
const FLOAT: u8 = 4;
const BOOL: u8 = 5;
const V4: u8 = 6;
const V6: u8 = 7;
const TIME: u8 = 8;

/// What all terms of a field begin with, and no field's terms otherwise but those of one whose name has the same hash: of such fields
/// one alone is indexed.
pub fn prefix(field: &str) -> Vec<u8> {
    // The highest bit is free: the number behind it is a prefix too.
    ((xxh3_64(field.as_bytes()) >> 33) as u32).to_be_bytes().to_vec()
}

/// What stands behind all terms that begin with this.
pub fn behind(prefix: &[u8]) -> Vec<u8> {
    let n = prefix.first_chunk::<4>().map_or(u32::MAX, |p| u32::from_be_bytes(*p));
    n.saturating_add(1).to_be_bytes().to_vec()
}

/// Appends the kind and the value; `false`, and nothing, for what is no term: text that is too long, a float that is no number,
/// a missing value, a list.
pub fn put(v: &Value<'_>, to: &mut Vec<u8>) -> bool {
    match *v {
        Value::Str(s) if s.len() <= MAX_TEXT => {
            to.push(TEXT);
            to.extend_from_slice(s);
        }
        Value::Int(n) => whole(n.into(), to),
        Value::Big(n) => whole(n.into(), to),
        Value::Float(x) if !x.is_nan() => {
            // Both zeros are equal.
            let bits = (x + 0.0).to_bits();
            to.push(FLOAT);
            to.extend_from_slice(&(if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }).to_be_bytes());
        }
        Value::Bool(b) => to.extend_from_slice(&[BOOL, b.into()]),
        Value::Ip(IpAddr::V4(a)) => {
            to.push(V4);
            to.extend_from_slice(&a.octets());
        }
        Value::Ip(IpAddr::V6(a)) => {
            to.push(V6);
            to.extend_from_slice(&a.octets());
        }
        Value::Time(t) => {
            to.push(TIME);
            to.extend_from_slice(&((t.0 as u64) ^ 1 << 63).to_be_bytes());
        }
        Value::Str(_) | Value::Float(_) | Value::Missing | Value::List(_) => return false,
    }
    true
}

/// Appends the kind of folded text and the text in lower case; `false`, and nothing, where that is how it stands anyway.
pub fn put_folded(text: &[u8], to: &mut Vec<u8>) -> bool {
    let from = to.len();
    to.push(FOLDED);
    let differs = words::fold(text, to);
    if !differs {
        to.truncate(from);
    }
    differs
}

/// Appends the kind of folded text and text that is in lower case already.
pub fn put_lower(lower: &[u8], to: &mut Vec<u8>) {
    to.push(FOLDED);
    to.extend_from_slice(lower);
}

/// Nine bytes hold what `i64` and `u64` hold together.
fn whole(n: i128, to: &mut Vec<u8>) {
    to.push(WHOLE);
    to.extend_from_slice(&(n + (1 << 63)).to_be_bytes()[7..]);
}

/// The same number in the other of the two kinds, if it is one: equality does not tell them apart.
pub fn twin(v: &Value<'_>) -> Option<Value<'static>> {
    match *v {
        Value::Int(n) => Some(n as f64).filter(|x| *x as i128 == i128::from(n)).map(Value::Float),
        Value::Big(n) => Some(n as f64).filter(|x| *x as i128 == i128::from(n)).map(Value::Float),
        Value::Float(x) if x.fract() == 0.0 && x.abs() < 1e20 => {
            let n = x as i128;
            i64::try_from(n).map(Value::Int).or_else(|_| u64::try_from(n).map(Value::Big)).ok()
        }
        _ => None,
    }
}

/// Reads kind and value, behind the prefix. `None` for folded text, which is nobody's value, and for what is no term.
pub fn read(b: &[u8]) -> Option<Value<'_>> {
    let (&kind, b) = b.split_first()?;
    let word = || Some(u64::from_be_bytes(b.try_into().ok()?));
    Some(match kind {
        TEXT => Value::Str(b),
        WHOLE => {
            let (&high, low) = b.split_first()?;
            let n = (i128::from(high) << 64 | i128::from(u64::from_be_bytes(low.try_into().ok()?))) - (1 << 63);
            i64::try_from(n).map(Value::Int).or_else(|_| u64::try_from(n).map(Value::Big)).ok()?
        }
        FLOAT => {
            let o = word()?;
            Value::Float(f64::from_bits(if o >> 63 == 1 { o & !(1 << 63) } else { !o }))
        }
        BOOL => Value::Bool(*b.first()? != 0),
        V4 => Value::Ip(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(b).ok()?))),
        V6 => Value::Ip(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(b).ok()?))),
        TIME => Value::Time(Timestamp((word()? ^ 1 << 63) as i64)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;

    fn bytes(v: &Value<'_>) -> Vec<u8> {
        let mut b = Vec::new();
        assert!(put(v, &mut b), "{v:?}");
        b
    }

    fn value() -> impl Strategy<Value = Value<'static>> {
        prop_oneof![
            "[a-zA-Z\\x00Ä]{0,12}".prop_map(|s| Value::Str(Box::leak(s.into_boxed_str()).as_bytes())),
            any::<i64>().prop_map(Value::Int),
            (0..1i64 << 60).prop_map(|n| Value::Big(i64::MAX as u64 + 1 + n as u64)),
            any::<f64>().prop_filter("a number", |x| !x.is_nan()).prop_map(|x| Value::Float(x + 0.0)),
            (-20..20i64).prop_map(|n| Value::Float(n as f64)),
            any::<bool>().prop_map(Value::Bool),
            any::<[u8; 4]>().prop_map(|a| Value::Ip(a.into())),
            any::<[u8; 16]>().prop_map(|a| Value::Ip(a.into())),
            any::<i64>().prop_map(|t| Value::Time(Timestamp(t))),
        ]
    }

    proptest! {
        #[test]
        fn a_term_reads_back_and_sorts_as_its_value(a in value(), b in value()) {
            let (x, y) = (bytes(&a), bytes(&b));
            prop_assert_eq!(read(&x), Some(a));
            if x[0] == y[0] {
                prop_assert_eq!(a.compare(&b), Some(x.cmp(&y)));
            }
            if let Some(t) = twin(&a) {
                prop_assert_eq!(a.compare(&t), Some(Ordering::Equal));
            }
        }
    }

    #[test]
    fn what_is_no_term_is_left_out() {
        let mut b = Vec::new();
        let long = [b'x'; MAX_TEXT + 1];
        for v in [Value::Missing, Value::Float(f64::NAN), Value::Str(&long)] {
            assert!(!put(&v, &mut b) && b.is_empty(), "{v:?}");
        }
        assert!(!put_folded(b"lower", &mut b) && b.is_empty());
        assert!(put_folded("GRÖSSE".as_bytes(), &mut b));
        assert_eq!((read(&b), &b[1..]), (None, "grösse".as_bytes()));
        assert_eq!(twin(&Value::Int(i64::MAX)), None, "no float is that number");
        assert_eq!(bytes(&Value::Float(-0.0)), bytes(&Value::Float(0.0)));
    }
}
