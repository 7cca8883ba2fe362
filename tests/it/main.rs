//! Tests through the public face, in one binary: every file directly under `tests/` would link everything again.

// Tests wait for processes, and measure how long these take.
#![allow(clippy::disallowed_methods)]

mod crashes;
mod daemon;
mod demo;
mod diagnostics;
mod journal;
mod memory;
mod roundtrip;
mod rsyslog;
mod rules;
mod samples;
mod streams;
mod tidy;
