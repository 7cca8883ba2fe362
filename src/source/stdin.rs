//! Records from standard input.

use super::frame::Framer;
use super::{BATCH, Begin, Intake, Opened};
use crate::event::Batch;
use crate::pipeline::{Source, Stream};
use std::io::Read;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Reads on a thread of its own; the tasks do not wait for it, since a read cannot be called off.
pub fn open(source: Arc<Source>) -> Opened {
    let reads = source.clone();
    let begin: Begin = Box::new(move |intake, _| {
        let runtime = Handle::current();
        std::thread::spawn(move || read(reads, &intake, &runtime));
    });
    Opened { source, begin }
}

/// Reads until the input ends; called on a thread of its own, since a read cannot be called off.
fn read(source: Arc<Source>, intake: &Intake, runtime: &Handle) {
    let stream = Stream::new(source.name.clone(), source.clone());
    let mut framer = Framer::new(source.format, intake.limits.record_bytes);
    let mut buffer = vec![0; BATCH];
    let mut input = std::io::stdin().lock();
    let mut batch = Batch::default();
    loop {
        let n = match input.read(&mut buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => {
                tracing::error!(source = %source.name, error = %e, "standard input cannot be read");
                0
            }
        };
        match n {
            0 => framer.flush(&mut batch),
            n => framer.feed(&buffer[..n], &mut batch),
        }
        if let Some(chunk) = intake.chunk(&stream, source.format, &mut batch) {
            runtime.block_on(intake.queue.send(chunk));
        }
        if n == 0 || intake.is_stopping() {
            break;
        }
    }
    runtime.block_on(intake.queue.close(&stream));
    tracing::info!(source = %source.name, "standard input has ended");
}
