//! Alerts as JSON lines, to standard output or to a file: taken from the store's outbox, and taken off it once written.
//!
//! A reader that does not read, or a disk that is full, holds up this thread alone. After a crash a line may come again,
//! under the same `event.id`.

use crate::disk::crash;
use crate::metrics::Metrics;
use crate::store::{Commit, Store};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The name of this outbox.
pub const SINK: &str = "lines";
/// So many bytes are taken at once.
const TAKE: usize = 1 << 20;
/// How often a write that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Tells the thread that there is something to write.
pub struct Lines {
    more: Sender<()>,
    ended: Receiver<()>,
}

impl Lines {
    /// There is something to write.
    pub fn more(&self) {
        // It has been told already if there is no room.
        let _ = self.more.try_send(());
    }

    /// Nothing comes any more: waits for what is left, a moment at most.
    pub fn end(self) {
        drop(self.more);
        let _ = self.ended.recv_timeout(AGAIN);
    }
}

/// Opens a file for lines, made if need be; without one, standard output. A line that a crash has cut is ended.
pub fn open(file: Option<&Path>) -> io::Result<Box<dyn Write + Send>> {
    let Some(path) = file else { return Ok(stdout()) };
    let mut f = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    let mut last = [b'\n'];
    if f.metadata()?.is_file() && f.seek(SeekFrom::End(0))? > 0 {
        f.seek(SeekFrom::End(-1))?;
        f.read_exact(&mut last)?;
        if last != [b'\n'] {
            f.write_all(b"\n")?;
        }
    }
    Ok(Box::new(f))
}

/// Starts the thread.
pub fn start(to: Box<dyn Write + Send>, store: Arc<Store>, metrics: Arc<Metrics>) -> io::Result<Lines> {
    // What is on its way from before a restart.
    metrics.alerts_waiting.inc_by(store.size().map_or(0, |s| s.outbox as i64));
    let (more, wake) = bounded(1);
    let (end, ended) = bounded(0);
    std::thread::Builder::new().name("vigild-lines".into()).spawn(move || {
        let mut writer = Writer { to, store, metrics, written: 0, cut: None, failing: false };
        while writer.pump() {}
        loop {
            let open = wake.recv_timeout(AGAIN) != Err(crossbeam_channel::RecvTimeoutError::Disconnected);
            while writer.pump() {}
            if !open {
                break;
            }
        }
        drop(end);
    })?;
    Ok(Lines { more, ended })
}

struct Writer {
    to: Box<dyn Write + Send>,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    /// The number of the last line written by this process.
    written: u64,
    /// What is left of a line that was written in part, and its number.
    cut: Option<(u64, Vec<u8>)>,
    failing: bool,
}

impl Writer {
    /// Writes some of what waits; `true` if there may be more.
    fn pump(&mut self) -> bool {
        let lines = match self.store.outbox(SINK, TAKE) {
            Ok(l) => l,
            Err(e) => {
                tracing::error!(error = %e, "the outbox cannot be read");
                return false;
            }
        };
        let Some(&(last, _)) = lines.last() else { return false };
        let mut done = None;
        // What has been written and could not be taken off is not written again.
        let from = self.written;
        for (n, line) in lines.iter().filter(|(n, _)| *n > from) {
            let whole = || [line.as_slice(), b"\n"].concat();
            let rest = match self.cut.take() {
                Some((cut, rest)) if cut == *n => rest,
                // That line has been given up since: what was written of it ends here.
                Some(_) => [b"\n", whole().as_slice()].concat(),
                None => whole(),
            };
            if let Err(left) = self.write(rest) {
                self.cut = Some((*n, left));
                break;
            }
            self.metrics.alerts_waiting.dec_by(line.len() as i64);
            self.written = *n;
            done = Some(*n);
        }
        if lines.iter().any(|(n, _)| *n <= self.written) {
            done = Some(self.written);
        }
        if let Some(n) = done
            && let Err(e) = crash::around("commit", || self.store.commit(&Commit { written: vec![(SINK.to_owned(), n)], ..Commit::default() }))
        {
            tracing::error!(error = %e, "lines that have been written cannot be taken off the outbox");
            return false;
        }
        done == Some(last)
    }

    /// Writes a line, or gives back what is left of it.
    fn write(&mut self, line: Vec<u8>) -> Result<(), Vec<u8>> {
        let mut at = 0;
        while at < line.len() {
            let error = match self.to.write(&line[at..]) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(n) => {
                    at += n;
                    continue;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => e,
            };
            if !std::mem::replace(&mut self.failing, true) {
                tracing::error!(%error, "alerts cannot be written; they wait");
            }
            return Err(line[at..].to_vec());
        }
        if std::mem::take(&mut self.failing) {
            tracing::info!("alerts are written again");
        }
        Ok(())
    }
}

/// Standard output without the line buffer in between, which would hide what has been written of a line.
fn stdout() -> Box<dyn Write + Send> {
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(fd) => Box::new(File::from(fd)),
        Err(_) => Box::new(io::stdout()),
    }
}
