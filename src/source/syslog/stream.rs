//! A connection of syslog: bytes to records, read no faster than the queue takes them.

use super::framer::TcpFramer;
use crate::event::Batch;
use crate::pipeline::Stream;
use crate::source::connection::{Connection, READ, read_now};
use crate::source::{AGE, BATCH, Intake, LINGER};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// One that has said nothing yet when the daemon stops, or when a reload opens its source anew, may have been opened in the same
/// moment: its first words are waited for so long.
const FIRST: Duration = Duration::from_millis(100);

/// Reads a connection to its end, or until the daemon stops and it has nothing more now.
pub async fn read(mut from: Connection, stream: Arc<Stream>, mut intake: Intake) {
    let source = &stream.source;
    let (mut framer, mut batch, mut share) = (TcpFramer::new(intake.limits.record_bytes), Batch::default(), intake.budget.share());
    let mut buffer = vec![0; READ];
    let idle = intake.limits.idle;
    let (mut until, mut deadline): (Option<Instant>, _) = (None, Instant::now() + idle);
    let mut spoken = false;
    loop {
        let mut state = State::More;
        if until.is_none() {
            tokio::select! {
                _ = intake.stopped() => until = Some(Instant::now() + LINGER),
                r = timeout_at(deadline, from.read(&mut buffer)) => match r {
                    Ok(r) => state = take(r, &buffer, &mut framer, &mut batch),
                    Err(_) => {
                        source.metrics.cut_off.inc();
                        tracing::info!(stream = %stream.name, "closed: it has completed no record for too long");
                        break;
                    }
                }
            }
        }
        if state == State::More {
            state = fill(&mut from, &mut buffer, &mut framer, &mut batch).await;
        }
        spoken |= framer.held() > 0 || !batch.records.is_empty();
        if state == State::Empty && until.is_some() && !spoken {
            spoken = true;
            if let Ok(r) = timeout(FIRST, from.read(&mut buffer)).await {
                state = take(r, &buffer, &mut framer, &mut batch);
            }
        }
        if state == State::Empty && !batch.records.is_empty() && until.is_none() {
            sleep(AGE).await;
            state = fill(&mut from, &mut buffer, &mut framer, &mut batch).await;
        }
        if let Some(chunk) = intake.chunk(&stream, source.format, &mut batch) {
            match until {
                None => intake.queue.send(chunk).await,
                // The rest of the connection is not acknowledged by anything, and may be lost with it.
                Some(u) if timeout_at(u + LINGER, intake.queue.send(chunk)).await.is_err() => {
                    // Nothing may follow what is lost.
                    intake.queue.close(&stream).await;
                    return;
                }
                Some(_) => {}
            }
            deadline = Instant::now() + idle;
        }
        if state == State::Ended || until.is_some_and(|u| state == State::Empty || Instant::now() >= u) {
            break;
        }
        if !share.hold(framer.held()) {
            source.metrics.cut_off.inc();
            tracing::warn!(stream = %stream.name, "closed: what all connections have begun has reached `connection_bytes`");
            framer.give_up();
            break;
        }
    }
    drop(from);
    framer.flush(&mut batch);
    if let Some(chunk) = intake.chunk(&stream, source.format, &mut batch) {
        intake.queue.send(chunk).await;
    }
    intake.queue.close(&stream).await;
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Nothing to read now.
    Empty,
    /// There may be more.
    More,
    /// The other side has closed, or the connection broke.
    Ended,
}

fn take(read: io::Result<usize>, buffer: &[u8], framer: &mut TcpFramer, batch: &mut Batch) -> State {
    match read {
        Ok(0) | Err(_) => State::Ended,
        Ok(n) => {
            framer.feed(&buffer[..n], batch);
            State::More
        }
    }
}

/// Reads what is there, up to a batch.
async fn fill(from: &mut Connection, buffer: &mut [u8], framer: &mut TcpFramer, batch: &mut Batch) -> State {
    while batch.bytes.len() < BATCH {
        let Some(read) = read_now(from, buffer).await else { return State::Empty };
        let before = batch.records.len();
        if take(read, buffer, framer, batch) == State::Ended {
            return State::Ended;
        }
        // The record that is open grows: its share of the budget is looked at.
        if batch.records.len() == before {
            return State::More;
        }
    }
    State::More
}
