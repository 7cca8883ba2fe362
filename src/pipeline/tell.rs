//! What is to be told of alerts, on its way from the engine to the store.

use crate::alert::{Alert, Step};
use crate::event::Timestamp;
use crate::rule::{RuleSet, Severity};
use std::sync::Arc;

/// One line about an alert.
#[derive(Clone, Debug)]
pub struct Tale {
    /// Its `event.id`.
    pub id: [u8; 16],
    /// What has become of it.
    pub step: Step,
    /// The JSON line, without its newline.
    pub line: Vec<u8>,
    /// Its `@timestamp`.
    pub ts: Timestamp,
    /// Its rule's id.
    pub rule: Arc<str>,
    /// Its severity.
    pub severity: Severity,
    /// Whether it is recorded only.
    pub signal: bool,
    /// Whether it can change no more.
    pub is_final: bool,
    /// The numbers of the records that it cites.
    pub evidence: Vec<u64>,
}

impl Tale {
    /// Of an alert as it stands.
    pub fn of(rules: &RuleSet, alert: &Alert, step: Step) -> Tale {
        let is_final = step == Step::Final;
        let rule = &rules.rules[alert.rule];
        let mut line = Vec::with_capacity(1024);
        alert.write(rules, Some((step, is_final)), &mut line);
        Tale {
            id: alert.delivery,
            step,
            line,
            ts: alert.ts,
            rule: rule.id.clone(),
            severity: rule.severity,
            signal: rule.signal,
            is_final,
            evidence: alert.evidence.iter().filter(|e| e.alert.is_none()).map(|e| e.seq).collect(),
        }
    }
}
