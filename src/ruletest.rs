//! Runs `[[rule.test]]` in virtual time: events in, alerts of the tested rule against what is due.

use crate::alert::{Alert, plain};
use crate::engine::collect::Collected;
use crate::engine::{Options, key::Scalar};
use crate::event::json::Tree;
use crate::event::{Batch, Field, Schema, Timestamp, Type, ip};
use crate::parse::{Context, Estate, Format, declared};
use crate::rule::testing::{Body, Due, Row, RuleTest};
use crate::rule::{RuleSet, When};
use crate::worker::{FILE_LATENESS, Origin, Worker};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a test has shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Due, and did not come.
    pub missing: Vec<String>,
    /// Came, and was not due.
    pub surplus: Vec<String>,
    /// Why it could not run.
    pub broken: Option<String>,
    /// For a timeline: how many alerts came at each row's time.
    pub came: BTreeMap<Timestamp, usize>,
}

impl Verdict {
    /// Whether the test passed.
    pub fn passed(&self) -> bool {
        self.missing.is_empty() && self.surplus.is_empty() && self.broken.is_none()
    }
}

/// The instant at which every timeline begins: 2026-01-01T00:00:00Z.
pub const BEGIN: Timestamp = Timestamp(1_767_225_600 * crate::event::time::SECOND);

/// Runs one test of rule `of`. Only that rule and those it listens to take part.
pub fn run(rules: &RuleSet, of: usize, test: &RuleTest, formats: &declared::Formats, estate: &Arc<Estate>) -> Verdict {
    let (set, places) = upstream(rules, &[of]);
    let (set, at) = (Arc::new(set), places[0]);
    let mut verdict = Verdict::default();
    let (format, lines, near) = match &test.body {
        Body::Timeline(rows) => (Some(Format::Ecs), rows.iter().filter_map(|r| record(r, &set.schema)).collect(), BEGIN),
        Body::Lines { format, lines, received, .. } => {
            let named = match format {
                None => None,
                Some(name) => match Format::named(name, formats) {
                    Some(f) => Some(f),
                    None => {
                        verdict.broken = Some(format!("no format is called `{name}`"));
                        return verdict;
                    }
                },
            };
            (named, lines.iter().map(|l| l.clone().into_bytes()).collect::<Vec<_>>(), received.unwrap_or(BEGIN))
        }
    };
    let mut worker = Worker::new(set.clone(), formats, estate.clone(), Options::default());
    let zone = TimeZone::UTC;
    let origin = Origin {
        ctx: Context { zone: &zone, near, named: format.is_some(), estate },
        format,
        stream: "test",
        lateness: FILE_LATENESS,
        received: None,
    };
    let (mut batch, mut said, mut got) = (Batch::default(), Vec::new(), Collected::default());
    for (i, l) in lines.iter().enumerate() {
        batch.clear();
        batch.push(l, false);
        let seen = worker.record(&batch, batch.records[0], &origin, &mut said);
        if seen.error {
            verdict.broken = Some(format!("line {} is no record of this format", i + 1));
        }
        got.take(&mut said);
    }
    worker.engine().finish(&mut said);
    got.take(&mut said);
    let alerts: Vec<Alert> = got.finish().into_iter().filter(|a| a.rule == at).collect();
    match &test.body {
        Body::Timeline(rows) => judge_timeline(rows, &alerts, &mut verdict),
        Body::Lines { alerts: due, .. } => judge_lines(due, &alerts, &set.schema, &mut verdict),
    }
    verdict
}

fn judge_timeline(rows: &[Row], alerts: &[Alert], v: &mut Verdict) {
    let mut due: BTreeMap<Timestamp, usize> = BTreeMap::new();
    rows.iter().filter(|r| r.due).for_each(|r| *due.entry(BEGIN.plus(r.at)).or_default() += 1);
    alerts.iter().for_each(|a| *v.came.entry(a.ts).or_default() += 1);
    let offset = |t: Timestamp| crate::event::Span(t.0 - BEGIN.0).to_string();
    for (t, n) in &due {
        let came = v.came.get(t).copied().unwrap_or(0);
        (came..*n).for_each(|_| v.missing.push(format!("an alert at {}", offset(*t))));
    }
    for (t, n) in &v.came {
        let wanted = due.get(t).copied().unwrap_or(0);
        (wanted..*n).for_each(|_| v.surplus.push(format!("an alert at {}", offset(*t))));
    }
}

fn judge_lines(due: &[Due], alerts: &[Alert], schema: &Schema, v: &mut Verdict) {
    let mut left: Vec<&Alert> = alerts.iter().collect();
    // The more exact expectations choose first.
    let mut due: Vec<&Due> = due.iter().collect();
    due.sort_by_key(|d| d.key.is_none());
    for d in due {
        match left.iter().position(|a| a.ts == d.at && d.key.as_ref().is_none_or(|k| has_key(a, k))) {
            Some(i) => drop(left.remove(i)),
            None => {
                let key = d.key.iter().flatten().map(|(f, s)| format!("{} = {s}", schema.name(*f))).collect::<Vec<_>>().join(", ");
                v.missing.push(format!("an alert at {} for {{{key}}}", d.at));
            }
        }
    }
    for a in left {
        let key = a.keys.iter().map(|(f, s)| format!("{} = {}", schema.name(*f), plain(s.value()))).collect::<Vec<_>>().join(", ");
        v.surplus.push(format!("an alert at {} for {{{key}}}", a.ts));
    }
}

fn has_key(a: &Alert, want: &[(Field, String)]) -> bool {
    let present: Vec<_> = a.keys.iter().filter(|(_, s)| *s != Scalar::Null).collect();
    present.len() == want.len()
        && want.iter().all(|(f, w)| {
            present.iter().any(|(k, s)| {
                k == f
                    && match s {
                        Scalar::Ip(x) => ip(w.as_bytes()) == Some(*x),
                        s => plain(s.value()) == *w,
                    }
            })
        })
}

/// A row of a timeline as an ECS record.
fn record(row: &Row, schema: &Schema) -> Option<Vec<u8>> {
    let event = row.event.as_ref()?;
    let mut t = Tree::default();
    t.str("@timestamp", &BEGIN.plus(row.at).to_string());
    for (f, text) in event {
        let number = text.parse::<f64>().is_ok_and(|x| x.is_finite()) && serde_json::from_str::<serde_json::Number>(text).is_ok();
        match schema.ty(*f) {
            Type::Int | Type::Float | Type::Any if number => t.put(schema.name(*f), text.clone().into_bytes()),
            Type::Bool | Type::Any if text == "true" || text == "false" => t.put(schema.name(*f), text.clone().into_bytes()),
            _ => t.str(schema.name(*f), text),
        }
    }
    let mut out = Vec::new();
    t.write(&mut out);
    Some(out)
}

/// Rules and all that they listen to, as a set of their own, and the places of these rules in it.
pub fn upstream(rules: &RuleSet, of: &[usize]) -> (RuleSet, Vec<usize>) {
    let mut wanted = of.to_vec();
    let mut next = 0;
    while let Some(&r) = wanted.get(next) {
        next += 1;
        let rule = &rules.rules[r];
        for w in std::iter::once(&rule.when).chain(rule.kind.steps().iter().map(|s| &s.when)) {
            for &u in w.rules.iter().flatten() {
                if !wanted.contains(&u) {
                    wanted.push(u);
                }
            }
        }
    }
    wanted.sort_unstable();
    let place = |r: usize| wanted.binary_search(&r).unwrap_or(0);
    let turn = |w: &mut When| {
        if let Some(l) = &mut w.rules {
            l.retain(|u| wanted.binary_search(u).is_ok());
            l.iter_mut().for_each(|u| *u = place(*u));
        }
    };
    let mut set = RuleSet { rules: Vec::new(), exceptions: rules.exceptions.clone(), schema: rules.schema.clone(), ..RuleSet::default() };
    for &r in &wanted {
        let mut rule = rules.rules[r].clone();
        turn(&mut rule.when);
        if let crate::rule::Kind::Sequence { steps, .. } | crate::rule::Kind::AllOf { steps, .. } = &mut rule.kind {
            steps.iter_mut().for_each(|s| turn(&mut s.when));
        }
        set.rules.push(rule);
    }
    (set, of.iter().map(|r| place(*r)).collect())
}
