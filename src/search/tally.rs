//! How many events have each value of a field: what top values, distinct counts and statistics are made of.

use crate::event::{Timestamp, Value, json};
use hashbrown::HashMap;
use std::net::IpAddr;

/// A value, equal to another if `==` holds between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A whole number, also one that came as a float.
    Whole(i128),
    /// The bits of another float, so that they sort as it does.
    Part(u64),
    /// Text.
    Text(Box<[u8]>),
    /// A truth value.
    Bool(bool),
    /// An address.
    Ip(IpAddr),
    /// An instant.
    Time(i64),
}

/// Bytes that a value takes in a tally beside its text, roughly.
const ENTRY: usize = 64;

impl Key {
    /// `None` for a missing value, a list and what is no number.
    pub fn of(v: &Value<'_>) -> Option<Key> {
        Some(match *v {
            Value::Missing | Value::List(_) => return None,
            Value::Str(s) => Key::Text(s.into()),
            Value::Int(n) => Key::Whole(n.into()),
            Value::Big(n) => Key::Whole(n.into()),
            Value::Float(x) if x.is_nan() => return None,
            Value::Float(x) if x.fract() == 0.0 && x.abs() < 2f64.powi(100) => Key::Whole(x as i128),
            Value::Float(x) => {
                let bits = x.to_bits();
                Key::Part(if bits >> 63 == 1 { !bits } else { bits | 1 << 63 })
            }
            Value::Bool(b) => Key::Bool(b),
            Value::Ip(ip) => Key::Ip(ip),
            Value::Time(t) => Key::Time(t.0),
        })
    }

    fn float(bits: u64) -> f64 {
        f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
    }

    /// The value as JSON text.
    pub fn json(&self) -> String {
        let mut out = Vec::new();
        match self {
            Key::Whole(n) => return n.to_string(),
            Key::Part(b) => json::value(Value::Float(Key::float(*b)), false, &mut out),
            Key::Text(s) => json::value(Value::Str(s), false, &mut out),
            Key::Bool(b) => json::value(Value::Bool(*b), false, &mut out),
            Key::Ip(ip) => json::value(Value::Ip(*ip), false, &mut out),
            Key::Time(t) => json::value(Value::Time(Timestamp(*t)), false, &mut out),
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    fn bytes(&self) -> usize {
        ENTRY + if let Key::Text(s) = self { s.len() } else { 0 }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    counts: HashMap<Key, u64>,
    bytes: usize,
    scratch: Vec<Key>,
}

/// What the numbers of a field come to. A number that an event has twice counts once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// How many there are.
    pub count: u64,
    /// The least, as JSON.
    pub min: Option<String>,
    /// The greatest, as JSON.
    pub max: Option<String>,
    /// All together, as JSON.
    pub sum: Option<String>,
    /// The sum by the count.
    pub avg: Option<f64>,
}

impl Tally {
    /// So many events have this value.
    pub fn add(&mut self, v: &Value<'_>, events: u64) {
        if let Some(key) = Key::of(v) {
            self.put(key, events);
        }
    }

    /// One event has these values; each counts once.
    pub fn event(&mut self, v: Value<'_>) {
        let mut keys = std::mem::take(&mut self.scratch);
        keys.extend(v.each().filter_map(|v| Key::of(&v)));
        keys.sort_unstable();
        keys.dedup();
        for key in keys.drain(..) {
            self.put(key, 1);
        }
        self.scratch = keys;
    }

    fn put(&mut self, key: Key, events: u64) {
        let bytes = key.bytes();
        match self.counts.entry(key) {
            hashbrown::hash_map::Entry::Occupied(mut e) => *e.get_mut() += events,
            hashbrown::hash_map::Entry::Vacant(e) => {
                e.insert(events);
                self.bytes += bytes;
            }
        }
    }

    /// Bytes that it takes, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many different values there are.
    pub fn distinct(&self) -> u64 {
        self.counts.len() as u64
    }

    /// The values that the most events have, the most frequent first and equally frequent ones in their order; at most `n`.
    pub fn top(&self, n: usize) -> Vec<(&Key, u64)> {
        let mut all: Vec<(&Key, u64)> = self.counts.iter().map(|(k, n)| (k, *n)).collect();
        let order = |a: &(&Key, u64), b: &(&Key, u64)| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0));
        if all.len() > n && n > 0 {
            all.select_nth_unstable_by(n - 1, order);
        }
        all.truncate(n);
        all.sort_unstable_by(order);
        all
    }

    /// What the numbers come to.
    pub fn stats(&self) -> Stats {
        let (mut whole, mut parts) = ((i128::MAX, i128::MIN, 0i128), Vec::new());
        let (mut count, mut wholes) = (0u64, 0u64);
        for (key, n) in &self.counts {
            match key {
                Key::Whole(v) => {
                    whole = (whole.0.min(*v), whole.1.max(*v), whole.2.saturating_add(v.saturating_mul(i128::from(*n))));
                    (count, wholes) = (count + n, wholes + n);
                }
                Key::Part(b) => {
                    parts.push((*b, *n));
                    count += n;
                }
                _ => {}
            }
        }
        if count == 0 {
            return Stats::default();
        }
        // In their order, so that rounding is the same every time.
        parts.sort_unstable();
        let (sum, least, greatest) = match (parts.first(), parts.last()) {
            (Some(a), Some(z)) => {
                let sum = parts.iter().fold(whole.2 as f64, |s, (b, n)| s + Key::float(*b) * *n as f64);
                let (a, z) = (Key::float(a.0), Key::float(z.0));
                let below = wholes > 0 && (whole.0 as f64) < a;
                let above = wholes > 0 && (whole.1 as f64) > z;
                let text = |x: f64| serde_json::json!(x).to_string();
                (text(sum), if below { whole.0.to_string() } else { text(a) }, if above { whole.1.to_string() } else { text(z) })
            }
            _ => (whole.2.to_string(), whole.0.to_string(), whole.1.to_string()),
        };
        let avg = parts.iter().fold(whole.2 as f64, |s, (b, n)| s + Key::float(*b) * *n as f64) / count as f64;
        Stats { count, min: Some(least), max: Some(greatest), sum: Some(sum), avg: Some(avg) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_values_are_those_that_the_most_events_have() {
        let mut t = Tally::default();
        for (v, n) in [("a", 3), ("b", 5), ("c", 3), ("d", 1)] {
            t.add(&Value::Str(v.as_bytes()), n);
        }
        t.add(&Value::Str(b"d"), 1);
        let top = |n| t.top(n).into_iter().map(|(k, n)| format!("{}{n}", k.json())).collect::<Vec<_>>().join(" ");
        assert_eq!(top(3), "\"b\"5 \"a\"3 \"c\"3");
        assert_eq!(top(10), "\"b\"5 \"a\"3 \"c\"3 \"d\"2");
        assert_eq!((top(0).as_str(), t.distinct()), ("", 4));
    }

    #[test]
    fn equal_values_are_one_and_kinds_are_not_mixed() {
        let mut t = Tally::default();
        for v in [Value::Int(1), Value::Float(1.0), Value::Big(u64::MAX), Value::Float(-0.0), Value::Int(0), Value::Str(b"1"), Value::Float(f64::NAN)]
        {
            t.event(v);
        }
        assert_eq!(t.distinct(), 4);
    }

    #[test]
    fn statistics_are_of_numbers_alone() {
        let of = |all: &[Value<'_>]| {
            let mut t = Tally::default();
            all.iter().for_each(|v| t.event(*v));
            let s = t.stats();
            (s.count, s.min, s.max, s.sum, s.avg)
        };
        let text = |s: &str| Some(s.to_owned());
        assert_eq!(of(&[Value::Str(b"x"), Value::Bool(true)]), (0, None, None, None, None));
        assert_eq!(of(&[Value::Int(-2), Value::Int(5), Value::Int(5)]), (3, text("-2"), text("5"), text("8"), Some(8.0 / 3.0)));
        assert_eq!(of(&[Value::Float(-1.5), Value::Int(2), Value::Float(0.25)]), (3, text("-1.5"), text("2"), text("0.75"), Some(0.25)));
        assert_eq!(of(&[Value::Big(u64::MAX), Value::Big(u64::MAX)]).3, text("36893488147419103230"), "sums do not wrap");
    }
}
