//! What a backtest may take, and what it leaves out.

use crate::clock;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bounds of a backtest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// It takes so long at most, all its rounds together.
    pub time: Duration,
    /// So many candidates are held at once; where there are more, the index is gone through again for those behind them.
    pub candidates: usize,
    /// So many alerts are made; a rule that makes more has been judged by then.
    pub alerts: usize,
}

impl From<&crate::config::Backtest> for Bounds {
    fn from(c: &crate::config::Backtest) -> Bounds {
        Bounds { time: c.time, candidates: c.candidates, alerts: c.alerts }
    }
}

impl Bounds {
    /// When one that begins now has to be through.
    pub fn end(&self) -> Instant {
        clock::monotonic() + self.time
    }
}

/// Why a backtest ended before it was through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// By time.
    #[error("it took longer than `[backtest] time` allows")]
    Time,
    /// By alerts.
    #[error("there were more alerts than `[backtest] alerts` allows")]
    Alerts,
}

impl Cut {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Cut::Time => "time",
            Cut::Alerts => "alerts",
        }
    }

    /// The cut that an error stands for.
    pub(super) fn of(e: &io::Error) -> Option<Cut> {
        e.get_ref()?.downcast_ref().copied()
    }
}

/// Whether to go on.
#[derive(Clone, Copy)]
pub(super) struct Limit<'a> {
    /// Set when nobody waits any longer.
    pub stop: &'a AtomicBool,
    /// Nothing is begun behind this instant.
    pub end: Instant,
}

impl Limit<'_> {
    /// An error of kind [`io::ErrorKind::Interrupted`] where nobody waits, a [`Cut`] where the time is up.
    pub fn check(&self) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "it was ended"));
        }
        if clock::monotonic() >= self.end { Err(io::Error::other(Cut::Time)) } else { Ok(()) }
    }

    /// Whether an error says that it ends, and not that something cannot be read.
    pub fn ends(e: &io::Error) -> bool {
        e.kind() == io::ErrorKind::Interrupted || Cut::of(e).is_some()
    }
}
