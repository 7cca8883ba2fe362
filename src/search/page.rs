//! Which of the events that were found stand on a page, and where the next one begins.
//!
//! Events are ordered by (time, number). A page begins behind the last event of the one before, and all pages are of what was in the
//! journal at the first: so they follow one another without a gap or a repetition, whatever arrives meanwhile.

use super::find::{Found, Part};
use crate::alert::hex;
use crate::event::Timestamp;
use crate::journal::Address;
use crate::store::unhex;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

/// Where an event stands among all.
pub type Key = (Timestamp, u64);

/// The order of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

/// One event of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its time and number.
    pub key: Key,
    /// Where its record is.
    pub place: Place,
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// By its address.
    At(Address),
    /// In this entry.
    Entry(u64),
}

/// An event in the order that is wanted: what comes first is the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Newest(Reverse<Key>),
    Oldest(Key),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    Part(usize, u32),
    Entry(u64),
}

impl Order {
    fn rank(self, key: Key) -> Rank {
        match self {
            Order::Newest => Rank::Newest(Reverse(key)),
            Order::Oldest => Rank::Oldest(key),
        }
    }

    /// The rank of the first event that a part can have.
    fn first(self, p: &Part) -> Rank {
        match self {
            Order::Newest => self.rank((p.slice.newest(), u64::MAX)),
            Order::Oldest => self.rank((p.slice.oldest(), 0)),
        }
    }
}

/// At most `limit` events in this order, those behind `after` if it is given, and whether there are more.
pub fn page(found: &Found, order: Order, after: Option<Key>, limit: usize) -> (Vec<Hit>, bool) {
    let after = after.map(|k| order.rank(k));
    // One more than fits tells whether there are more. The last in order is at the top, and the first to go.
    let room = limit.saturating_add(1);
    let mut heap: BinaryHeap<(Rank, From)> = BinaryHeap::new();
    let put = |heap: &mut BinaryHeap<(Rank, From)>, rank: Rank, from: From| {
        if after.is_some_and(|a| rank <= a) {
            return;
        }
        if heap.len() < room {
            heap.push((rank, from));
        } else if heap.peek().is_some_and(|(last, _)| rank < *last) {
            heap.pop();
            heap.push((rank, from));
        }
    };
    for l in &found.loose {
        put(&mut heap, order.rank((l.time, l.seq)), From::Entry(l.lsn));
    }
    // Those that can come first are looked at first: most of the others need not be.
    let mut parts: Vec<usize> = (0..found.parts.len()).collect();
    parts.sort_by_key(|&i| order.first(&found.parts[i]));
    for i in parts {
        let p = &found.parts[i];
        if heap.len() == room && heap.peek().is_some_and(|(last, _)| order.first(p) > *last) {
            break;
        }
        for doc in p.docs.iter().rev() {
            let time = p.slice.time(doc);
            // The number is read only where it can matter.
            let nearest = match order {
                Order::Newest => order.rank((time, u64::MAX)),
                Order::Oldest => order.rank((time, 0)),
            };
            if heap.len() == room && heap.peek().is_some_and(|(last, _)| nearest > *last) {
                continue;
            }
            put(&mut heap, order.rank((time, p.slice.seq(doc))), From::Part(i, doc));
        }
    }
    let mut all = heap.into_sorted_vec();
    let more = all.len() > limit;
    all.truncate(limit);
    let hit = |(rank, from)| {
        let key = match rank {
            Rank::Newest(Reverse(k)) | Rank::Oldest(k) => k,
        };
        let place = match from {
            From::Part(i, doc) => Place::At(found.parts[i].slice.address(doc)),
            From::Entry(lsn) => Place::Entry(lsn),
        };
        Hit { key, place }
    };
    (all.into_iter().map(hit).collect(), more)
}

/// Where a page ends, as a client brings it back for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The last entry of the journal that the pages are of …
    pub last_lsn: u64,
    /// … and the last record.
    pub last_seq: u64,
    /// Times as they were at the first page.
    pub since: Option<Timestamp>,
    /// See `since`.
    pub until: Option<Timestamp>,
    /// The last event of the page.
    pub after: Key,
    /// What was asked.
    pub asked: u64,
}

/// A cursor's bytes, without its checksum.
const CURSOR: usize = 8 + 8 + 1 + 8 + 8 + 8 + 8 + 8;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut b = Vec::with_capacity(CURSOR + 4);
        b.push(u8::from(self.since.is_some()) | u8::from(self.until.is_some()) << 1);
        for t in [self.since.unwrap_or_default(), self.until.unwrap_or_default(), self.after.0] {
            b.extend_from_slice(&t.0.to_be_bytes());
        }
        for n in [self.after.1, self.last_lsn, self.last_seq, self.asked] {
            b.extend_from_slice(&n.to_be_bytes());
        }
        b.extend_from_slice(&check(&b));
        f.write_str(&hex(&b))
    }
}

fn check(b: &[u8]) -> [u8; 4] {
    (xxhash_rust::xxh3::xxh3_64(b) as u32).to_be_bytes()
}

impl Cursor {
    /// Reads what its `Display` writes; `None` for anything else.
    pub fn parse(s: &str) -> Option<Cursor> {
        let b: [u8; CURSOR + 4] = unhex(s)?;
        let (body, sum) = b.split_at(CURSOR);
        if check(body) != sum {
            return None;
        }
        let (&flags, rest) = body.split_first()?;
        let mut words = rest.chunks_exact(8).filter_map(|c| c.first_chunk::<8>()).map(|c| u64::from_be_bytes(*c));
        let mut next = || words.next();
        let (since, until, time) = (next()? as i64, next()? as i64, next()? as i64);
        let (seq, last_lsn, last_seq, asked) = (next()?, next()?, next()?, next()?);
        Some(Cursor {
            last_lsn,
            last_seq,
            since: (flags & 1 != 0).then_some(Timestamp(since)),
            until: (flags & 2 != 0).then_some(Timestamp(until)),
            after: (Timestamp(time), seq),
            asked,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::find::Loose;
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        for (since, until) in [(None, None), (Some(Timestamp(-5)), None), (Some(Timestamp::MIN), Some(Timestamp::MAX))] {
            let c = Cursor { last_lsn: 7, last_seq: u64::MAX, since, until, after: (Timestamp(-1), 3), asked: 9 };
            let text = c.to_string();
            assert_eq!(Cursor::parse(&text), Some(c));
            let changed = text.replacen(|c: char| c.is_ascii_digit(), "f", 1);
            assert_eq!(Cursor::parse(&changed), None, "{changed}");
        }
        for s in ["", "00", "zz", "é"] {
            assert_eq!(Cursor::parse(s), None, "{s}");
        }
    }

    #[test]
    fn pages_follow_one_another_in_either_order() {
        let times = [5, 1, 5, 3, 9, 5, -2];
        let loose = times.iter().enumerate().map(|(i, t)| Loose { time: Timestamp(*t), seq: i as u64, lsn: 1 });
        let found = Found { loose: loose.collect(), ..Found::default() };
        for order in [Order::Newest, Order::Oldest] {
            let mut want: Vec<Key> = times.iter().enumerate().map(|(i, t)| (Timestamp(*t), i as u64)).collect();
            want.sort();
            if order == Order::Newest {
                want.reverse();
            }
            for limit in 1..9 {
                let (mut got, mut after) = (Vec::new(), None);
                loop {
                    let (hits, more) = page(&found, order, after, limit);
                    got.extend(hits.iter().map(|h| h.key));
                    after = got.last().copied();
                    if !more {
                        break;
                    }
                    assert_eq!(hits.len(), limit);
                }
                assert_eq!(got, want, "{order:?} by {limit}");
            }
        }
        assert_eq!(page(&found, Order::Newest, None, 0), (vec![], true));
    }
}
