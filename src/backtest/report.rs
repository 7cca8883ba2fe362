//! What a backtest has shown, as it is answered: alerts by day and by key, the first of them, and what would be otherwise.

use super::run::Ran;
use crate::alert::Alert;
use crate::event::time::SECOND;
use crate::rule::RuleSet;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// So many keys are told, those with the most alerts.
const KEYS: usize = 10;
/// So many alerts are told whole, the first.
const FIRST: usize = 5;
/// So many alerts are told of a difference, the first.
const DIFFERENT: usize = 20;

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Records of the range.
    pub events: u64,
    /// How many of them were read.
    pub read: u64,
    /// Whether all were judged.
    pub complete: bool,
    /// Which limit ended it early: `time` or `alerts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<&'static str>,
    /// What is missing, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// The rules that were tried.
    pub rules: Vec<Tried>,
}

/// What one rule came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its alerts.
    pub alerts: u64,
    /// By day of UTC; days without one are left out.
    pub days: Vec<Day>,
    /// The keys with the most alerts.
    pub keys: Vec<Key>,
    /// The first alerts.
    pub first: Vec<Value>,
    /// What would be otherwise, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Variant>,
    /// What an exception would leave, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<Variant>,
}

/// The alerts of one day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Day {
    /// As `2026-11-23`.
    pub day: String,
    /// How many.
    pub alerts: u64,
}

/// The alerts of one key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Key {
    /// Its fields and their values.
    pub key: Value,
    /// How many.
    pub alerts: u64,
}

/// Another run of the same rule: alerts are the same if their time and their key are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Variant {
    /// Alerts of that run.
    pub alerts: u64,
    /// Alerts that both have.
    pub both: u64,
    /// Alerts that only the tried rule has.
    pub only_here: u64,
    /// Alerts that only the other has.
    pub only_there: u64,
    /// The first of those that only the tried rule has.
    pub here: Vec<Value>,
    /// The first of those that only the other has.
    pub there: Vec<Value>,
}

impl Report {
    /// Of these rules of a run.
    pub fn new(ran: &Ran, ids: &[String]) -> Report {
        let rules = ids.iter().filter_map(|id| tried(ran, id)).collect();
        let mut report = Report { events: ran.events, read: ran.read, complete: true, cut: None, missing: Vec::new(), rules };
        report.add_missing(ran);
        report
    }

    /// Says what a run has left out, of its own or of another that it is compared with.
    pub fn add_missing(&mut self, ran: &Ran) {
        let records = ran.missing.iter().map(|m| format!("records {} to {}: {}", m.first, m.last, m.why));
        let cut = ran.cut.map(|(why, at)| match at {
            Some(t) => format!("{why}: events behind {t} are not judged"),
            None => format!("{why}: no event is judged"),
        });
        for m in records.chain(cut) {
            if !self.missing.contains(&m) {
                self.missing.push(m);
            }
        }
        self.cut = self.cut.or(ran.cut.map(|c| c.0.name()));
        self.complete = self.missing.is_empty();
    }
}

/// The alerts of a rule.
fn of<'a>(ran: &'a Ran, id: &str) -> Vec<&'a Alert> {
    ran.alerts.iter().filter(|a| &*ran.rules.rules[a.rule].id == id).collect()
}

fn tried(ran: &Ran, id: &str) -> Option<Tried> {
    let rule = ran.rules.rules.iter().find(|r| &*r.id == id)?;
    let alerts = of(ran, id);
    let (mut days, mut keys) = (BTreeMap::<String, u64>::new(), BTreeMap::<&[u8], (u64, &Alert)>::new());
    for a in &alerts {
        let day = a.ts.0.div_euclid(86_400 * SECOND) * 86_400 * SECOND;
        let day = crate::event::Timestamp(day).to_string();
        *days.entry(day.split('T').next().unwrap_or_default().to_owned()).or_default() += 1;
        keys.entry(&a.key).or_insert((0, a)).0 += 1;
    }
    let mut keys: Vec<(u64, &Alert)> = keys.into_values().collect();
    keys.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.key.cmp(&b.1.key)));
    Some(Tried {
        id: id.to_owned(),
        title: rule.title.clone(),
        alerts: alerts.len() as u64,
        days: days.into_iter().map(|(day, alerts)| Day { day, alerts }).collect(),
        keys: keys.iter().take(KEYS).map(|(n, a)| Key { key: told(&ran.rules, a)["alert"]["key"].clone(), alerts: *n }).collect(),
        first: alerts.iter().take(FIRST).map(|a| told(&ran.rules, a)).collect(),
        against: None,
        exception: None,
    })
}

fn told(rules: &RuleSet, a: &Alert) -> Value {
    let mut line = Vec::new();
    a.write(rules, None, &mut line);
    serde_json::from_slice(&line).unwrap_or_default()
}

impl Variant {
    /// What a rule has in one run and in another.
    pub fn new(here: &Ran, there: &Ran, id: &str) -> Variant {
        let place = |a: &&Alert| (a.ts, a.key.clone());
        let (a, b) = (of(here, id), of(there, id));
        let (in_a, in_b): (BTreeSet<_>, BTreeSet<_>) = (a.iter().map(place).collect(), b.iter().map(place).collect());
        let only_a: Vec<&&Alert> = a.iter().filter(|x| !in_b.contains(&place(x))).collect();
        let only_b: Vec<&&Alert> = b.iter().filter(|x| !in_a.contains(&place(x))).collect();
        Variant {
            alerts: b.len() as u64,
            both: (a.len() - only_a.len()) as u64,
            only_here: only_a.len() as u64,
            only_there: only_b.len() as u64,
            here: only_a.iter().take(DIFFERENT).map(|x| told(&here.rules, x)).collect(),
            there: only_b.iter().take(DIFFERENT).map(|x| told(&there.rules, x)).collect(),
        }
    }
}
