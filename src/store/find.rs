//! Finding alerts: by time, rule, severity and status, page by page.

use super::error::StoreError;
use super::tables::*;
use super::write::number;
use crate::event::Timestamp;
use crate::rule::Severity;
use redb::ReadTransaction;

/// Which alerts, and in which order.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Those of these rules; all where none is named.
    pub rules: Vec<String>,
    /// Those of these severities; all where none is named.
    pub severities: Vec<Severity>,
    /// Those with these; all but the withdrawn where none is named.
    pub statuses: Vec<Status>,
    /// Only signals, or none.
    pub signal: Option<bool>,
    /// From this time on.
    pub since: Timestamp,
    /// Before this time; none where there is no end.
    pub until: Option<Timestamp>,
    /// The oldest first, else the newest.
    pub ascending: bool,
    /// At most so many on a page.
    pub limit: usize,
    /// Where an earlier page ended. Its times hold in place of `since` and `until`.
    pub cursor: Option<Cursor>,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            rules: Vec::new(),
            severities: Vec::new(),
            statuses: Vec::new(),
            signal: None,
            since: Timestamp::MIN,
            until: None,
            ascending: false,
            limit: 100,
            cursor: None,
        }
    }
}

impl Filter {
    /// What a cursor belongs to: pages go on only with the conditions and the order with which they began.
    fn fingerprint(&self) -> u32 {
        let mut h = blake3::Hasher::new();
        let mut sorted = self.clone();
        sorted.rules.sort();
        sorted.severities.sort();
        sorted.statuses.sort_by_key(|s| *s as u8);
        h.update(format!("{:?}", (sorted.rules, sorted.severities, sorted.statuses, sorted.signal, sorted.ascending)).as_bytes());
        let mut b = [0; 4];
        b.copy_from_slice(&h.finalize().as_bytes()[..4]);
        u32::from_le_bytes(b)
    }

    /// Whether the cursor is one of these conditions and this order.
    pub fn goes_on(&self) -> bool {
        self.cursor.as_ref().is_none_or(|c| c.fingerprint == self.fingerprint())
    }
}

/// Where a page ended, and what was there when the first began.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// Alerts that were first told later are not on these pages.
    arrival: u64,
    since: Timestamp,
    until: Option<Timestamp>,
    /// The last alert of the page.
    at: [u8; 24],
    fingerprint: u32,
}

/// A cursor's bytes; it is written as twice as many hex digits.
const CURSOR: usize = 8 + 8 + 9 + 24 + 4;

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut b = Vec::with_capacity(CURSOR);
        b.extend_from_slice(&self.arrival.to_be_bytes());
        b.extend_from_slice(&self.since.0.to_be_bytes());
        b.push(self.until.is_some() as u8);
        b.extend_from_slice(&self.until.unwrap_or_default().0.to_be_bytes());
        b.extend_from_slice(&self.at);
        b.extend_from_slice(&self.fingerprint.to_be_bytes());
        f.write_str(&crate::alert::hex(&b))
    }
}

impl Cursor {
    /// Reads what [`Cursor`]'s `Display` writes; `None` for anything else.
    pub fn parse(s: &str) -> Option<Cursor> {
        let b: [u8; CURSOR] = unhex(s)?;
        let (arrival, rest) = b.split_first_chunk::<8>()?;
        let (since, rest) = rest.split_first_chunk::<8>()?;
        let (&bounded, rest) = rest.split_first()?;
        let (until, rest) = rest.split_first_chunk::<8>()?;
        let (at, rest) = rest.split_first_chunk::<24>()?;
        let (fingerprint, _) = rest.split_first_chunk::<4>()?;
        Some(Cursor {
            arrival: u64::from_be_bytes(*arrival),
            since: Timestamp(i64::from_be_bytes(*since)),
            until: (bounded == 1).then_some(Timestamp(i64::from_be_bytes(*until))),
            at: *at,
            fingerprint: u32::from_be_bytes(*fingerprint),
        })
    }
}

/// Bytes from exactly so many pairs of hex digits.
pub fn unhex<const N: usize>(s: &str) -> Option<[u8; N]> {
    let digits = s.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let mut out = [0; N];
    for (to, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *to = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// One page: ids in their order; [`super::Store::lines`] gives what they name.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// How many match on all pages together.
    pub total: u64,
    /// Those of this page.
    pub ids: Vec<[u8; 16]>,
    /// Where the next page begins; none after the last.
    pub next: Option<Cursor>,
}

/// An alert as the store has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// `event.id`.
    pub id: [u8; 16],
    /// `@timestamp`.
    pub ts: Timestamp,
    /// `rule.id`.
    pub rule: String,
    /// `alert.severity`.
    pub severity: Severity,
    /// `alert.status`.
    pub status: Status,
    /// Whether its rule is a signal.
    pub signal: bool,
    /// `alert.final`.
    pub is_final: bool,
    /// The whole alert as JSON.
    pub line: Vec<u8>,
    /// Copies of evidence by sequence number, the oldest first; only [`super::Store::alert`] gives them.
    pub evidence: Vec<(u64, Vec<u8>)>,
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} cannot be read"))
}

pub(super) fn page(tx: &ReadTransaction, f: &Filter) -> Result<Page, StoreError> {
    let rules = tx.open_table(RULES)?;
    let mut numbers = Vec::new();
    for rule in &f.rules {
        numbers.extend(rules.get(rule.as_str())?.map(|n| n.value()));
    }
    let (since, until, arrival, after) = match &f.cursor {
        Some(c) => (c.since, c.until, c.arrival, Some(c.at)),
        None => (f.since, f.until, number(&tx.open_table(META)?, ARRIVAL)?, None),
    };
    let fits = |m: &Mark| {
        let status = if f.statuses.is_empty() { m.status != Status::Withdrawn } else { f.statuses.contains(&m.status) };
        m.arrival <= arrival
            && status
            && (f.rules.is_empty() || numbers.contains(&m.rule))
            && (f.severities.is_empty() || f.severities.contains(&m.severity))
            && f.signal.is_none_or(|s| s == m.signal)
    };
    let times = tx.open_table(TIMES)?;
    let (from, to) = (place(since, &[0; 16]), place(until.unwrap_or(Timestamp::MAX), &[if until.is_some() { 0 } else { 0xff }; 16]));
    let mut found = Page { total: 0, ids: Vec::new(), next: None };
    if from >= to {
        return Ok(found);
    }
    let (mut last, mut more) = (None, false);
    let mut take = |at: [u8; 24], mark: &[u8; 16]| {
        if !Mark::unpack(mark).is_some_and(|m| fits(&m)) {
            return;
        }
        found.total += 1;
        let on = after.is_none_or(|a| if f.ascending { at > a } else { at < a });
        if on && found.ids.len() < f.limit {
            found.ids.push(placed(&at).1);
            last = Some(at);
        } else if on {
            more = true;
        }
    };
    // The upper end is a time without its instant, or the greatest key there can be.
    let mut range = times.range::<&[u8; 24]>(&from..&to)?;
    while let Some(row) = if f.ascending { range.next() } else { range.next_back() } {
        let (at, mark) = row?;
        take(*at.value(), mark.value());
    }
    if more && let Some(at) = last {
        found.next = Some(Cursor { arrival, since, until, at, fingerprint: f.fingerprint() });
    }
    Ok(found)
}

/// The alert under an id, without its evidence.
fn stored(tx: &ReadTransaction, id: &[u8; 16]) -> Result<Option<Stored>, StoreError> {
    let alerts = tx.open_table(ALERTS)?;
    let Some(row) = alerts.get(id)? else { return Ok(None) };
    let Row { ts, mark, line } = Row::read(row.value()).ok_or_else(|| damaged("an alert"))?;
    let rule = tx.open_table(RULE_NAMES)?.get(mark.rule)?.ok_or_else(|| damaged("the rule of an alert"))?.value().to_owned();
    Ok(Some(Stored {
        id: *id,
        ts,
        rule,
        severity: mark.severity,
        status: mark.status,
        signal: mark.signal,
        is_final: mark.is_final,
        line: line.to_vec(),
        evidence: Vec::new(),
    }))
}

pub(super) fn alert(tx: &ReadTransaction, id: &[u8; 16]) -> Result<Option<Stored>, StoreError> {
    let Some(mut alert) = stored(tx, id)? else { return Ok(None) };
    for copy in tx.open_table(EVIDENCE)?.range((id, 0)..=(id, u64::MAX))? {
        let (key, raw) = copy?;
        alert.evidence.push((key.value().1, raw.value().to_vec()));
    }
    Ok(Some(alert))
}

pub(super) fn lines(tx: &ReadTransaction, ids: &[[u8; 16]], bytes: usize) -> Result<(usize, Vec<Vec<u8>>), StoreError> {
    let alerts = tx.open_table(ALERTS)?;
    let (mut done, mut size, mut lines) = (0, 0, Vec::new());
    for id in ids {
        if size > bytes {
            break;
        }
        done += 1;
        if let Some(row) = alerts.get(id)? {
            let line = Row::read(row.value()).ok_or_else(|| damaged("an alert"))?.line;
            size += line.len();
            lines.push(line.to_vec());
        }
    }
    Ok((done, lines))
}

pub(super) fn open_since(tx: &ReadTransaction, prefix: &str, since: Timestamp) -> Result<Vec<Stored>, StoreError> {
    let mut numbers = Vec::new();
    for rule in tx.open_table(RULES)?.range(prefix..)? {
        let (name, n) = rule?;
        if !name.value().starts_with(prefix) {
            break;
        }
        numbers.push(n.value());
    }
    let mut found = Vec::new();
    for row in tx.open_table(TIMES)?.range::<&[u8; 24]>(&place(since, &[0; 16])..)? {
        let (at, mark) = row?;
        if Mark::unpack(mark.value()).is_some_and(|m| m.status == Status::Open && numbers.contains(&m.rule)) {
            found.extend(stored(tx, &placed(at.value()).1)?);
        }
    }
    Ok(found)
}

pub(super) fn outbox(tx: &ReadTransaction, sink: &str, bytes: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let written = tx.open_table(SINKS)?.get(sink)?.ok_or_else(|| StoreError::Sink(sink.to_owned()))?.value();
    let (mut size, mut lines) = (0, Vec::new());
    for line in tx.open_table(OUTBOX)?.range(written.saturating_add(1)..)? {
        let (n, line) = line?;
        size += line.value().len();
        // A line larger than all that was asked for goes alone: it would wait for ever.
        if size > bytes && !lines.is_empty() {
            break;
        }
        lines.push((n.value(), line.value().to_vec()));
    }
    Ok(lines)
}
