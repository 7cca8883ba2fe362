//! A match of a rule by an event or an alert, for one key: what the state is fed with.

use super::evidence::{AlertRef, Kept};
use super::stream::Rank;
use super::{blob, key};
use crate::event::{Event, Field, Timestamp, Value};
use crate::rule::{Kind, Rearm, Rule};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The place of a hit in the order of all: that of its event, and behind it, level by level, those of the alerts that
/// the event completed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pos {
    /// Event time.
    pub ts: Timestamp,
    /// The stream.
    pub stream: Rank,
    /// The place in it.
    pub place: u64,
    /// The level of the rule whose alert this is; 0 for the event itself.
    pub level: u16,
    /// The rule whose alert this is; rules are numbered in the order of their ids.
    pub rule: u32,
    /// The key of the alert.
    #[serde(with = "blob::option")]
    pub origin: Option<Arc<[u8]>>,
    /// The place among the keys that one event gives a rule.
    pub ord: u8,
}

/// What beside the key goes into the state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing.
    None,
    /// Hashes of values, for `distinct`.
    Values(Box<[u128]>),
    /// Millionths, for `sum`.
    Amount(i128),
    /// A value and label values: the hit moves a metric and enters no state.
    Metric(Box<(f64, Vec<String>)>),
}

/// One match.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hit {
    /// Its place.
    pub pos: Pos,
    /// The rule. Saved state stands under the rule's id.
    #[serde(skip)]
    pub rule: u32,
    /// The steps it fills, one bit each.
    pub mask: u32,
    /// The group key.
    #[serde(with = "blob")]
    pub key: Arc<[u8]>,
    /// The key of the quiet; the group key unless several share a cooldown.
    #[serde(with = "blob")]
    pub quiet: Arc<[u8]>,
    /// The value of `per`, hashed.
    pub per: u128,
    /// What goes into the state.
    pub payload: Payload,
    /// Hash of the record, or of the alert's id.
    pub content: u64,
    /// The number of the record.
    pub seq: u64,
    /// The alert, where it is one.
    pub alert: Option<Arc<AlertRef>>,
    /// What an alert may take from it.
    #[serde(with = "blob::option")]
    pub kept: Option<Kept>,
    /// Whether it is of an alert that is not final.
    pub tentative: bool,
}

/// At most so many keys of one event for one rule.
pub const MAX_KEYS: usize = 8;
/// At most so many values of an array field are kept for an alert.
const MAX_KEPT: usize = 8;

/// The fields of a rule's alerts beyond the key: what it carries, then what its summary names.
pub fn kept_fields(rule: &Rule) -> Vec<Field> {
    let mut all = rule.carry.clone();
    let parts = rule.summary.iter().flat_map(|t| &t.0);
    for f in parts.filter_map(|p| if let crate::rule::Part::Field(f) = p { Some(*f) } else { None }) {
        if !all.contains(&f) && !key_fields(rule).contains(&f) {
            all.push(f);
        }
    }
    all
}

/// The fields of the alert's key: those of `by`, or without them those of a shared cooldown.
pub fn key_fields(rule: &Rule) -> &[Field] {
    match &rule.rearm {
        Rearm::Cooldown { by: Some(by), .. } if rule.by.is_empty() => by,
        _ => &rule.by,
    }
}

/// Collects the values of `fields` for an alert.
pub fn keep(ev: &Event<'_>, fields: &[Field]) -> Option<Kept> {
    if fields.is_empty() {
        return None;
    }
    let mut b = Vec::with_capacity(64);
    for &f in fields {
        let at = b.len();
        b.push(0);
        let mut n = 0u8;
        for v in ev.get(f).each().take(MAX_KEPT) {
            key::encode(v, &mut b);
            n += 1;
        }
        b[at] = n;
    }
    Some(b.into())
}

/// The encoded values of the i-th field kept, unless it has none.
pub fn kept_field(kept: &[u8], i: usize) -> Option<&[u8]> {
    let mut b = kept;
    for k in 0..=i {
        let (&n, mut rest) = b.split_first()?;
        let values = rest;
        for _ in 0..n {
            rest = key::decode(rest)?.1;
        }
        if k == i {
            return (n > 0).then(|| &values[..values.len() - rest.len()]);
        }
        b = rest;
    }
    None
}

/// What was kept for one list of fields as it stands for another: `from` has for each field of the new list its place in the old.
///
/// None where the old list's values cannot be read.
pub fn rekeep(kept: &[u8], from: &[Option<usize>]) -> Option<Vec<u8>> {
    let (mut parts, mut b) = (Vec::new(), kept);
    while let Some((&n, mut rest)) = b.split_first() {
        for _ in 0..n {
            rest = key::decode(rest)?.1;
        }
        parts.push(&b[..b.len() - rest.len()]);
        b = rest;
    }
    let mut all = Vec::with_capacity(kept.len());
    for place in from {
        match place {
            Some(i) => all.extend_from_slice(parts.get(*i)?),
            None => all.push(0),
        }
    }
    Some(all)
}

/// The keys that an event has for these fields: one for each combination of the elements of its arrays, the last field
/// varying fastest, without repetition, at most [`MAX_KEYS`].
///
/// None where a field is missing, unless `null` makes that a null key. `left` counts the combinations left out.
pub fn keys(ev: &Event<'_>, fields: &[Field], null: bool, scratch: &mut Vec<u8>, left: &mut u64, all: &mut Vec<Arc<[u8]>>) {
    scratch.clear();
    let single = fields.iter().all(|&f| !matches!(ev.get(f), Value::List(_)));
    if single {
        for &f in fields {
            let v = ev.get(f);
            if v.is_missing() && !null {
                return;
            }
            key::encode(v, scratch);
        }
        return all.push(Arc::from(&scratch[..]));
    }
    // Elements without repetition, encoded.
    let mut columns: Vec<Vec<Vec<u8>>> = Vec::with_capacity(fields.len());
    for &f in fields {
        let mut column: Vec<Vec<u8>> = Vec::new();
        for v in ev.get(f).each() {
            let mut b = Vec::new();
            key::encode(v, &mut b);
            if !column.contains(&b) {
                column.push(b);
            }
        }
        if column.is_empty() {
            if !null {
                return;
            }
            column.push(vec![0]);
        }
        columns.push(column);
    }
    let total: u64 = columns.iter().map(|c| c.len() as u64).fold(1, u64::saturating_mul);
    *left += total.saturating_sub(MAX_KEYS as u64);
    for n in 0..total.min(MAX_KEYS as u64) {
        let (mut n, mut at) = (n as usize, vec![0; columns.len()]);
        for (i, c) in columns.iter().enumerate().rev() {
            at[i] = n % c.len();
            n /= c.len();
        }
        scratch.clear();
        columns.iter().zip(&at).for_each(|(c, &i)| scratch.extend_from_slice(&c[i]));
        all.push(Arc::from(&scratch[..]));
    }
}

/// The state's food of an event: `None` where the event is no match (a missing value, nothing to add).
pub fn payload(ev: &Event<'_>, kind: &Kind, scratch: &mut Vec<u8>) -> Option<Payload> {
    match kind {
        Kind::Distinct { fields, .. } => {
            let mut values = Vec::new();
            let mut hash = |b: &[u8]| {
                let h = xxhash_rust::xxh3::xxh3_128(b);
                if !values.contains(&h) {
                    values.push(h);
                }
            };
            if let [one] = fields[..] {
                for v in ev.get(one).each() {
                    scratch.clear();
                    key::encode(v, scratch);
                    hash(scratch);
                }
            } else {
                let mut all = Vec::new();
                keys(ev, fields, false, scratch, &mut 0, &mut all);
                for k in all {
                    hash(&k);
                }
            }
            (!values.is_empty()).then(|| Payload::Values(values.into()))
        }
        Kind::Sum { field, .. } => {
            let sum: i128 = ev.get(*field).each().filter_map(millionths).filter(|&v| v > 0).sum();
            (sum > 0).then_some(Payload::Amount(sum))
        }
        _ => Some(Payload::None),
    }
}

impl Payload {
    /// Whether it is what a rule of this kind takes in.
    pub fn fits(&self, kind: &Kind) -> bool {
        match self {
            Payload::Values(_) => matches!(kind, Kind::Distinct { .. }),
            Payload::Amount(_) => matches!(kind, Kind::Sum { .. }),
            Payload::None => !matches!(kind, Kind::Distinct { .. } | Kind::Sum { .. }),
            Payload::Metric(_) => true,
        }
    }
}

/// A number in millionths.
pub fn millionths(v: Value<'_>) -> Option<i128> {
    match v {
        Value::Int(n) => Some(n as i128 * 1_000_000),
        Value::Big(n) => Some(n as i128 * 1_000_000),
        Value::Float(x) if x.is_finite() && x.abs() < 1e24 => Some((x * 1e6).round() as i128),
        _ => None,
    }
}

/// The hash of the value of `per`; a missing value is a value of its own.
pub fn per(ev: &Event<'_>, field: Option<Field>, scratch: &mut Vec<u8>) -> u128 {
    let Some(f) = field else { return 0 };
    scratch.clear();
    key::encode(ev.get(f), scratch);
    xxhash_rust::xxh3::xxh3_128(scratch)
}
