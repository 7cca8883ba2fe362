//! How bytes arrive: each kind of source cuts them into records and hands them over in batches.
//!
//! What can be told to wait waits when the queue is full (files, connections, standard input), HTTP answers 429, and
//! datagrams are dropped, counted.

pub mod file;
pub mod frame;
pub mod http;
pub mod stdin;
pub mod syslog;

use crate::config::Limits;
use crate::event::Batch;
use crate::parse::Format;
use crate::pipeline::{Chunk, Queue, Stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A batch is handed over when it has so many bytes …
const BATCH: usize = 128 << 10;
/// … or is so old.
const AGE: Duration = Duration::from_millis(1);
/// What has already arrived in sockets is taken for so long after the order to stop.
pub const LINGER: Duration = Duration::from_secs(1);

/// What every source has at hand.
#[derive(Clone)]
pub struct Intake {
    /// Where records go.
    pub queue: Queue,
    /// The bounds.
    pub limits: Arc<Limits>,
    /// Becomes `true` when the daemon stops.
    pub stop: watch::Receiver<bool>,
}

impl Intake {
    /// Waits until the daemon stops.
    pub async fn stopped(&mut self) {
        // An error means that the daemon is gone altogether.
        let _ = self.stop.wait_for(|s| *s).await;
    }

    /// Whether the daemon stops.
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Takes a batch's records, leaving it empty, as a chunk that arrived now; `None` where it has none.
    pub fn chunk(&self, stream: &Arc<Stream>, format: Option<Format>, batch: &mut Batch) -> Option<Chunk> {
        if batch.records.is_empty() {
            return None;
        }
        let received = crate::clock::now();
        Some(Chunk { stream: stream.clone(), format, received, near: received, batch: std::mem::take(batch), done: None })
    }
}
