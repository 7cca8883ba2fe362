//! `[state]`: bounds of the engine.

use super::reader::{Reader, Table};

/// Bounds of the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Memory of all groups.
    pub budget: usize,
    /// Groups of one rule that does not say otherwise.
    pub keys_per_rule: usize,
    /// Matches that wait for the watermark, all rules together.
    pub waiting: usize,
}

impl Default for State {
    fn default() -> State {
        State { budget: 128 << 20, keys_per_rule: 100_000, waiting: 200_000 }
    }
}

impl Reader {
    /// Reads `[state]`.
    pub(super) fn state(&mut self, t: &Table<'_>, to: &mut State) {
        self.keys(t, "`[state]`", &["budget", "keys_per_rule", "waiting"]);
        self.size(t, "budget", 1 << 20..1 << 40, &mut to.budget);
        self.size(t, "keys_per_rule", 1000..100_000_000, &mut to.keys_per_rule);
        self.size(t, "waiting", 1000..100_000_000, &mut to.waiting);
    }
}
