//! The one reader of the clock: everybody else is told the time.

use crate::event::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The wall clock, UTC. A clock before 1970 reads as 1970.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Timestamp {
    at(SystemTime::now())
}

/// The instant of a file's time, within the range of [`Timestamp`].
pub fn at(t: SystemTime) -> Timestamp {
    let since = t.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// The clock that never goes back, for timeouts and for what took how long.
#[allow(clippy::disallowed_methods)]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// What this thread has had of a core so far.
pub fn cpu() -> Duration {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}
