//! How many of the events that were found fall into each of equal stretches of time.

use super::find::Found;
use crate::event::{Span, Timestamp};

/// The most stretches of one histogram.
pub const MAX_BUCKETS: usize = 10_000;

const SECOND: i64 = 1_000_000_000;
/// Lengths that a stretch has: they are read at a glance, and begin where clocks do.
const STEPS: [i64; 26] = {
    const M: i64 = 60 * SECOND;
    const H: i64 = 60 * M;
    const D: i64 = 24 * H;
    const MS: i64 = 1_000_000;
    [
        1,
        1_000,
        MS,
        10 * MS,
        100 * MS,
        SECOND,
        2 * SECOND,
        5 * SECOND,
        10 * SECOND,
        15 * SECOND,
        30 * SECOND,
        M,
        2 * M,
        5 * M,
        10 * M,
        15 * M,
        30 * M,
        H,
        2 * H,
        6 * H,
        12 * H,
        D,
        7 * D,
        30 * D,
        100 * D,
        365 * D,
    ]
};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Where the first stretch begins.
    pub from: Timestamp,
    /// How long each is.
    pub step: Span,
    /// The events of each.
    pub counts: Vec<u64>,
}

/// At most so many stretches (three where one would be longer than an instant can be), from the first to the last event or, where they are given, from `since` to `until`; none if nothing
/// was found. The counts add up to `found.total`.
pub fn histogram(found: &Found, since: Option<Timestamp>, until: Option<Timestamp>, buckets: usize) -> Option<Histogram> {
    let mut ends: Option<(i64, i64)> = None;
    times(found, |t| ends = Some(ends.map_or((t, t), |(a, z)| (a.min(t), z.max(t)))));
    let (least, greatest) = ends?;
    let from = since.map_or(least, |s| s.0.min(least));
    let last = until.map_or(greatest, |u| u.0.saturating_sub(1).max(greatest));
    let buckets = buckets.clamp(1, MAX_BUCKETS) as i128;
    let (low, high) = (i128::from(from), i128::from(last));
    let fits = |step: i64| high.div_euclid(step.into()) - low.div_euclid(step.into()) < buckets;
    let (start, step) = match STEPS.into_iter().find(|s| fits(*s)) {
        Some(step) => (low.div_euclid(step.into()) * i128::from(step), step),
        // Centuries, in so few stretches that none of them begins where a clock does. A stretch is no longer than times are.
        None => (low, ((high - low) / buckets + 1).min(i64::MAX.into()) as i64),
    };
    let of = |t: i128| (t - start) / i128::from(step);
    let mut counts = vec![0; of(high) as usize + 1];
    times(found, |t| {
        if let Some(c) = usize::try_from(of(t.into())).ok().and_then(|i| counts.get_mut(i)) {
            *c += 1;
        }
    });
    Some(Histogram { from: Timestamp(start.max(i64::MIN.into()) as i64), step: Span(step), counts })
}

/// The times of all events that were found.
fn times(found: &Found, mut each: impl FnMut(i64)) {
    found.loose.iter().for_each(|l| each(l.time.0));
    for p in &found.parts {
        p.docs.iter().for_each(|d| each(p.slice.time(d).0));
    }
}

#[cfg(test)]
mod tests {
    use super::super::find::Loose;
    use super::*;

    fn found(times: &[i64]) -> Found {
        let loose: Vec<Loose> = times.iter().map(|t| Loose { time: Timestamp(*t), seq: 0, lsn: 0 }).collect();
        Found { total: loose.len() as u64, loose, ..Found::default() }
    }

    #[test]
    fn stretches_are_round_and_hold_every_event() {
        let s = |n: i64| n * SECOND;
        let of = |times: &[i64], since, until, n| histogram(&found(times), since, until, n).map(|h| (h.from.0, h.step.0, h.counts));
        assert_eq!(of(&[], None, None, 10), None);
        assert_eq!(of(&[s(65), s(66), s(130)], None, None, 3), Some((s(60), s(30), vec![2, 0, 1])));
        assert_eq!(of(&[s(65)], Some(Timestamp(s(0))), Some(Timestamp(s(120))), 4), Some((0, s(30), vec![0, 0, 1, 0])));
        assert_eq!(of(&[-1, 0], None, None, 2), Some((-1, 1, vec![1, 1])));
        assert_eq!(of(&[s(5)], None, None, 1), Some((s(5), 1, vec![1])));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn counts_add_up_within_the_limit(times in proptest::collection::vec(proptest::prelude::any::<i64>(), 1..20), near in proptest::prelude::any::<bool>(), n in 1usize..50) {
            let times: Vec<i64> = if near { times.iter().map(|t| t / 1_000_000).collect() } else { times };
            let h = histogram(&found(&times), None, None, n).expect("there are events");
            assert_eq!(h.counts.iter().sum::<u64>(), times.len() as u64);
            assert!(h.counts.len() <= n.max(3), "{h:?}");
        }
    }
}
