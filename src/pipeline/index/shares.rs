//! Which thread builds what: stretches of the journal, of which no entry belongs to two.
//!
//! A thread that has nothing to do takes what nobody has; where that is nothing and another is far behind, it takes the later part of
//! what that one has, from where the slice that is being built there will end.

use crate::event::Timestamp;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far a thread has come with its stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct At {
    /// The first entry that is in no slice yet.
    pub first: u64,
    /// The entry that it reads next.
    pub next: u64,
    /// Documents of the slice that it builds.
    pub docs: u32,
    /// The arrival of the last record that it has read.
    pub arrival: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Share {
    who: usize,
    at: At,
    /// The last entry; `None` goes on as the journal does.
    until: Option<u64>,
    /// Documents an entry, as far as is known.
    rate: f64,
}

/// A stretch that a thread has taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Taken {
    pub first: u64,
    pub until: Option<u64>,
    /// Entries from here to the first are another thread's, and may not have been read yet.
    pub unread: Option<u64>,
}

/// All stretches that are taken.
#[derive(Debug, Default)]
struct All {
    shares: Vec<Share>,
    /// The arrival that those had come to who have left.
    left: Option<Timestamp>,
}

impl All {
    fn leave(&mut self, who: usize) {
        let gone = self.shares.extract_if(.., |s| s.who == who);
        self.left = gone.filter_map(|s| s.at.arrival).last().or(self.left);
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<All>);

impl Shares {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stretch for a thread that has none: of what `missing` gives what `choose` says, given what nobody else has; else a part of
    /// what another has, of whom at least so many entries are ahead that it fills its slice of `full` documents and half another.
    /// Nobody goes on by more than `turn` entries between two calls of [`Shares::go_on`].
    pub fn take(
        &self,
        who: usize,
        end: u64,
        (full, turn): (u32, u64),
        missing: impl FnOnce() -> Vec<RangeInclusive<u64>>,
        choose: impl FnOnce(&[RangeInclusive<u64>]) -> Option<(u64, Option<u64>)>,
    ) -> Option<Taken> {
        let mut all = self.all();
        all.leave(who);
        // Asked with the lock held: a stretch that another has just finished is in the index before it is nobody's.
        let free = without(missing(), &all.shares);
        let taken = match choose(&free) {
            Some((first, until)) => Taken { first, until, unread: None },
            None => split(&mut all.shares, end, full, turn)?,
        };
        let at = At { first: taken.first, next: taken.first, ..At::default() };
        all.shares.push(Share { who, at, until: taken.until, rate: 0.0 });
        Some(taken)
    }

    /// A thread has come so far; where its stretch ends now.
    pub fn go_on(&self, who: usize, at: At) -> Option<u64> {
        let mut all = self.all();
        let s = all.shares.iter_mut().find(|s| s.who == who)?;
        if at.docs > 0 && at.next > at.first {
            s.rate = f64::from(at.docs) / (at.next - at.first) as f64;
        }
        s.at = at;
        s.until
    }

    /// A thread has done with its stretch, or has given it up.
    pub fn leave(&self, who: usize) {
        self.all().leave(who);
    }

    /// What of this nobody has.
    pub fn free(&self, missing: impl FnOnce() -> Vec<RangeInclusive<u64>>) -> Vec<RangeInclusive<u64>> {
        let all = self.all();
        without(missing(), &all.shares)
    }

    /// How many entries have been read that are in no slice yet, and the earliest of the arrivals that the threads have come to; where
    /// none has read anything, that to which they had come before.
    pub fn read(&self) -> (u64, Option<Timestamp>) {
        let all = self.all();
        let arrival = all.shares.iter().filter_map(|s| s.at.arrival).min();
        (all.shares.iter().map(|s| s.at.next - s.at.first).sum(), arrival.or(all.left))
    }
}

/// The stretches without what is taken.
fn without(missing: Vec<RangeInclusive<u64>>, taken: &[Share]) -> Vec<RangeInclusive<u64>> {
    taken.iter().fold(missing, |all, s| {
        let (from, to) = (s.at.first, s.until.unwrap_or(u64::MAX));
        let cut = all.into_iter().flat_map(|r| {
            let before = *r.start()..=(*r.end()).min(from.saturating_sub(1));
            let behind = (*r.start()).max(to.saturating_add(1))..=*r.end();
            [before, if to == u64::MAX { RangeInclusive::new(1, 0) } else { behind }]
        });
        cut.filter(|r| !r.is_empty()).collect()
    })
}

/// The later part of the stretch of which the most is ahead.
fn split(all: &mut [Share], end: u64, full: u32, turn: u64) -> Option<Taken> {
    let ahead = |s: &Share| s.until.unwrap_or(end).min(end).saturating_sub(s.at.next) as f64 * s.rate;
    let s = all.iter_mut().max_by(|a, b| ahead(a).total_cmp(&ahead(b)))?;
    // Entries are not all alike: rather a little less than a full slice than a small one behind it.
    let room = f64::from((full - full / 16).saturating_sub(s.at.docs));
    if ahead(s) < room + f64::from(full) / 2.0 {
        return None;
    }
    let first = s.at.next + ((room / s.rate) as u64).max(2 * turn);
    let until = s.until;
    if first >= until.unwrap_or(end).min(end) {
        return None;
    }
    s.until = Some(first - 1);
    Some(Taken { first, until, unread: Some(s.at.next) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FULL: u32 = 40;
    const TURN: u64 = 4;

    /// Threads that build slices of a journal of one document an entry.
    #[derive(Default)]
    struct World {
        shares: Shares,
        end: u64,
        built: Vec<RangeInclusive<u64>>,
        threads: [Option<At>; 3],
        splits: usize,
    }

    impl World {
        fn missing(&self) -> Vec<RangeInclusive<u64>> {
            let mut built = self.built.clone();
            built.sort_by_key(|r| *r.start());
            let mut next = 1;
            let mut all = Vec::new();
            for r in built.iter().chain([&(self.end + 1..=self.end + 1)]) {
                if next < *r.start() {
                    all.push(next..=*r.start() - 1);
                }
                next = *r.end() + 1;
            }
            all
        }

        fn publish(&mut self, who: usize, last: u64) {
            let Some(at) = &mut self.threads[who] else { return };
            if at.first <= last {
                let new = at.first..=last;
                assert!(self.built.iter().all(|r| r.end() < new.start() || new.end() < r.start()), "{new:?} is built twice");
                self.built.push(new);
                (at.first, at.docs) = (last + 1, 0);
            }
        }

        /// One turn of a thread; `goes_on` says whether the journal may grow.
        fn turn(&mut self, who: usize, goes_on: bool) {
            let Some(at) = self.threads[who] else {
                let choose = |free: &[RangeInclusive<u64>]| {
                    let first = free.first()?;
                    Some((*first.start(), Some(*first.end()).filter(|e| !goes_on || *e != self.end)))
                };
                let taken = self.shares.take(who, self.end, (FULL, TURN), || self.missing(), choose);
                if let Some(t) = taken {
                    self.splits += usize::from(t.unread.is_some());
                    self.threads[who] = Some(At { first: t.first, next: t.first, ..At::default() });
                }
                return;
            };
            let until = self.shares.go_on(who, at);
            for _ in 0..TURN {
                let Some(at) = &mut self.threads[who] else { return };
                if at.next > until.unwrap_or(self.end) {
                    if let Some(until) = until {
                        self.publish(who, until);
                        self.threads[who] = None;
                        self.shares.leave(who);
                    }
                    return;
                }
                at.next += 1;
                at.docs += 1;
                if at.docs == FULL {
                    let last = at.next - 1;
                    self.publish(who, last);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn all_is_built_and_nothing_twice(steps in prop::collection::vec((0..3usize, 0..60u64, 0..20u8), 1..400)) {
            let mut w = World::default();
            for (who, grows, gives_up) in steps {
                w.end += if grows < 12 { grows * 4 } else { 0 };
                if gives_up == 0 && w.threads[who].take().is_some() {
                    w.shares.leave(who);
                }
                w.turn(who, true);
            }
            // The journal has ended, and those who wait at its end are told.
            for who in 0..3 {
                if w.threads[who].take().is_some() {
                    w.shares.leave(who);
                }
            }
            for n in 0..3 * (w.end as usize + 10) {
                w.turn(n % 3, false);
            }
            prop_assert_eq!(w.missing(), []);
        }
    }

    #[test]
    fn who_is_far_behind_gives_its_later_part_away() {
        let mut w = World { end: 1000, ..World::default() };
        w.turn(0, true);
        w.turn(1, true);
        assert!(w.threads[1].is_none(), "nobody knows yet how many documents an entry has");
        w.turn(0, true);
        w.turn(0, true);
        w.turn(1, true);
        assert_eq!(w.threads[1].map(|t| t.first), Some(39), "where the first thread's slice will be nearly full");
        w.turn(2, true);
        assert_eq!(w.splits, 1, "of the second it is not known either");
        let free = w.shares.free(|| w.missing());
        assert!(free.is_empty(), "{free:?}");
        assert_eq!(w.shares.read().0, 4, "entries that had been read at the last turn");
        for _ in 0..9 {
            w.turn(0, true);
        }
        assert_eq!(w.built, [1..=38]);
    }

    #[test]
    fn how_far_they_had_come_is_known_while_nobody_goes_on() {
        let shares = Shares::default();
        let take = |who, first: u64| shares.take(who, 9, (FULL, TURN), || vec![first..=9], |free| Some((*free.first()?.start(), None)));
        assert_eq!(shares.read(), (0, None));
        assert!(take(0, 1).is_some());
        shares.go_on(0, At { first: 1, next: 5, docs: 4, arrival: Some(Timestamp(7)) });
        assert_eq!(shares.read(), (4, Some(Timestamp(7))));
        shares.leave(0);
        assert_eq!(shares.read(), (0, Some(Timestamp(7))), "what it had read is to be read again");
        assert!(take(1, 1).is_some());
        assert_eq!(shares.read(), (0, Some(Timestamp(7))));
        shares.go_on(1, At { first: 1, next: 2, docs: 1, arrival: Some(Timestamp(3)) });
        assert_eq!(shares.read(), (1, Some(Timestamp(3))));
    }

    #[test]
    fn who_is_not_far_behind_keeps_what_it_has() {
        let mut w = World { end: u64::from(FULL), ..World::default() };
        (0..3).for_each(|_| w.turn(0, true));
        w.turn(1, true);
        assert!(w.threads[1].is_none());
    }
}
