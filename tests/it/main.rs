//! One binary for all integration tests: every file directly under `tests/` would link everything again.

// Tests wait for processes, and measure how long these take.
#![allow(clippy::disallowed_methods)]

mod daemon;
mod rsyslog;
mod tidy;
