//! Tests through the public face, in one binary: every file directly under `tests/` would link everything again.

// Tests wait for processes, and measure how long these take.
#![allow(clippy::disallowed_methods)]

mod backtest;
mod backup;
mod bulk;
mod bundles;
mod certificates;
mod configuration;
mod crashes;
mod daemon;
mod dashboard;
mod demo;
mod diagnostics;
mod full;
mod hooks;
mod index;
mod ingest;
mod inherited;
mod journal;
#[cfg(feature = "kafka")]
mod kafka;
mod kill;
mod lead;
mod load;
mod logrotate;
mod memory;
mod operation;
mod overload;
mod own_alerts;
mod process;
mod received;
mod reload;
mod relp;
mod restart;
mod roundtrip;
mod rsyslog;
mod rules;
mod samples;
mod saved_state;
mod search;
mod searching;
mod sockets;
mod store;
mod streams;
mod syslog_ng;
mod tidy;
mod tls;
mod toxiproxy;
