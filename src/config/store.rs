//! `[store]`: what is kept of alerts.

use super::reader::{Reader, Table};
use super::units::span;
use crate::store;
use std::time::Duration;

/// What is kept of alerts.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// Alerts at most.
    pub max_alerts: usize,
    /// How long they are kept.
    pub max_age: Duration,
    /// Disk space set aside so that alerts can be written when nothing else can.
    pub reserve: usize,
}

impl Default for Store {
    fn default() -> Store {
        Store { max_alerts: 1_000_000, max_age: Duration::from_secs(400 * 86_400), reserve: 16 << 20 }
    }
}

impl Store {
    /// What the store is opened with.
    pub fn options(&self) -> store::Options {
        store::Options {
            max_alerts: self.max_alerts,
            max_age: span(self.max_age),
            reserve: self.reserve as u64,
            sinks: vec![crate::pipeline::lines::SINK.to_owned()],
            ..store::Options::default()
        }
    }
}

impl Reader {
    /// Reads `[store]`.
    pub(super) fn store(&mut self, t: &Table<'_>, to: &mut Store) {
        self.keys(t, "`[store]`", &["max_alerts", "max_age", "reserve"]);
        self.size(t, "max_alerts", 1000..100_000_001, &mut to.max_alerts);
        self.time(t, "max_age", &mut to.max_age);
        self.size(t, "reserve", 1 << 20..(1 << 30) + 1, &mut to.reserve);
    }
}
