//! `[backtest]`: what one backtest may take.

use super::reader::{Reader, Table};
use std::time::Duration;

/// What one backtest may take, and how many may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backtest {
    /// How long it takes.
    pub time: Duration,
    /// Records that may match, held at once.
    pub candidates: usize,
    /// Alerts that it makes.
    pub alerts: usize,
    /// Rules, and the files that they name, in one request.
    pub body_bytes: usize,
    /// Backtests at once.
    pub at_once: usize,
}

impl Default for Backtest {
    fn default() -> Backtest {
        Backtest { time: Duration::from_secs(600), candidates: 512 << 10, alerts: 100_000, body_bytes: 8 << 20, at_once: 1 }
    }
}

impl Reader {
    /// Reads `[backtest]`.
    pub(super) fn backtest(&mut self, t: &Table<'_>, to: &mut Backtest) {
        self.keys(t, "`[backtest]`", &["time", "candidates", "alerts", "body_bytes", "at_once"]);
        self.time(t, "time", &mut to.time);
        self.size(t, "candidates", 1000..100_000_001, &mut to.candidates);
        self.size(t, "alerts", 1..10_000_001, &mut to.alerts);
        self.size(t, "body_bytes", 1 << 10..(256 << 20) + 1, &mut to.body_bytes);
        self.size(t, "at_once", 1..101, &mut to.at_once);
    }
}
