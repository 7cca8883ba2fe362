//! The alerts that may be told of again: as they were told last, and what has been added since.

use super::tell::Tale;
use crate::alert::{Alert, Step};
use crate::event::Timestamp;
use crate::rule::Severity;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// So many alerts are remembered; matches of older ones are counted as lost.
const REMEMBERED: usize = 10_000;

/// See the module.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Known {
    /// By id.
    alerts: HashMap<[u8; 16], One>,
    /// The id that goes under a delivery key now.
    current: HashMap<[u8; 16], [u8; 16]>,
    /// Delivery keys, the oldest first to be forgotten.
    order: VecDeque<[u8; 16]>,
    /// Those with matches that have not been told.
    changed: BTreeSet<[u8; 16]>,
    /// Matches that joined another alert since their rule may open no more, by rule.
    stormed: BTreeMap<Arc<str>, u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct One {
    delivery: [u8; 16],
    /// The line that was told.
    #[serde(with = "serde_bytes")]
    line: Vec<u8>,
    ts: Timestamp,
    rule: Arc<str>,
    severity: Severity,
    signal: bool,
    late: bool,
    is_final: bool,
    count: u64,
    last: Timestamp,
    joined: u64,
}

impl Known {
    /// Remembers an alert as it is told; `true` if nothing had been told of it before.
    pub fn told(&mut self, alert: &Alert, tale: &Tale) -> bool {
        let (id, delivery) = (alert.id, alert.delivery);
        let before = self.current.get(&delivery).copied();
        if tale.step == Step::Withdrawn {
            self.alerts.remove(&id);
            self.changed.remove(&id);
            return false;
        }
        if let Some(old) = before.filter(|o| *o != id) {
            self.alerts.remove(&old);
            self.changed.remove(&old);
        }
        let (joined, count, last) = self.alerts.get(&id).map_or((0, 0, alert.last), |k| (k.joined, k.count, k.last));
        let one = One {
            delivery,
            line: tale.line.clone(),
            ts: alert.ts,
            rule: tale.rule.clone(),
            severity: tale.severity,
            signal: tale.signal,
            late: alert.late,
            is_final: tale.step == Step::Final,
            // What was told of its matches while it could still change is not taken back by telling that it is final.
            count: alert.count.max(count),
            last: alert.last.max(last),
            joined,
        };
        self.alerts.insert(id, one);
        self.current.insert(delivery, id);
        if before.is_none() {
            self.order.push_back(delivery);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front().and_then(|d| self.current.remove(&d))
            {
                self.alerts.remove(&oldest);
                self.changed.remove(&oldest);
            }
        }
        before.is_none()
    }

    /// An alert has matched again and stands at this count; `false` if it is forgotten.
    pub fn counted(&mut self, id: [u8; 16], count: u64, last: Timestamp) -> bool {
        self.more(id, last, |k| k.count = count)
    }

    /// A match has joined an alert of another key; `false` if it is forgotten.
    pub fn joined(&mut self, id: [u8; 16], at: Timestamp) -> bool {
        let known = self.more(id, at, |k| k.joined += 1);
        if let Some(k) = self.alerts.get(&id).filter(|k| !k.late) {
            *self.stormed.entry(k.rule.clone()).or_default() += 1;
        }
        known
    }

    fn more(&mut self, id: [u8; 16], last: Timestamp, change: impl FnOnce(&mut One)) -> bool {
        let Some(k) = self.alerts.get_mut(&id) else { return false };
        change(k);
        k.last = k.last.max(last);
        self.changed.insert(id);
        true
    }

    /// Tells of the alerts that have matched again, once for all matches since the last time.
    pub fn updates(&mut self, tales: &mut Vec<Tale>) {
        for id in std::mem::take(&mut self.changed) {
            let Some(k) = self.alerts.get(&id) else { continue };
            tales.push(Tale {
                id: k.delivery,
                step: Step::Updated,
                line: again(&k.line, k.count + k.joined, k.last, Step::Updated, k.is_final),
                ts: k.ts,
                rule: k.rule.clone(),
                severity: k.severity,
                signal: k.signal,
                is_final: k.is_final,
                evidence: Vec::new(),
            });
        }
    }

    /// The delivery ids of alerts that may still change.
    pub fn open(&self) -> Vec<[u8; 16]> {
        let mut all: Vec<[u8; 16]> = self.alerts.values().filter(|k| !k.is_final).map(|k| k.delivery).collect();
        all.sort_unstable();
        all
    }

    /// Tells that these alerts, by delivery id, do not stand: nobody is left who could say that they are final.
    pub fn withdraw(&mut self, left: &[[u8; 16]], tales: &mut Vec<Tale>) {
        for delivery in left {
            let Some(id) = self.current.get(delivery) else { continue };
            self.changed.remove(id);
            // One that is final has been told as such, and stands.
            if self.alerts.get(id).is_none_or(|k| k.is_final) {
                continue;
            }
            let Some(k) = self.alerts.remove(id) else { continue };
            tales.push(Tale {
                id: k.delivery,
                step: Step::Withdrawn,
                line: again(&k.line, k.count + k.joined, k.last, Step::Withdrawn, false),
                ts: k.ts,
                rule: k.rule,
                severity: k.severity,
                signal: k.signal,
                is_final: false,
                evidence: Vec::new(),
            });
        }
    }

    /// Matches so far that opened no alert of their own since their rule had opened as many as it may, by rule.
    pub fn stormed(&self) -> Vec<(String, u64)> {
        self.stormed.iter().map(|(r, n)| (r.to_string(), *n)).collect()
    }
}

/// A line about an alert with another count, as it is told when it has matched again or goes.
fn again(line: &[u8], count: u64, last: Timestamp, step: Step, is_final: bool) -> Vec<u8> {
    let Ok(mut v) = serde_json::from_slice::<serde_json::Value>(line) else { return line.to_vec() };
    let alert = &mut v["alert"];
    alert["count"] = count.into();
    alert["last"] = last.to_string().into();
    alert["step"] = step.name().into();
    alert["final"] = is_final.into();
    serde_json::to_vec(&v).unwrap_or_else(|_| line.to_vec())
}
