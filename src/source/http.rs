//! Records in the body of an HTTP request: from bytes to records in the queue, all of them or none.

use super::Intake;
use super::frame::Framer;
use crate::event::Batch;
use crate::parse::Format;
use crate::pipeline::{NotStored, Source, Stream, WhenFull};
use prometheus_client::metrics::gauge::Gauge;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Why a body was not taken; nothing of it was.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Refused {
    /// Larger than the limit, before or after decompression.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// Not gzip.
    #[error("the body is not gzip: {0}")]
    NotGzip(String),
    /// The queue or the memory for bodies is full.
    #[error("too much is waiting already")]
    Busy,
    /// There is no room on the disk.
    #[error("the disk is full")]
    Full,
    /// The daemon is on its way down.
    #[error("the daemon stops")]
    Stopping,
}

/// Memory set aside for a body, until it is dropped.
pub struct Aside {
    _permit: OwnedSemaphorePermit,
    bytes: i64,
    gauge: Gauge,
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.gauge.dec_by(self.bytes);
    }
}

/// Takes bodies.
pub struct Ingest {
    source: Arc<Source>,
    intake: Intake,
    bodies: Arc<Semaphore>,
    aside: Gauge,
    streams: Mutex<BTreeMap<String, Arc<Stream>>>,
}

impl Ingest {
    /// For a source of kind http; `aside` shows the memory set aside.
    pub fn new(source: Arc<Source>, intake: Intake, aside: Gauge) -> Ingest {
        let bodies = Arc::new(Semaphore::new(intake.limits.bodies_bytes.min(Semaphore::MAX_PERMITS)));
        Ingest { source, intake, bodies, aside, streams: Mutex::default() }
    }

    /// The source.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Sets memory aside for a body of a length, if it is known and the body is not compressed, else for the largest.
    pub fn reserve(&self, length: Option<u64>, gzip: bool) -> Result<Aside, Refused> {
        let limits = &self.intake.limits;
        if length.is_some_and(|l| l > limits.body_bytes as u64) {
            return Err(Refused::TooLarge(limits.body_bytes));
        }
        let most = match length {
            Some(l) if !gzip => l as usize,
            _ => limits.body_bytes,
        };
        let want = most.min(limits.bodies_bytes) as u32;
        let permit = self.bodies.clone().try_acquire_many_owned(want).map_err(|_| Refused::Busy)?;
        self.aside.inc_by(want as i64);
        Ok(Aside { _permit: permit, bytes: want as i64, gauge: self.aside.clone() })
    }

    /// Takes a body's records and waits until the engine has them: how many there were.
    pub async fn take(&self, name: &str, format: Option<Format>, body: Vec<u8>, gzip: bool) -> Result<usize, Refused> {
        let limits = self.intake.limits.clone();
        let cut = move || -> Result<Batch, Refused> {
            let body = if gzip { gunzip(&body, limits.body_bytes)? } else { body };
            let mut batch = Batch::default();
            let mut framer = Framer::new(format, limits.record_bytes);
            framer.feed(&body, &mut batch);
            framer.flush(&mut batch);
            Ok(batch)
        };
        let mut batch = tokio::task::spawn_blocking(cut).await.map_err(|_| Refused::Stopping)??;
        let n = batch.records.len();
        let stream = {
            let mut all = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            // Names are those of known formats, so there are few.
            let new = || Stream::new(format!("{}:{name}", self.source.name), self.source.clone());
            all.entry(name.to_owned()).or_insert_with(new).clone()
        };
        if let Some(mut chunk) = self.intake.chunk(&stream, format, &mut batch) {
            let (done, answer) = oneshot::channel();
            chunk.done = Some(done);
            chunk.when_full = WhenFull::Refuse;
            self.intake.queue.offer(chunk).map_err(|_| Refused::Busy)?;
            answer.await.map_err(|_| Refused::Stopping)?.map_err(|NotStored::Full| Refused::Full)?;
        }
        Ok(n)
    }
}

/// Decompresses all members of a gzip body, up to a limit.
fn gunzip(body: &[u8], max: usize) -> Result<Vec<u8>, Refused> {
    let mut out = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(body).take(max as u64 + 1);
    reader.read_to_end(&mut out).map_err(|e| Refused::NotGzip(e.to_string()))?;
    if out.len() > max { Err(Refused::TooLarge(max)) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(b: &[u8]) -> Vec<u8> {
        let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        e.write_all(b).expect("memory");
        e.finish().expect("memory")
    }

    #[test]
    fn gzip_is_read_up_to_the_limit_and_no_further() {
        assert_eq!(gunzip(&gzip(b"a\nb\n"), 4), Ok(b"a\nb\n".to_vec()));
        assert_eq!(gunzip(&gzip(b"a\nb\n"), 3), Err(Refused::TooLarge(3)));
        assert_eq!(gunzip(&gzip(&vec![0; 64 << 20]), 1 << 20), Err(Refused::TooLarge(1 << 20)), "a bomb");
        let two = [gzip(b"a\n"), gzip(b"b\n")].concat();
        assert_eq!(gunzip(&two, 100), Ok(b"a\nb\n".to_vec()), "members follow each other");
        assert!(matches!(gunzip(b"plain", 100), Err(Refused::NotGzip(_))));
        assert!(matches!(gunzip(&gzip(b"cut short")[..12], 100), Err(Refused::NotGzip(_))));
    }
}
