//! One moment in all the ways in which the tools write it, rendered once a second.

use crate::event::Timestamp;
use jiff::tz::TimeZone;

/// The spellings of a second, UTC.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// Whole seconds since 1970.
    pub second: i64,
    /// What is beyond them, in nanoseconds.
    pub nanos: u32,
    /// `2026-11-23T05:41:30`
    pub iso: String,
    /// `2026-11-23 05:41:30`
    pub plain: String,
    /// `2026 Nov 23 05:41:30`
    pub ossec: String,
    /// `Nov 23 05:41:30`
    pub bsd: String,
    /// `Mon Nov 23 05:41:30 2026`
    pub asctime: String,
    /// `23/Nov/2026:05:41:30`
    pub clf: String,
}

impl Times {
    /// Sets the moment. Years beyond what a calendar knows are written as 1970.
    pub fn set(&mut self, ts: Timestamp) {
        let second = ts.0.div_euclid(1_000_000_000);
        self.nanos = ts.0.rem_euclid(1_000_000_000) as u32;
        if second == self.second && !self.iso.is_empty() {
            return;
        }
        self.second = second;
        let at = jiff::Timestamp::from_second(second).unwrap_or_default().to_zoned(TimeZone::UTC);
        let written = |format: &str| at.strftime(format).to_string();
        self.iso = written("%Y-%m-%dT%H:%M:%S");
        self.plain = written("%Y-%m-%d %H:%M:%S");
        self.ossec = written("%Y %b %d %H:%M:%S");
        self.bsd = written("%b %e %H:%M:%S");
        self.asctime = written("%a %b %e %H:%M:%S %Y");
        self.clf = written("%d/%b/%Y:%H:%M:%S");
    }

    /// Microseconds beyond the second.
    pub fn micros(&self) -> u64 {
        u64::from(self.nanos / 1000)
    }

    /// Milliseconds beyond the second.
    pub fn millis(&self) -> u64 {
        u64::from(self.nanos / 1_000_000)
    }

    /// Seconds since 1970, none of them negative.
    pub fn epoch(&self) -> u64 {
        self.second.max(0) as u64
    }
}
