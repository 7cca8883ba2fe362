//! `max_alerts`: a rule opens at most so many alerts in an hour of event time, then its newest takes the matches.

use crate::event::{Timestamp, time::SECOND};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counts of opened alerts by hour.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Storm {
    hours: BTreeMap<i64, (u32, [u8; 16])>,
}

/// Hours that are remembered: late alerts may fall into an earlier one.
const MAX_HOURS: usize = 48;

impl Storm {
    /// An alert would open at `t`. `None` if it may; else the newest that has opened in that hour, which it joins.
    pub fn open(&mut self, t: Timestamp, max: u32, id: [u8; 16]) -> Option<[u8; 16]> {
        let hour = t.0.div_euclid(3600 * SECOND);
        let (n, newest) = self.hours.entry(hour).or_insert((0, id));
        if *n >= max {
            return Some(*newest);
        }
        (*n, *newest) = (*n + 1, id);
        if self.hours.len() > MAX_HOURS {
            self.hours.pop_first();
        }
        None
    }
}
