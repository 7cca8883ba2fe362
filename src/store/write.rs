//! What one transaction does to the tables.

use super::error::StoreError;
use super::tables::*;
use super::{Commit, MAX_COPIED_BYTES, MAX_COPIES, Options, Told};
use crate::alert::Step;
use crate::event::Timestamp;
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use std::collections::BTreeMap;

/// What a transaction did and gave up, to be counted once it is durable.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// The number of the latest line.
    pub number: u64,
    /// Copies of evidence that were not kept.
    pub copies: u64,
    /// Lines that a sink will not get.
    pub lines: u64,
    /// Alerts beyond the number that is kept.
    pub alerts: u64,
}

/// A number in `META`, 0 where there is none.
pub(super) fn number(meta: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, StoreError> {
    Ok(meta.get(name)?.map_or(0, |v| v.value()))
}

/// Writes a commit; `copies` is whether there is room for copies of evidence.
pub(super) fn apply(tx: &WriteTransaction, c: &Commit, options: &Options, copies: bool) -> Result<Done, StoreError> {
    let mut done = Done::default();
    let mut meta = tx.open_table(META)?;
    if c.mark > number(&meta, MARK)? {
        meta.insert(MARK, c.mark)?;
    }
    let mut sinks = tx.open_table(SINKS)?;
    let mut outbox = tx.open_table(OUTBOX)?;
    if !c.told.is_empty() {
        let mut tables = Alerts::open(tx)?;
        let mut arrival = number(&meta, ARRIVAL)?;
        for told in &c.told {
            tables.tell(told, &mut arrival)?;
            let none: &[(u64, Vec<u8>)] = &[];
            done.copies += tables.copy(&told.id, if copies { &told.evidence } else { none })?;
            done.copies += if copies { 0 } else { told.evidence.len() as u64 };
        }
        done.alerts += tables.beyond(options.max_alerts, u64::MAX)?;
        meta.insert(ARRIVAL, arrival)?;
        if !options.sinks.is_empty() {
            send(c, options, &mut meta, &sinks, &mut outbox, &mut done)?;
        }
    }
    if !c.written.is_empty() {
        let last = number(&meta, NUMBER)?;
        for (sink, n) in &c.written {
            let before = sinks.get(sink.as_str())?.ok_or_else(|| StoreError::Sink(sink.clone()))?.value();
            sinks.insert(sink.as_str(), before.max((*n).min(last)))?;
        }
        clear_outbox(&mut meta, &sinks, &mut outbox)?;
    }
    done.number = number(&meta, NUMBER)?;
    Ok(done)
}

/// Puts the lines of a commit into the outbox; beyond its limit the oldest lines are given up.
fn send(
    c: &Commit,
    options: &Options,
    meta: &mut Table<'_, &'static str, u64>,
    sinks: &Table<'_, &'static str, u64>,
    outbox: &mut Table<'_, u64, &'static [u8]>,
    done: &mut Done,
) -> Result<(), StoreError> {
    let (mut last, mut bytes) = (number(meta, NUMBER)?, number(meta, OUTBOX_BYTES)?);
    for told in &c.told {
        last += 1;
        bytes += told.line.len() as u64;
        outbox.insert(last, told.line.as_slice())?;
    }
    let mut positions = Vec::new();
    for sink in sinks.iter()? {
        positions.push(sink?.1.value());
    }
    while bytes > options.max_outbox && outbox.len()? > 1 {
        let Some((n, line)) = outbox.pop_first()? else { break };
        bytes = bytes.saturating_sub(line.value().len() as u64);
        done.lines += positions.iter().filter(|p| **p < n.value()).count() as u64;
    }
    meta.insert(NUMBER, last)?;
    meta.insert(OUTBOX_BYTES, bytes)?;
    Ok(())
}

/// Removes the lines that every sink has written.
pub(super) fn clear_outbox(
    meta: &mut Table<'_, &'static str, u64>,
    sinks: &Table<'_, &'static str, u64>,
    outbox: &mut Table<'_, u64, &'static [u8]>,
) -> Result<(), StoreError> {
    let mut written = u64::MAX;
    for sink in sinks.iter()? {
        written = written.min(sink?.1.value());
    }
    let mut bytes = number(meta, OUTBOX_BYTES)?;
    while outbox.first()?.is_some_and(|(n, _)| n.value() <= written) {
        if let Some((_, line)) = outbox.pop_first()? {
            bytes = bytes.saturating_sub(line.value().len() as u64);
        }
    }
    meta.insert(OUTBOX_BYTES, bytes)?;
    Ok(())
}

/// Removes at most `most` alerts that are too old, or the oldest of too many.
pub(super) fn sweep(tx: &WriteTransaction, options: &Options, now: Timestamp, most: u64) -> Result<u64, StoreError> {
    let mut tables = Alerts::open(tx)?;
    let oldest = place(now.minus(options.max_age), &[0; 16]);
    let mut removed = 0;
    while removed < most && tables.times.first()?.is_some_and(|(at, _)| *at.value() < oldest) {
        tables.pop()?;
        removed += 1;
    }
    Ok(removed + tables.beyond(options.max_alerts, most - removed)?)
}

/// The tables that hold alerts, open together.
struct Alerts<'t> {
    alerts: Table<'t, &'static [u8; 16], &'static [u8]>,
    times: Table<'t, &'static [u8; 24], &'static [u8; 16]>,
    evidence: Table<'t, (&'static [u8; 16], u64), &'static [u8]>,
    rules: Table<'t, &'static str, u32>,
    names: Table<'t, u32, &'static str>,
    /// Numbers looked up in this transaction.
    known: BTreeMap<String, u32>,
}

impl<'t> Alerts<'t> {
    fn open(tx: &'t WriteTransaction) -> Result<Alerts<'t>, StoreError> {
        Ok(Alerts {
            alerts: tx.open_table(ALERTS)?,
            times: tx.open_table(TIMES)?,
            evidence: tx.open_table(EVIDENCE)?,
            rules: tx.open_table(RULES)?,
            names: tx.open_table(RULE_NAMES)?,
            known: BTreeMap::new(),
        })
    }

    /// Replaces what is there under the alert's id.
    fn tell(&mut self, told: &Told, arrival: &mut u64) -> Result<(), StoreError> {
        let before = match self.alerts.get(&told.id)? {
            None => None,
            Some(v) => Row::read(v.value()).map(|r| (r.ts, r.mark.arrival)),
        };
        let arrival = match before {
            Some((ts, arrival)) => {
                self.times.remove(&place(ts, &told.id))?;
                arrival
            }
            None => {
                *arrival += 1;
                *arrival
            }
        };
        let status = match told.step {
            Step::Withdrawn => Status::Withdrawn,
            _ if told.signal => Status::Recorded,
            _ => Status::Open,
        };
        let rule = self.rule(&told.rule)?;
        let mark = Mark { arrival, rule, severity: told.severity, status, signal: told.signal, is_final: told.is_final };
        let withdrawn = if status == Status::Withdrawn { withdrawn(&told.line) } else { None };
        let line = withdrawn.as_deref().unwrap_or(&told.line);
        self.alerts.insert(&told.id, Row { ts: told.ts, mark, line }.write().as_slice())?;
        self.times.insert(&place(told.ts, &told.id), &mark.pack())?;
        Ok(())
    }

    fn rule(&mut self, id: &str) -> Result<u32, StoreError> {
        if let Some(&n) = self.known.get(id) {
            return Ok(n);
        }
        let there = self.rules.get(id)?.map(|n| n.value());
        let n = match there {
            Some(n) => n,
            None => {
                let n = self.names.last()?.map_or(0, |(n, _)| n.value()).saturating_add(1);
                self.rules.insert(id, n)?;
                self.names.insert(n, id)?;
                n
            }
        };
        self.known.insert(id.to_owned(), n);
        Ok(n)
    }

    /// Keeps copies of evidence beside those that are there, the latest of too many; the answer is how many went.
    fn copy(&mut self, id: &[u8; 16], new: &[(u64, Vec<u8>)]) -> Result<u64, StoreError> {
        if new.is_empty() {
            return Ok(0);
        }
        let mut sizes = BTreeMap::new();
        for e in self.evidence.range((id, 0)..=(id, u64::MAX))? {
            let (key, raw) = e?;
            sizes.insert(key.value().1, (raw.value().len(), None));
        }
        sizes.extend(new.iter().map(|(seq, raw)| (*seq, (raw.len(), Some(raw)))));
        let (mut copies, mut bytes, mut gone) = (0, 0, 0);
        for (seq, (len, new)) in sizes.into_iter().rev() {
            // The first that does not fit ends it: what is kept is the latest without a gap.
            if gone == 0 && copies < MAX_COPIES && bytes + len <= MAX_COPIED_BYTES {
                copies += 1;
                bytes += len;
                if let Some(raw) = new {
                    self.evidence.insert((id, seq), raw.as_slice())?;
                }
            } else {
                gone += 1;
                self.evidence.remove((id, seq))?;
            }
        }
        Ok(gone)
    }

    /// Removes the oldest of more than so many alerts, at most `most` of them.
    fn beyond(&mut self, max: usize, most: u64) -> Result<u64, StoreError> {
        let over = self.times.len()?.saturating_sub(max as u64).min(most);
        for _ in 0..over {
            self.pop()?;
        }
        Ok(over)
    }

    /// Removes the oldest alert with its evidence.
    fn pop(&mut self) -> Result<(), StoreError> {
        let Some((_, id)) = self.times.pop_first()?.map(|(at, _)| placed(at.value())) else { return Ok(()) };
        self.alerts.remove(&id)?;
        self.evidence.retain_in((&id, 0)..=(&id, u64::MAX), |_, _| false)?;
        Ok(())
    }
}

/// The line of an alert with the status that it has after it was taken back; `None` for a line that is no object.
fn withdrawn(line: &[u8]) -> Option<Vec<u8>> {
    let mut v: serde_json::Value = serde_json::from_slice(line).ok()?;
    v.get_mut("alert")?.as_object_mut()?.insert("status".into(), Status::Withdrawn.name().into());
    serde_json::to_vec(&v).ok()
}
