//! Records that an answer does not know of.

/// So many stretches are told apart; the last takes in what comes behind.
const STRETCHES: usize = 100;

/// Neighbours that are missing for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Why.
    pub why: String,
}

/// Adds records; none where the first is behind the last.
pub fn add(all: &mut Vec<Missing>, first: u64, last: u64, why: &str) {
    if first > last {
        return;
    }
    let full = all.len() == STRETCHES;
    match all.last_mut().filter(|m| full || m.why == why && (m.first == last.saturating_add(1) || m.last.saturating_add(1) == first)) {
        Some(m) => (m.first, m.last) = (m.first.min(first), m.last.max(last)),
        None => all.push(Missing { first, last, why: why.to_owned() }),
    }
}
