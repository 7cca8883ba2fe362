//! What a field holds: slots that point into a batch, and the values that are read out of them.

use super::time::Timestamp;
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A stretch of bytes: offset and length in the batch or in its arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stretch {
    /// Offset of the first byte.
    pub off: u32,
    /// Length in bytes.
    pub len: u32,
}

/// One field of one event, 16 bytes: the value itself where it is small, else where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Slot {
    /// No value.
    #[default]
    Missing,
    /// Text in the batch's bytes.
    Bytes(Stretch),
    /// Text in the arena (unescaped, folded or put together).
    Text(Stretch),
    /// A whole number.
    Int(i64),
    /// A whole number above `i64::MAX`.
    Big(u64),
    /// A float.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// An instant.
    Time(Timestamp),
    /// A v4 address.
    Ip4(u32),
    /// A v6 address, by its index in the arena.
    Ip6(u32),
    /// Several values, a range of the arena's list slots (offset and length count slots).
    List(Stretch),
}

/// A value, borrowed from an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Missing,
    /// Text; UTF-8, since a record is made so before it is parsed.
    Str(&'a [u8]),
    /// A whole number.
    Int(i64),
    /// A whole number above `i64::MAX`.
    Big(u64),
    /// A float.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// An instant.
    Time(Timestamp),
    /// An address, v4-mapped ones folded.
    Ip(IpAddr),
    /// Several values.
    List(List<'a>),
}

/// The elements of an array field; none is itself a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct List<'a> {
    pub(super) slots: &'a [Slot],
    pub(super) bytes: &'a [u8],
    pub(super) arena: &'a Arena,
}

impl<'a> List<'a> {
    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (bytes, arena) = (self.bytes, self.arena);
        self.slots.iter().map(move |&s| read(s, bytes, arena))
    }
}

impl<'a> Value<'a> {
    /// The elements of a list, or the value itself, or nothing where it is missing.
    pub fn each(self) -> impl Iterator<Item = Value<'a>> {
        let (one, many) = match self {
            Value::Missing => (None, None),
            Value::List(l) => (None, Some(l.iter())),
            v => (Some(v), None),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Whether there is no value; an empty list is none.
    pub fn is_missing(&self) -> bool {
        match self {
            Value::Missing => true,
            Value::List(l) => l.slots.is_empty(),
            _ => false,
        }
    }

    /// The text, where it is text.
    pub fn str(&self) -> Option<&'a [u8]> {
        if let Value::Str(s) = self { Some(s) } else { None }
    }

    /// The order of two numbers (whole or float), two instants, two texts, two addresses or two truth values; `None`
    /// between different kinds.
    pub fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        use Value::*;
        Some(match (self, other) {
            (Str(a), Str(b)) => a.cmp(b),
            (Int(a), Int(b)) => a.cmp(b),
            (Big(a), Big(b)) => a.cmp(b),
            (Int(_), Big(_)) => Ordering::Less,
            (Big(_), Int(_)) => Ordering::Greater,
            (Float(a), Float(b)) => return a.partial_cmp(b),
            (Int(a), Float(b)) => return whole_and_float(*a as i128, *b),
            (Big(a), Float(b)) => return whole_and_float(*a as i128, *b),
            (Float(_), Int(_) | Big(_)) => return other.compare(self).map(Ordering::reverse),
            (Bool(a), Bool(b)) => a.cmp(b),
            (Time(a), Time(b)) => a.cmp(b),
            (Ip(a), Ip(b)) => a.cmp(b),
            _ => return None,
        })
    }
}

/// Compares exactly: a whole number above 2⁵³ is not rounded to a float first.
fn whole_and_float(a: i128, b: f64) -> Option<Ordering> {
    if b.is_nan() {
        return None;
    }
    if b.abs() >= 2f64.powi(100) {
        return Some(if b > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let whole = b.floor();
    Some(a.cmp(&(whole as i128)).then(if b > whole { Ordering::Less } else { Ordering::Equal }))
}

/// Folds a v4-mapped v6 address into the v4 address it stands for.
pub fn fold(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        v4 => v4,
    }
}

/// Reads an address in any spelling: brackets around and a zone (`%eth0`) behind a v6 address are taken off, leading
/// zeros are refused in v4, v4-mapped addresses are folded.
pub fn ip(b: &[u8]) -> Option<IpAddr> {
    if b.is_empty() || b.len() > 64 {
        return None;
    }
    if b.len() <= 15
        && let Some(v4) = ip4(b)
    {
        return Some(IpAddr::V4(v4));
    }
    let b = match b {
        [b'[', inner @ .., b']'] => inner,
        b => b,
    };
    let b = match memchr::memchr(b'%', b) {
        Some(i) => &b[..i],
        None => b,
    };
    std::str::from_utf8(b).ok()?.parse().ok().map(fold)
}

fn ip4(b: &[u8]) -> Option<Ipv4Addr> {
    let (mut out, mut part, mut len, mut dots) = (0u32, 0u32, 0u32, 0u32);
    for &c in b {
        match c {
            b'0'..=b'9' => {
                if len == 3 || (len > 0 && part == 0) {
                    return None;
                }
                part = part * 10 + (c - b'0') as u32;
                len += 1;
            }
            b'.' => {
                if len == 0 || part > 255 || dots == 3 {
                    return None;
                }
                out = out << 8 | part;
                (part, len) = (0, 0);
                dots += 1;
            }
            _ => return None,
        }
    }
    (dots == 3 && len > 0 && part <= 255).then(|| Ipv4Addr::from(out << 8 | part))
}

/// What a batch holds beside its bytes: text that was put together, v6 addresses, lists. Cleared with the batch, its
/// memory kept, so that nothing is allocated for an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arena {
    pub(super) text: Vec<u8>,
    pub(super) ips: Vec<Ipv6Addr>,
    pub(super) lists: Vec<Slot>,
}

impl Arena {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ips.clear();
        self.lists.clear();
    }
}

/// Reads a slot.
#[inline]
pub(super) fn read<'a>(s: Slot, bytes: &'a [u8], arena: &'a Arena) -> Value<'a> {
    match s {
        Slot::Missing => Value::Missing,
        Slot::Bytes(r) => Value::Str(&bytes[r.off as usize..(r.off + r.len) as usize]),
        Slot::Text(r) => Value::Str(&arena.text[r.off as usize..(r.off + r.len) as usize]),
        Slot::Int(v) => Value::Int(v),
        Slot::Big(v) => Value::Big(v),
        Slot::Float(v) => Value::Float(v),
        Slot::Bool(v) => Value::Bool(v),
        Slot::Time(t) => Value::Time(t),
        Slot::Ip4(v) => Value::Ip(IpAddr::V4(Ipv4Addr::from(v))),
        Slot::Ip6(i) => Value::Ip(IpAddr::V6(arena.ips[i as usize])),
        Slot::List(r) => Value::List(List { slots: &arena.lists[r.off as usize..(r.off + r.len) as usize], bytes, arena }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_sixteen_bytes() {
        assert_eq!(size_of::<Slot>(), 16);
    }

    #[test]
    fn addresses_in_any_spelling() {
        let same = |a: &str, b: &str| assert_eq!(ip(a.as_bytes()), ip(b.as_bytes()), "{a} and {b}");
        same("::ffff:203.0.113.9", "203.0.113.9");
        same("2001:0DB8:0:0:0:0:0:1", "2001:db8::1");
        same("[2001:db8::1]", "2001:db8::1");
        same("fe80::1%eth0", "fe80::1");
        for s in ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "x", "1.2.3.x", "::g", "1..2.3"] {
            assert_eq!(ip(s.as_bytes()), None, "{s}");
        }
    }

    #[test]
    fn numbers_compare_exactly_across_kinds() {
        use Ordering::*;
        let c = |a: Value<'_>, b: Value<'_>| a.compare(&b);
        assert_eq!(c(Value::Int(9_007_199_254_740_993), Value::Float(9_007_199_254_740_992.0)), Some(Greater));
        assert_eq!(c(Value::Float(0.5), Value::Int(0)), Some(Greater));
        assert_eq!(c(Value::Float(-0.5), Value::Int(0)), Some(Less));
        assert_eq!(c(Value::Big(u64::MAX), Value::Int(i64::MAX)), Some(Greater));
        assert_eq!(c(Value::Int(1), Value::Float(f64::INFINITY)), Some(Less));
        assert_eq!(c(Value::Int(1), Value::Str(b"1")), None, "numbers never equal text");
    }
}
