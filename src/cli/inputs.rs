//! The files of a command line, read as streams of records.

use super::Failure;
use crate::event::{Batch, Timestamp};
use crate::parse::Format;
use crate::source::frame::Framer;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// How much is read at a time.
const CHUNK: usize = 128 << 10;

/// One file, or stdin for `-`.
pub struct Input {
    /// The name of its stream: its place on the command line, so that streams sort by it, and its name.
    pub stream: String,
    /// When it was last written; for stdin, now.
    pub modified: Timestamp,
    path: PathBuf,
    reader: Box<dyn Read>,
    framer: Framer,
    buffer: Vec<u8>,
}

/// Opens files.
pub struct Inputs;

impl Inputs {
    /// Opens every file, or stdin where there is none, before the first is read: a wrong name is told at once.
    pub fn open(paths: &[PathBuf], format: Option<Format>, max_record: usize) -> Result<Vec<Input>, Failure> {
        let stdin = [PathBuf::from("-")];
        let paths = if paths.is_empty() { &stdin[..] } else { paths };
        paths.iter().enumerate().map(|(i, p)| Input::open(i + 1, p, format, max_record)).collect()
    }
}

impl Input {
    fn open(place: usize, path: &Path, format: Option<Format>, max_record: usize) -> Result<Input, Failure> {
        let (reader, modified): (Box<dyn Read>, _) = if path == Path::new("-") {
            (Box::new(std::io::stdin()), crate::clock::now())
        } else {
            let f = File::open(path).map_err(|e| Failure::file(path, &e))?;
            let modified = f.metadata().and_then(|m| m.modified()).map(crate::clock::at).unwrap_or_else(|_| crate::clock::now());
            (Box::new(f), modified)
        };
        Ok(Input {
            stream: format!("{place:04} {}", path.display()),
            modified,
            path: path.to_owned(),
            reader,
            framer: Framer::new(format, max_record),
            buffer: vec![0; CHUNK],
        })
    }

    /// Reads the next records into a batch; `false` at the end, when the last of them are in it.
    pub fn read(&mut self, batch: &mut Batch) -> std::io::Result<bool> {
        loop {
            match self.reader.read(&mut self.buffer) {
                Ok(0) => {
                    self.framer.flush(batch);
                    return Ok(false);
                }
                Ok(n) => {
                    self.framer.feed(&self.buffer[..n], batch);
                    return Ok(true);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// A failure to read this file.
    pub fn failure(&self, e: std::io::Error) -> Failure {
        Failure::file(&self.path, &e)
    }
}
