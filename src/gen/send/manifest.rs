//! The list of attacks that were planted, one JSON line each, so that it can be compared with the alerts.

use super::super::Planted;
use crate::event::Timestamp;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Where the attacks are listed, if anywhere; shared by all streams.
pub struct Manifest(Option<Mutex<BufWriter<File>>>);

fn text(t: Timestamp) -> String {
    let mut out = Vec::new();
    t.write(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

impl Manifest {
    /// A new list at a path; none for no list.
    pub fn create(path: Option<&Path>) -> io::Result<Manifest> {
        Ok(Manifest(path.map(File::create).transpose()?.map(|f| Mutex::new(BufWriter::new(f)))))
    }

    /// Adds attacks: `{"scenario","rule","key":{FIELD:VALUE},"first","last","stream","number"}`.
    pub(super) fn write(&self, planted: &[Planted]) -> io::Result<()> {
        let Some(file) = self.0.as_ref().filter(|_| !planted.is_empty()) else { return Ok(()) };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        for p in planted {
            let line = serde_json::json!({
                "scenario": p.scenario,
                "rule": p.rule,
                "key": { p.key.0: p.key.1 },
                "first": text(p.first),
                "last": text(p.last),
                "stream": p.stream,
                "number": p.number,
            });
            writeln!(file, "{line}")?;
        }
        file.flush()
    }
}
