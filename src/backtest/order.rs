//! The order in which the records of many streams are taken, as `replay` takes files: each stream in its own order, merged by event
//! time, with the lateness of a file.
//!
//! Whether a record is late depends on the records before it in its own stream alone, so one pass in the order of the journal
//! judges it. What is in time may then be taken in the order of time: the engine would put it there itself. What is late is
//! taken when the greatest time of its stream so far has been, when a merge would come to it too. A merge knows that no stream has
//! anything older than what it takes, so that is how late it is for all of them.

use crate::event::Timestamp;
use crate::worker::FILE_LATENESS;
use std::collections::HashMap;
use std::sync::Arc;

/// Streams by name, at most [`Order::MAX`] apart from each other.
#[derive(Default)]
pub struct Order {
    ids: HashMap<Arc<str>, u32>,
    streams: Vec<(Arc<str>, Timestamp)>,
}

/// Where a record stands. Places sort as records are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it is taken: at its time, or, late, at the greatest time of its stream before it.
    pub at: Timestamp,
    /// Whether it is late.
    pub late: bool,
    /// Its number in the journal.
    pub seq: u64,
    /// Its stream, as [`Order::stream`] numbers it.
    pub stream: u32,
}

impl Order {
    /// More streams than these share one, as the engine's do.
    pub const MAX: usize = crate::engine::stream::MAX_STREAMS;

    /// The stream of a name.
    pub fn stream(&mut self, name: &str) -> u32 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let name = if self.streams.len() < Order::MAX { name } else { "\u{10ffff}shared" };
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let (name, id) = (Arc::<str>::from(name), self.streams.len() as u32);
        self.streams.push((name.clone(), Timestamp::MIN));
        self.ids.insert(name, id);
        id
    }

    /// The streams.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.streams.iter().map(|s| &s.0)
    }

    /// The place of the next record of a stream.
    pub fn place(&mut self, stream: u32, t: Timestamp, seq: u64) -> Place {
        let greatest = &mut self.streams[stream as usize].1;
        let late = *greatest != Timestamp::MIN && t < greatest.minus(FILE_LATENESS);
        let at = if late { *greatest } else { t };
        *greatest = (*greatest).max(t);
        Place { at, late, seq, stream }
    }

    /// Begins anew at the first record, with the streams that are known.
    pub fn rewind(&mut self) {
        self.streams.iter_mut().for_each(|s| s.1 = Timestamp::MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(n: i64) -> Timestamp {
        Timestamp(n * crate::event::time::SECOND)
    }

    #[test]
    fn late_is_what_is_further_behind_its_own_stream_than_files_may_be() {
        let mut o = Order::default();
        let (a, b) = (o.stream("a"), o.stream("b"));
        let mut seq = 0;
        let mut place = |o: &mut Order, stream, t| {
            seq += 1;
            o.place(stream, s(t), seq)
        };
        let got = [(a, 100), (b, 10), (a, 95), (a, 94), (b, 4), (b, 5), (a, 101)].map(|(st, t)| place(&mut o, st, t));
        assert_eq!(got.map(|p| p.late), [false, false, false, true, true, false, false]);
        assert_eq!(got.map(|p| p.at), [s(100), s(10), s(95), s(100), s(10), s(5), s(101)]);
        let mut sorted = got;
        sorted.sort();
        assert_eq!(sorted.map(|p| p.seq), [6, 2, 5, 3, 1, 4, 7], "what is late comes behind what made it so");
        o.rewind();
        assert!(!place(&mut o, a, 1).late);
        assert_eq!(o.stream("a"), a);
    }

    #[test]
    fn past_the_limit_streams_share_one() {
        let mut o = Order::default();
        for i in 0..Order::MAX {
            o.stream(&i.to_string());
        }
        let shared = o.stream("more");
        assert_eq!((o.stream("and more"), o.names().count(), o.stream("7")), (shared, Order::MAX + 1, 7));
    }
}
