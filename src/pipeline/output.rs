//! Alerts as JSON lines, to standard output or to a file.

use crate::metrics::Metrics;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

/// Lines on their way out. Where they cannot be written they wait, up to a limit; beyond it whole lines are given up,
/// counted. A line is never written in part and then forgotten.
pub struct Lines {
    to: Box<dyn Write + Send>,
    waiting: Vec<u8>,
    limit: usize,
    failing: bool,
    metrics: Arc<Metrics>,
}

/// So much waits at most while there is more to do.
const FULL: usize = 64 << 10;

impl Lines {
    /// Lines appended to a file, made if need be; without one, to standard output.
    pub fn open(file: Option<&Path>, limit: usize, metrics: Arc<Metrics>) -> io::Result<Lines> {
        let to: Box<dyn Write + Send> = match file {
            Some(f) => Box::new(OpenOptions::new().create(true).append(true).open(f)?),
            None => stdout(),
        };
        Ok(Lines::to(to, limit, metrics))
    }

    /// Lines to a writer.
    pub fn to(to: Box<dyn Write + Send>, limit: usize, metrics: Arc<Metrics>) -> Lines {
        Lines { to, waiting: Vec::new(), limit, failing: false, metrics }
    }

    /// Appends one line, which `write` appends to what is given to it, without its newline.
    pub fn line(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.waiting.len();
        write(&mut self.waiting);
        self.waiting.push(b'\n');
        if self.waiting.len() > self.limit.max(FULL) {
            self.flush();
            if self.failing && self.waiting.len() > self.limit {
                self.waiting.truncate(before.min(self.waiting.len()));
                self.metrics.alerts_lost.inc();
            }
        }
    }

    /// Writes what waits if it is much.
    pub fn flush_if_full(&mut self) {
        if self.waiting.len() >= FULL {
            self.flush();
        }
    }

    /// Writes what waits. What cannot be written goes on waiting for the next time.
    pub fn flush(&mut self) {
        let mut done = 0;
        let mut error = None;
        while done < self.waiting.len() {
            match self.to.write(&self.waiting[done..]) {
                Ok(0) => error = Some(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => error = Some(e),
            }
            if error.is_some() {
                break;
            }
        }
        self.waiting.drain(..done);
        if let Some(e) = &error
            && !self.failing
        {
            tracing::error!(error = %e, "alerts cannot be written; they wait");
        } else if error.is_none() && self.failing {
            tracing::info!("alerts are written again");
        }
        self.failing = error.is_some();
        self.metrics.alerts_waiting.set(self.waiting.len() as i64);
    }
}

/// Standard output without the line buffer in between, which would hide what has been written of a line.
fn stdout() -> Box<dyn Write + Send> {
    match io::stdout().as_fd().try_clone_to_owned() {
        Ok(fd) => Box::new(File::from(fd)),
        Err(_) => Box::new(io::stdout()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A disk with so much room.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, b: &[u8]) -> io::Result<usize> {
            let mut d = self.0.lock().expect("one thread");
            let n = b.len().min(d.1 - d.0.len());
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            d.0.extend_from_slice(&b[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_cut_by_a_full_disk_is_completed_when_there_is_room() {
        let (disk, metrics) = (Disk::default(), Arc::new(Metrics::default()));
        disk.0.lock().expect("one thread").1 = 7;
        let mut lines = Lines::to(Box::new(disk.clone()), 1 << 20, metrics.clone());
        lines.line(|o| o.extend_from_slice(b"first"));
        lines.line(|o| o.extend_from_slice(b"second"));
        lines.flush();
        assert_eq!(disk.0.lock().expect("one thread").0, b"first\ns");
        assert_eq!(metrics.alerts_waiting.get(), 6);
        disk.0.lock().expect("one thread").1 = 100;
        lines.flush();
        assert_eq!(disk.0.lock().expect("one thread").0, b"first\nsecond\n");
        assert_eq!(metrics.alerts_lost.get(), 0);
    }

    #[test]
    fn beyond_the_limit_whole_lines_are_given_up_and_counted() {
        let (disk, metrics) = (Disk::default(), Arc::new(Metrics::default()));
        let mut lines = Lines::to(Box::new(disk.clone()), FULL, metrics.clone());
        let line = vec![b'x'; FULL / 4 - 1];
        for _ in 0..10 {
            lines.line(|o| o.extend_from_slice(&line));
        }
        assert_eq!(metrics.alerts_lost.get(), 6);
        disk.0.lock().expect("one thread").1 = 1 << 20;
        lines.flush();
        assert_eq!(disk.0.lock().expect("one thread").0.len(), FULL);
    }
}
