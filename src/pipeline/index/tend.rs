//! The thread that keeps house: slices are compared with their checksums, merged, and let go of.

use super::{Trouble, With, free};
use crate::index::{self, Fate};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);
/// So much more than is to stay free is free before the journal has to give way.
const AHEAD: u64 = 64 << 20;

/// See the module.
pub(super) struct Tend {
    with: With,
    stop: Arc<AtomicBool>,
    trouble: Trouble,
    damaged: u64,
}

impl Tend {
    pub fn new(with: With, stop: Arc<AtomicBool>) -> Tend {
        Tend { with, stop, trouble: Trouble::default(), damaged: 0 }
    }

    pub fn run(mut self) {
        let stop = self.stop.clone();
        self.with.index.warm(&|| stop.load(Ordering::Relaxed));
        while !self.ends() {
            match self.turn() {
                Ok(true) => self.trouble.over(),
                Ok(false) => std::thread::park_timeout(LOOK),
                Err(_) if self.ends() => break,
                Err(e) => {
                    self.trouble.met("slices of the index cannot be merged or removed", &e);
                    self.trouble.wait(&self.stop);
                }
            }
        }
    }

    /// Does all that there is to do.
    pub fn catch_up(&mut self) -> io::Result<()> {
        while self.turn()? {}
        Ok(())
    }

    fn ends(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Does one thing; `false` if there is nothing to do.
    fn turn(&mut self) -> io::Result<bool> {
        let With { index, reader, past, metrics, options, .. } = &self.with;
        for s in index.said() {
            match s.fate {
                Fate::Later => tracing::error!("slice {s}; it is left in its place, and what it covers is not searched"),
                Fate::Stays => tracing::error!("slice {s}; it is built again beside it"),
                Fate::Aside | Fate::Untouched => tracing::error!("slice {s}; it is put aside, and built again"),
            }
        }
        let damaged = index.damaged();
        metrics.index.damaged.inc_by(damaged - self.damaged);
        self.damaged = damaged;
        let first = reader.size().first_lsn;
        past.forget(first);
        index.remove(|m| m.last < first)?;
        let all = index.manifests();
        let bytes: u64 = all.iter().map(index::Manifest::bytes).sum();
        metrics.index.slices.set(all.len() as i64);
        metrics.index.docs.set(all.iter().map(|m| i64::from(m.docs)).sum());
        metrics.index.bytes.set(bytes as i64);
        if bytes > options.max_bytes || !all.is_empty() && free(index)? < options.min_free.saturating_add(AHEAD) {
            let gone = index.remove_oldest()?;
            metrics.index.removed.inc_by(gone.into());
            return Ok(gone);
        }
        let Some(range) = index::pick(&all) else { return Ok(false) };
        let Some(picked) = all.get(range) else { return Ok(false) };
        // A merge needs the room of what it makes.
        let needs: u64 = picked.iter().map(index::Manifest::bytes).sum();
        if free(index)? < options.min_free.saturating_add(needs) {
            return Ok(false);
        }
        let slices = index.some(|m| picked.iter().any(|p| p.first == m.first && p.last == m.last));
        if slices.len() != picked.len() {
            // One of them was damaged.
            return Ok(true);
        }
        let Some(any) = slices.first() else { return Ok(false) };
        // A panic must not end this thread.
        let merged = index.ask(any, |_| self.ends(), || index::merge(index, &slices, self.stop.clone()))?;
        metrics.index.merged.inc_by(slices.len() as u64);
        index.add(merged)?;
        Ok(true)
    }
}
