//! One binary for all integration tests: every file directly under `tests/` would link everything again.

mod daemon;
mod rsyslog;
mod tidy;
