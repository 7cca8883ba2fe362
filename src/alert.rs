//! An alert: a rule that fired for a key, on what evidence.

use crate::engine::evidence::{Evidence, MAX_EVIDENCE};
use crate::engine::key::Scalar;
use crate::event::json::{Tree, string, value};
use crate::event::{Field, Schema, Timestamp, Value, field};
use crate::rule::{Part, Rule, RuleSet, Template};
use std::sync::Arc;

/// An alert, or a version of one that is not final yet.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Made of the rule, the key, and the first and the completing evidence: the same on every replay.
    pub id: [u8; 16],
    /// The id under which it was first told; another than `id` once it has been amended.
    pub delivery: [u8; 16],
    /// The rule, by its index in the set.
    pub rule: usize,
    /// The event time at which it fired.
    pub ts: Timestamp,
    /// The key in its encoded form, which sorts.
    pub key: Arc<[u8]>,
    /// The key fields and their values.
    pub keys: Vec<(Field, Scalar)>,
    /// What it takes along: fields and their values.
    pub carried: Vec<(Field, Vec<Scalar>)>,
    /// Matches, evidence included.
    pub count: u64,
    /// The least time of its evidence.
    pub first: Timestamp,
    /// The greatest time of its matches.
    pub last: Timestamp,
    /// At most [`MAX_EVIDENCE`], oldest first, the latest of more.
    pub evidence: Vec<Evidence>,
    /// By how many millionths a sum may be too low.
    pub short: i128,
    /// Whether it is of a late event.
    pub late: bool,
}

/// Whether an alert has this field of its own: what it carries or is keyed by does not take its place.
pub fn is_own(f: Field) -> bool {
    const OWN: [Field; 12] = [
        field::TIMESTAMP,
        field::MESSAGE,
        field::EVENT_KIND,
        field::EVENT_MODULE,
        field::EVENT_ID,
        field::EVENT_SEVERITY,
        field::RULE_ID,
        field::RULE_NAME,
        field::RULE_VERSION,
        field::RULE_TACTIC,
        field::ALERT_SEVERITY,
        field::THREAT_TECHNIQUE_ID,
    ];
    OWN.contains(&f)
}

/// The name of an alert everywhere: the hash of the rule's id and meaning, the key, and the marks of the first and of the
/// completing evidence.
pub fn id(rule: &Rule, key: &[u8], first: u64, completing: u64) -> [u8; 16] {
    let mut h = blake3::Hasher::new();
    for part in [rule.id.as_bytes(), &rule.meaning, key, &first.to_le_bytes(), &completing.to_le_bytes()] {
        h.update(&(part.len() as u64).to_le_bytes());
        h.update(part);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&h.finalize().as_bytes()[..16]);
    id
}

/// The id as it is written: 32 hex digits.
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|b| format!("{b:02x}")).collect()
}

impl Alert {
    /// The values of a field: of the key, else of what it carries.
    pub fn get(&self, f: Field) -> Vec<&Scalar> {
        if let Some((_, s)) = self.keys.iter().find(|(k, _)| *k == f) {
            return vec![s];
        }
        self.carried.iter().find(|(k, _)| *k == f).map(|(_, v)| v.iter().collect()).unwrap_or_default()
    }

    /// One line for people: the rule's summary with its fields filled in, else its title.
    pub fn message(&self, rule: &Rule) -> String {
        match &rule.summary {
            None => rule.title.clone(),
            Some(t) => fill(t, |f| self.get(f).iter().map(|s| s.value()).map(plain).collect()),
        }
    }

    /// Writes the alert as one JSON object, without a newline. `step` is what has become of it and whether it
    /// is final, where that is told (`run`).
    pub fn write(&self, rules: &RuleSet, step: Option<(Step, bool)>, out: &mut Vec<u8>) {
        let rule = &rules.rules[self.rule];
        let schema: &Schema = &rules.schema;
        let mut t = Tree::default();
        t.value("@timestamp", Value::Time(self.ts), false);
        t.str("event.kind", "alert");
        t.str("event.module", "vigild");
        t.str("event.id", &hex(&self.delivery));
        t.value("event.severity", Value::Int(rule.severity.score()), false);
        t.str("rule.id", &rule.id);
        t.str("rule.name", &rule.title);
        t.str("rule.version", &hex(&rule.meaning));
        t.str("alert.id", &hex(&self.id));
        t.str("alert.severity", rule.severity.name());
        t.value("alert.risk", Value::Int(rule.severity.risk() as i64), false);
        let mut keys = vec![b'{'];
        for (i, (f, s)) in self.keys.iter().enumerate() {
            if i > 0 {
                keys.push(b',');
            }
            string(schema.name(*f).as_bytes(), &mut keys);
            keys.push(b':');
            value(s.value(), false, &mut keys);
        }
        keys.push(b'}');
        t.put("alert.key", keys);
        t.value("alert.count", Value::Int(self.count as i64), false);
        t.value("alert.first", Value::Time(self.first), false);
        t.value("alert.last", Value::Time(self.last), false);
        t.str("alert.status", if rule.signal { "recorded" } else { "open" });
        if rule.signal {
            t.value("alert.signal", Value::Bool(true), false);
        }
        if self.late {
            t.value("alert.late", Value::Bool(true), false);
        }
        if self.short > 0 {
            t.value("alert.sum_short_by_at_most", Value::Float(self.short as f64 / 1e6), false);
        }
        if let Some((s, is_final)) = step {
            t.str("alert.step", s.name());
            t.value("alert.final", Value::Bool(is_final), false);
        }
        t.put("alert.evidence", self.write_evidence());
        if !rule.attack.is_empty() {
            t.put("threat.technique.id", list(rule.attack.iter().map(|s| s.as_str())));
            t.put("threat.tactic.name", list(rule.tactics.iter().map(|s| s.as_str())));
        }
        t.str("message", &self.message(rule));
        for (f, values) in self.carried.iter().filter(|(f, _)| !is_own(*f)) {
            match &values[..] {
                [] => {}
                [one] => t.value(schema.name(*f), one.value(), schema.many(*f)),
                many => {
                    let mut text = vec![b'['];
                    for (i, s) in many.iter().enumerate() {
                        if i > 0 {
                            text.push(b',');
                        }
                        value(s.value(), false, &mut text);
                    }
                    text.push(b']');
                    t.put(schema.name(*f), text);
                }
            }
        }
        for (f, s) in self.keys.iter().filter(|(f, _)| !is_own(*f)) {
            t.value(schema.name(*f), s.value(), schema.many(*f));
        }
        t.write(out);
    }

    fn write_evidence(&self) -> Vec<u8> {
        let mut all = vec![b'['];
        for (i, e) in self.evidence.iter().enumerate() {
            if i > 0 {
                all.push(b',');
            }
            let mut t = Tree::default();
            t.value("seq", Value::Int(e.seq as i64), false);
            t.value("@timestamp", Value::Time(e.ts), false);
            if let Some(a) = &e.alert {
                t.str("alert", &hex(&a.id));
                t.str("rule", &a.rule);
            }
            t.write(&mut all);
        }
        all.push(b']');
        all
    }

    /// Whether two versions rest on some of the same evidence.
    pub fn shares_evidence(&self, other: &Alert) -> bool {
        self.evidence.iter().any(|e| other.evidence.iter().any(|o| o.seq == e.seq && o.ts == e.ts && o.alert == e.alert))
    }

    /// The evidence that is kept of a longer list: the latest.
    pub fn cited(mut evidence: Vec<Evidence>) -> Vec<Evidence> {
        let over = evidence.len().saturating_sub(MAX_EVIDENCE);
        evidence.drain(..over);
        evidence
    }
}

/// What has become of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It fired; what comes may still change it.
    Opened,
    /// It stands otherwise than it was told.
    Amended,
    /// It matched again.
    Updated,
    /// It does not stand after all.
    Withdrawn,
    /// The watermark has passed it: it stands.
    Final,
}

impl Step {
    /// The word in `alert.step`.
    pub fn name(self) -> &'static str {
        match self {
            Step::Opened => "opened",
            Step::Amended => "amended",
            Step::Updated => "updated",
            Step::Withdrawn => "withdrawn",
            Step::Final => "final",
        }
    }
}

/// Fills a template; what a field lacks is `?`.
pub fn fill(t: &Template, get: impl Fn(Field) -> Vec<String>) -> String {
    let mut out = String::new();
    for p in &t.0 {
        match p {
            Part::Text(s) => out.push_str(s),
            Part::Field(f) => {
                let values = get(*f);
                out.push_str(&if values.is_empty() { "?".to_owned() } else { values.join(", ") });
            }
        }
    }
    out
}

/// A value as plain text, without quotes.
pub fn plain(v: Value<'_>) -> String {
    let mut b = Vec::new();
    match v {
        Value::Str(s) => b.extend_from_slice(s),
        Value::Missing => b.push(b'?'),
        v => value(v, false, &mut b),
    }
    String::from_utf8_lossy(&b).trim_matches('"').to_owned()
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut t = vec![b'['];
    for (i, s) in items.enumerate() {
        if i > 0 {
            t.push(b',');
        }
        string(s.as_bytes(), &mut t);
    }
    t.push(b']');
    t
}
