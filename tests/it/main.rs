//! Tests through the public face, in one binary: every file directly under `tests/` would link everything again.

// Tests wait for processes, and measure how long these take.
#![allow(clippy::disallowed_methods)]

mod daemon;
mod dashboard;
mod demo;
mod diagnostics;
#[cfg(feature = "kafka")]
mod kafka;
mod kill;
mod load;
mod memory;
mod operation;
mod roundtrip;
mod rsyslog;
mod rules;
mod samples;
mod saved_state;
mod store;
mod streams;
mod tidy;
