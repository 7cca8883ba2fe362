//! Which bundles the journal names: a stretch of it that is replayed may need the bundle of each load in it.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// So many bundles are kept for the journal's sake at most. Only a start that finds no saved state needs more than the newest.
const MAX: usize = 100;

/// The last load of each bundle, by the bundle's hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loads(BTreeMap<[u8; 32], u64>);

impl Loads {
    /// An entry loads a bundle.
    pub fn take(&mut self, hash: [u8; 32], lsn: u64) {
        self.0.insert(hash, lsn);
        if self.0.len() > MAX
            && let Some(oldest) = self.0.iter().min_by_key(|l| l.1).map(|l| *l.0)
        {
            self.0.remove(&oldest);
        }
    }

    /// The bundles that are in force at this entry, which is the journal's first, or loaded later; the others are forgotten.
    pub fn since(&mut self, first: u64) -> BTreeSet<[u8; 32]> {
        let before = self.0.values().filter(|lsn| **lsn < first).max().copied();
        self.0.retain(|_, lsn| *lsn >= first || Some(*lsn) == before);
        self.0.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(all: &[u8]) -> BTreeSet<[u8; 32]> {
        all.iter().map(|n| [*n; 32]).collect()
    }

    #[test]
    fn a_bundle_is_named_from_its_last_load_on() {
        let mut l = Loads::default();
        for (n, lsn) in [(1, 1), (2, 10), (1, 20), (3, 30)] {
            l.take([n; 32], lsn);
        }
        assert_eq!(l.since(1), hashes(&[1, 2, 3]));
        assert_eq!(l.since(11), hashes(&[1, 2, 3]), "the second is in force there");
        assert_eq!(l.since(21), hashes(&[1, 3]));
        assert_eq!(l.since(31), hashes(&[3]));
    }

    #[test]
    fn of_many_the_newest_are_named() {
        let mut l = Loads::default();
        (0..=255).for_each(|n| l.take([n; 32], 1000 + u64::from(n)));
        // Loaded again, it is among the newest.
        l.take([156; 32], 2000);
        l.take([7; 32], 2001);
        let mut want = hashes(&(157..=255).collect::<Vec<u8>>());
        want.extend(hashes(&[156, 7]));
        want.remove(&[157; 32]);
        assert_eq!(l.since(0), want);
    }
}
