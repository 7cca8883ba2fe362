//! What lies in the file: the tables, their keys and their rows.

use crate::event::Timestamp;
use crate::rule::Severity;
use redb::TableDefinition;

/// The layout of these tables. A file of a later one is refused.
pub(super) const VERSION: u64 = 1;

/// Single numbers: see the names below.
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Alerts by id: a [`Row`].
pub(super) const ALERTS: TableDefinition<&[u8; 16], &[u8]> = TableDefinition::new("alerts");
/// All that is filtered by, in the order of time and id: [`place`] to [`Mark::pack`].
pub(super) const TIMES: TableDefinition<&[u8; 24], &[u8; 16]> = TableDefinition::new("times");
/// Copies of evidence by alert and sequence number.
pub(super) const EVIDENCE: TableDefinition<(&[u8; 16], u64), &[u8]> = TableDefinition::new("evidence");
/// Numbers of rules by id.
pub(super) const RULES: TableDefinition<&str, u32> = TableDefinition::new("rules");
/// Ids of rules by number.
pub(super) const RULE_NAMES: TableDefinition<u32, &str> = TableDefinition::new("rule_names");
/// Lines that a sink still has to write, by number.
pub(super) const OUTBOX: TableDefinition<u64, &[u8]> = TableDefinition::new("outbox");
/// The number up to which each sink has written.
pub(super) const SINKS: TableDefinition<&str, u64> = TableDefinition::new("sinks");

/// In `META`: the layout.
pub(super) const LAYOUT: &str = "layout";
/// In `META`: outputs of journal entries up to this one are here.
pub(super) const MARK: &str = "mark";
/// In `META`: how many transactions there have been; tells whether one in doubt took place.
pub(super) const COMMITS: &str = "commits";
/// In `META`: the number of the latest line.
pub(super) const NUMBER: &str = "number";
/// In `META`: the arrival number of the latest new alert.
pub(super) const ARRIVAL: &str = "arrival";
/// In `META`: bytes of all lines in the outbox.
pub(super) const OUTBOX_BYTES: &str = "outbox_bytes";

/// What has become of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits for somebody.
    Open,
    /// It is a signal: kept, and nobody's work.
    Recorded,
    /// It did not stand after all.
    Withdrawn,
}

impl Status {
    /// All there are.
    pub const ALL: [Status; 3] = [Status::Open, Status::Recorded, Status::Withdrawn];

    /// The word in `alert.status`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Recorded => "recorded",
            Status::Withdrawn => "withdrawn",
        }
    }
}

/// Severities by the number they have in the file.
pub(super) const SEVERITIES: [Severity; 5] = [Severity::Informational, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

/// What an alert is filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its place in the order in which alerts were first told.
    pub arrival: u64,
    /// The number of its rule.
    pub rule: u32,
    /// How bad.
    pub severity: Severity,
    /// What has become of it.
    pub status: Status,
    /// Whether its rule is a signal.
    pub signal: bool,
    /// Whether it is final.
    pub is_final: bool,
}

impl Mark {
    pub fn pack(&self) -> [u8; 16] {
        let mut b = [0; 16];
        b[..8].copy_from_slice(&self.arrival.to_le_bytes());
        b[8..12].copy_from_slice(&self.rule.to_le_bytes());
        b[12] = self.severity as u8;
        b[13] = self.status as u8;
        b[14] = self.is_final as u8 | (self.signal as u8) << 1;
        b
    }

    /// `None` for bytes that [`Mark::pack`] does not make.
    pub fn unpack(b: &[u8; 16]) -> Option<Mark> {
        let (arrival, rest) = b.split_first_chunk::<8>()?;
        let (rule, rest) = rest.split_first_chunk::<4>()?;
        let [severity, status, flags, _] = rest else { return None };
        Some(Mark {
            arrival: u64::from_le_bytes(*arrival),
            rule: u32::from_le_bytes(*rule),
            severity: *SEVERITIES.get(*severity as usize)?,
            status: *Status::ALL.get(*status as usize)?,
            is_final: flags & 1 != 0,
            signal: flags & 2 != 0,
        })
    }
}

/// The key of an alert in `TIMES`: its bytes sort as time and then id do.
pub(super) fn place(ts: Timestamp, id: &[u8; 16]) -> [u8; 24] {
    let mut b = [0; 24];
    b[..8].copy_from_slice(&(ts.0 as u64 ^ 1 << 63).to_be_bytes());
    b[8..].copy_from_slice(id);
    b
}

/// Time and id of a key in `TIMES`.
pub(super) fn placed(b: &[u8; 24]) -> (Timestamp, [u8; 16]) {
    let (mut ts, mut id) = ([0; 8], [0; 16]);
    ts.copy_from_slice(&b[..8]);
    id.copy_from_slice(&b[8..]);
    (Timestamp((u64::from_be_bytes(ts) ^ 1 << 63) as i64), id)
}

/// An alert as it lies in `ALERTS`.
pub(super) struct Row<'a> {
    pub ts: Timestamp,
    pub mark: Mark,
    pub line: &'a [u8],
}

impl<'a> Row<'a> {
    pub fn write(&self) -> Vec<u8> {
        let mut b = Vec::with_capacity(24 + self.line.len());
        b.extend_from_slice(&self.ts.0.to_le_bytes());
        b.extend_from_slice(&self.mark.pack());
        b.extend_from_slice(self.line);
        b
    }

    /// `None` for bytes that [`Row::write`] does not make.
    pub fn read(b: &'a [u8]) -> Option<Row<'a>> {
        let (ts, rest) = b.split_first_chunk::<8>()?;
        let (mark, line) = rest.split_first_chunk::<16>()?;
        Some(Row { ts: Timestamp(i64::from_le_bytes(*ts)), mark: Mark::unpack(mark)?, line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_sort_as_time_and_then_id() {
        let rows = [(i64::MIN, 9), (-5, 0), (-5, 1), (0, 0), (7, 3), (i64::MAX, 0)];
        let keys: Vec<_> = rows.iter().map(|&(t, i)| place(Timestamp(t), &[i; 16])).collect();
        assert!(keys.is_sorted());
        assert!(keys.iter().zip(rows).all(|(k, (t, i))| placed(k) == (Timestamp(t), [i; 16])));
    }

    #[test]
    fn a_row_comes_back_as_it_was_and_other_bytes_make_none() {
        for status in Status::ALL {
            let mark = Mark { arrival: 7, rule: 3, severity: Severity::High, status, signal: true, is_final: false };
            let bytes = Row { ts: Timestamp(-1), mark, line: b"{}" }.write();
            let row = Row::read(&bytes).expect("a row");
            assert_eq!((row.ts, row.mark, row.line), (Timestamp(-1), mark, &b"{}"[..]));
            assert!((0..24).all(|n| Row::read(&bytes[..n]).is_none()));
        }
        assert!(Row::read(&[0xff; 30]).is_none());
    }
}
