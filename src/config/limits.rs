//! `[limits]`: bounds of what comes in.

use super::reader::{Reader, Table};
use std::time::Duration;

/// Bounds of what comes in; each has a metric that shows when it is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// A longer record is cut.
    pub record_bytes: usize,
    /// Records that wait in memory, all sources together: for the journal, or for the engine.
    pub queue_bytes: usize,
    /// The journal may be so far ahead of the engine.
    pub backlog_bytes: usize,
    /// The engine's state is saved once entries have taken so long to evaluate, which a restart would take again.
    pub replay: Duration,
    /// One HTTP body, before and after decompression.
    pub body_bytes: usize,
    /// All HTTP bodies in flight.
    pub bodies_bytes: usize,
    /// Idempotency keys that are remembered.
    pub idempotency_keys: usize,
    /// Open connections of one listener.
    pub connections: usize,
    /// Those of them that come from one address, or from one /64 of IPv6.
    pub connections_per_sender: usize,
    /// What connections have begun and not finished, the records of all together.
    pub connection_bytes: usize,
    /// Open HTTP connections.
    pub http_connections: usize,
    /// A connection that completes no record for so long is closed.
    pub idle: Duration,
    /// A connection has so long for its TLS handshake, and so long to open a session of RELP.
    pub handshake_timeout: Duration,
    /// An HTTP client has so long for a request's head, the first included.
    pub header_timeout: Duration,
    /// An HTTP client has so long for a request's body.
    pub body_timeout: Duration,
    /// Receive buffer asked of the kernel for a UDP socket.
    pub udp_buffer_bytes: usize,
    /// Files that one source follows.
    pub files: usize,
    /// Entries of directories that one source looks at when it looks for files.
    pub directory_entries: usize,
    /// Content of one compressed file.
    pub unpacked_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            record_bytes: 1 << 20,
            queue_bytes: 64 << 20,
            backlog_bytes: 256 << 20,
            replay: Duration::from_secs(3),
            body_bytes: 16 << 20,
            bodies_bytes: 64 << 20,
            idempotency_keys: 100_000,
            connections: 256,
            connections_per_sender: 64,
            connection_bytes: 32 << 20,
            http_connections: 256,
            idle: Duration::from_secs(3600),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            udp_buffer_bytes: 8 << 20,
            files: 1000,
            directory_entries: 100_000,
            unpacked_bytes: 16 << 30,
        }
    }
}

impl Reader {
    pub(super) fn limits(&mut self, t: &Table<'_>, l: &mut Limits) {
        self.keys(
            t,
            "`[limits]`",
            &[
                "record_bytes",
                "queue_bytes",
                "backlog_bytes",
                "replay",
                "body_bytes",
                "bodies_bytes",
                "idempotency_keys",
                "connections",
                "connections_per_sender",
                "connection_bytes",
                "http_connections",
                "idle",
                "handshake_timeout",
                "header_timeout",
                "body_timeout",
                "udp_buffer_bytes",
                "files",
                "directory_entries",
                "unpacked_bytes",
            ],
        );
        self.size(t, "record_bytes", 1 << 10..(64 << 20) + 1, &mut l.record_bytes);
        self.size(t, "queue_bytes", 1 << 10..(16 << 30) + 1, &mut l.queue_bytes);
        self.size(t, "backlog_bytes", 1 << 10..(1 << 40) + 1, &mut l.backlog_bytes);
        self.time(t, "replay", &mut l.replay);
        // An entry of the journal has an end.
        self.size(t, "body_bytes", 1 << 10..(48 << 20) + 1, &mut l.body_bytes);
        self.size(t, "bodies_bytes", 1 << 10..(16 << 30) + 1, &mut l.bodies_bytes);
        self.size(t, "idempotency_keys", 1..10_000_001, &mut l.idempotency_keys);
        self.size(t, "connections", 1..1_000_001, &mut l.connections);
        self.size(t, "connections_per_sender", 1..1_000_001, &mut l.connections_per_sender);
        self.size(t, "connection_bytes", 64 << 10..(16 << 30) + 1, &mut l.connection_bytes);
        self.size(t, "http_connections", 1..1_000_001, &mut l.http_connections);
        self.time(t, "idle", &mut l.idle);
        self.time(t, "handshake_timeout", &mut l.handshake_timeout);
        self.time(t, "header_timeout", &mut l.header_timeout);
        self.time(t, "body_timeout", &mut l.body_timeout);
        self.size(t, "udp_buffer_bytes", 1 << 10..(1 << 30) + 1, &mut l.udp_buffer_bytes);
        self.size(t, "files", 1..100_001, &mut l.files);
        self.size(t, "directory_entries", 1..100_000_001, &mut l.directory_entries);
        self.size(t, "unpacked_bytes", 1 << 10..(1 << 50) + 1, &mut l.unpacked_bytes);
    }
}
