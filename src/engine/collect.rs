//! Final alerts as they stand when the input ends.

use super::Output;
use crate::alert::{Alert, Step};
use std::collections::HashMap;

/// Gathers what an engine without provisional alerts says.
#[derive(Default)]
pub struct Collected {
    /// Alerts, and how many matches of other keys have joined each.
    alerts: HashMap<[u8; 16], (Alert, u64)>,
}

impl Collected {
    /// Takes what the engine said.
    pub fn take(&mut self, said: &mut Vec<Output>) {
        for o in said.drain(..) {
            match o {
                Output::Alert(Step::Final, a) => {
                    let mut a = *a;
                    // What it may carry has been taken out of its evidence; only the references are told.
                    a.evidence.iter_mut().for_each(|e| e.kept = None);
                    self.alerts.insert(a.id, (a, 0));
                }
                Output::Update { id, count, last, early: false } => {
                    if let Some((a, _)) = self.alerts.get_mut(&id) {
                        a.count = count;
                        a.last = a.last.max(last);
                    }
                }
                Output::Joined(id, t) => {
                    if let Some((a, joined)) = self.alerts.get_mut(&id) {
                        *joined += 1;
                        a.last = a.last.max(t);
                    }
                }
                Output::Alert(..) | Output::Update { .. } | Output::Metric { .. } => {}
            }
        }
    }

    /// How many alerts there are.
    pub fn len(&self) -> usize {
        self.alerts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty()
    }

    /// The alerts, ordered by time, rule id and key.
    pub fn finish(self) -> Vec<Alert> {
        let mut all: Vec<Alert> = self.alerts.into_values().map(|(a, joined)| Alert { count: a.count + joined, ..a }).collect();
        // Rules are numbered in the order of their ids.
        all.sort_by(|a, b| (a.ts, a.rule, &a.key, a.id).cmp(&(b.ts, b.rule, &b.key, b.id)));
        all
    }
}
