//! Records from Kafka, as a member of a consumer group.
//!
//! A message is a record, a partition is a stream. Offsets are kept in the journal, in the same write as their records, and
//! committed to the group once that is durable; reading begins at the greater of the two. One thread reads; what it reads
//! is handed over by a task, so that a full queue never keeps the thread from answering the group.

mod client;
mod commit;
mod offsets;
mod order;
mod partition;
mod reader;

use super::{Begin, OpenError, Opened};
use crate::config::source::kafka::Kafka;
use crate::pipeline::{Chunk, Queue, Source, Stream};
use client::Context;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Messages to the queue that wait for the task that hands them over; beside these, one step of one partition waits.
const HANDED: usize = 4;

/// What is handed over, in this order.
enum Out {
    /// Records.
    Chunk(Box<Chunk>),
    /// A partition is behind, or has caught up.
    Behind(Arc<Stream>, bool),
    /// A partition has gone to another member.
    Close(Arc<Stream>),
}

/// Opens a source; the brokers need not be there.
pub fn open(c: &Kafka, source: Arc<Source>) -> Result<Opened, OpenError> {
    let setting = |why| OpenError::Setting { what: source.name.clone(), why };
    let settings = client::settings(c).map_err(setting)?;
    // What is wrong with a certificate or a key shows here.
    let first = BaseConsumer::from_config_and_context(&settings, Context::new(source.clone())).map_err(|e| setting(format!("Kafka: {e}")))?;
    tracing::info!(source = %source.name, brokers = ?c.brokers, topics = ?c.topics, group = ?c.group, "reading from Kafka");
    let (config, s) = (c.clone(), source.clone());
    let begin: Begin = Box::new(move |intake, tasks| {
        let (out, rx) = mpsc::channel(HANDED);
        tasks.spawn(hand_over(rx, intake.queue.clone()));
        tasks.spawn_blocking(move || reader::run(first, &settings, config, s, intake, out));
    });
    Ok(Opened { source, begin })
}

async fn hand_over(mut rx: mpsc::Receiver<Out>, queue: Queue) {
    while let Some(out) = rx.recv().await {
        match out {
            Out::Chunk(c) => queue.send(*c).await,
            Out::Behind(s, yes) => queue.behind(&s, yes).await,
            Out::Close(s) => queue.close(&s).await,
        }
    }
}
