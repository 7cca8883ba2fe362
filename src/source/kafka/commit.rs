//! Commits, one at a time, on a thread of their own: librdkafka says how one has ended only to a caller that waits for it.

use super::client::Context;
use crossbeam_channel::{Receiver, Sender, bounded};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

/// Who commits.
pub struct Committer {
    ask: Sender<TopicPartitionList>,
    answers: Receiver<KafkaResult<()>>,
    busy: bool,
    thread: JoinHandle<()>,
}

impl Committer {
    /// Nothing is asked yet.
    pub fn new(consumer: Arc<BaseConsumer<Context>>) -> io::Result<Committer> {
        let (ask, asked) = bounded::<TopicPartitionList>(1);
        let (answer, answers) = bounded(1);
        let thread = Builder::new().name("vigild-kafka-commit".into()).spawn(move || {
            for list in asked {
                if answer.send(consumer.commit(&list, CommitMode::Sync)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Committer { ask, answers, busy: false, thread })
    }

    /// Whether one has not been answered yet.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Asks for a commit; not while one is waited for.
    pub fn ask(&mut self, list: TopicPartitionList) {
        self.busy = self.ask.try_send(list).is_ok();
    }

    /// How the last one has ended, if it has; waits until then at most.
    pub fn answer(&mut self, until: Instant) -> Option<KafkaResult<()>> {
        if !self.busy {
            return None;
        }
        let answer = match self.answers.recv_deadline(until) {
            Ok(answer) => answer,
            Err(e) if e.is_timeout() => return None,
            Err(_) => Err(KafkaError::Canceled),
        };
        self.busy = false;
        Some(answer)
    }

    /// Ends when the last commit has.
    pub fn end(self) -> JoinHandle<()> {
        self.thread
    }
}
