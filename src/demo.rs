//! The release night: bundled logs in the tools' true formats, moved in time, among harmless events; and the daemon that
//! they are played into.
//!
//! The logs are of one Friday evening, 2026-11-20, and can be given to `vigild replay` as they are. Played live they are
//! moved as a whole, by whole seconds, so that the night ends now.

pub mod daemon;
pub mod night;
pub mod noise;
pub mod shift;
