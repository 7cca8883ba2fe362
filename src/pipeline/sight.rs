//! What is seen of a source by its events: the last one, how far behind its arrival it was, and whether its clock or zone is wrong.

use crate::event::Timestamp;
use crate::event::time::SECOND;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

/// Zones differ by multiples of this.
const QUARTER: i64 = 15 * 60 * SECOND;
/// An event this near to a multiple of [`QUARTER`] off may be of another zone.
const NEAR: i64 = 90 * SECOND;
/// So many looks in a row must agree.
const LOOKS: u32 = 20;

/// See the module. Written by the engine's thread, read by all.
#[derive(Debug)]
pub struct Sight {
    event: AtomicI64,
    received: AtomicI64,
    quarters: AtomicI64,
    looks: AtomicU32,
    silent: AtomicBool,
}

impl Default for Sight {
    fn default() -> Sight {
        let none = || AtomicI64::new(i64::MIN);
        Sight { event: none(), received: none(), quarters: AtomicI64::new(0), looks: AtomicU32::new(0), silent: AtomicBool::new(false) }
    }
}

impl Sight {
    /// Takes a look at an event and its arrival.
    pub fn look(&self, event: Timestamp, received: Timestamp) {
        self.event.store(event.0, Ordering::Relaxed);
        self.received.store(received.0, Ordering::Relaxed);
        let off = event.0.saturating_sub(received.0);
        let quarters = off.saturating_add(QUARTER / 2).div_euclid(QUARTER);
        let near = off.abs_diff(quarters.saturating_mul(QUARTER)) <= NEAR.unsigned_abs();
        // Further off than any zone is an old file, not a wrong one.
        if quarters == 0 || !near || quarters.abs() > 26 * 4 {
            self.looks.store(0, Ordering::Relaxed);
        } else if self.quarters.swap(quarters, Ordering::Relaxed) == quarters {
            self.looks.fetch_add(1, Ordering::Relaxed);
        } else {
            self.looks.store(1, Ordering::Relaxed);
        }
    }

    /// The time of the last event, and its arrival.
    pub fn last(&self) -> Option<(Timestamp, Timestamp)> {
        let (e, r) = (self.event.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed));
        (r != i64::MIN).then_some((Timestamp(e), Timestamp(r)))
    }

    /// Notes whether it has sent nothing for its `silent_after`.
    pub fn set_silent(&self, yes: bool) {
        self.silent.store(yes, Ordering::Relaxed);
    }

    /// Whether it has sent nothing for its `silent_after`, as of the last tick.
    pub fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// By how many minutes, a multiple of 15, its events are constantly ahead of their arrival (behind it where negative).
    pub fn zone_off(&self) -> Option<i64> {
        (self.looks.load(Ordering::Relaxed) >= LOOKS).then(|| self.quarters.load(Ordering::Relaxed) * 15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_constantly_off_by_a_zone_is_noticed_and_one_that_lags_is_not() {
        type Off = fn(i64) -> i64;
        let cases: [(&str, Off, Option<i64>); 6] = [
            ("on time", |i| i % 3, None),
            ("two hours behind", |i| -7200 - i % 30, Some(-120)),
            ("half an hour ahead", |_| 1800, Some(30)),
            ("an old file read fast", |i| -7200 + i * 40, None),
            ("ten minutes late", |_| -600, None),
            ("three days old", |_| -3 * 86_400, None),
        ];
        for (name, off, want) in cases {
            let s = Sight::default();
            assert_eq!(s.last(), None);
            for i in 0..40 {
                let now = 1_700_000_000 + i;
                s.look(Timestamp((now + off(i)) * SECOND), Timestamp(now * SECOND));
            }
            assert_eq!(s.zone_off(), want, "{name}");
        }
    }
}
