//! Which partition may be read next: those that are behind are read in step, the one that is ahead waits.

use crate::event::Timestamp;

/// What matters of one partition.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// Whether the engine waits for it.
    pub behind: bool,
    /// Chunks that the engine has not taken yet.
    pub flying: usize,
    /// The time of the latest event that the engine has taken.
    pub last: Timestamp,
}

/// Whether a partition may be read.
///
/// Alone, one is read while the engine works on what came before; else its latest event must be known first.
pub fn may_read(lanes: &[Lane], i: usize) -> bool {
    let Some(me) = lanes.get(i) else { return false };
    let others = || lanes.iter().enumerate().filter(|&(j, l)| j != i && l.behind).map(|(_, l)| l);
    let alone = others().next().is_none();
    !me.behind || (alone && me.flying <= 1) || (me.flying == 0 && others().all(|o| o.last >= me.last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(behind: bool, flying: usize, last: i64) -> Lane {
        Lane { behind, flying, last: Timestamp(last) }
    }

    #[test]
    fn of_those_behind_the_earliest_is_read() {
        let lanes = [lane(true, 0, 20), lane(true, 0, 10), lane(true, 0, 10), lane(false, 0, 99)];
        let may: Vec<_> = (0..4).map(|i| may_read(&lanes, i)).collect();
        assert_eq!(may, [false, true, true, true]);
    }

    #[test]
    fn the_earliest_waits_until_the_engine_has_taken_what_it_gave() {
        let lanes = [lane(true, 0, 20), lane(true, 1, 10)];
        assert_eq!((may_read(&lanes, 0), may_read(&lanes, 1)), (false, false));
    }

    #[test]
    fn alone_one_is_read_ahead_of_the_engine() {
        for (flying, may) in [(0, true), (1, true), (2, false)] {
            assert_eq!(may_read(&[lane(true, flying, 1), lane(false, 0, 0)], 0), may, "{flying}");
        }
    }
}
