//! The thread that reads: assignments, turns, commits, and the way out.

use super::Out;
use super::client::{Context, Event, Place};
use super::commit::Committer;
use super::offsets::Offsets;
use super::order::{Lane, may_read};
use super::partition::{Cut, Partition};
use crate::clock;
use crate::config::source::kafka::{Kafka, Start};
use crate::metrics::Reason;
use crate::pipeline::Source;
use crate::source::{BATCH, Intake};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{self, error::TrySendError};

/// Read at once while several partitions are behind, so that their events stay near each other.
const STEP: usize = 32 << 10;
/// With nothing to do the thread looks around this often …
const REST: Duration = Duration::from_millis(100);
/// … and this often while something is on its way.
const NAP: Duration = Duration::from_millis(2);
/// How often offsets are committed, and lag and backlog are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A broker is asked for offsets for so long at a time, and again after as long.
const ASK: Duration = Duration::from_millis(1000);
/// Before partitions are given back, what is on its way has so long to become durable, and the commit to be answered.
const HAND_BACK: Duration = Duration::from_secs(5);
/// The same when the daemon stops.
const STOP: Duration = Duration::from_millis(1500);
/// A partition has caught up when no more than so many messages have come meanwhile …
const NEAR: i64 = 1000;
/// … and is behind again when so many wait.
const FAR: i64 = 10_000;
/// Before partitions are given back, a commit that fails is tried so often.
const ATTEMPTS: usize = 3;
/// After a failure that librdkafka does not recover from, the group is joined anew after so long.
const ANEW: Duration = Duration::from_secs(5);

/// Reads until the daemon stops; called on a thread of its own.
pub fn run(first: BaseConsumer<Context>, settings: &ClientConfig, config: Kafka, source: Arc<Source>, intake: Intake, out: mpsc::Sender<Out>) {
    let group: Arc<str> = Arc::from(config.group.as_str());
    let of_group = intake.known.offsets.iter().filter(|o| o.group == group);
    let mut known: HashMap<Place, i64> = of_group.map(|o| ((o.topic.to_string(), o.partition), o.next)).collect();
    let mut next = Some(first);
    while !intake.is_stopping() {
        let consumer = match next.take() {
            Some(c) => Ok(c),
            None => BaseConsumer::from_config_and_context(settings, Context::new(source.clone())),
        };
        let failed = consumer.and_then(|mut consumer| {
            let me = thread::current();
            consumer.set_nonempty_callback(move || me.unpark());
            let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
            consumer.subscribe(&topics)?;
            let cut = Cut { format: source.format, limit: intake.limits.record_bytes, lines: config.lines };
            let consumer = Arc::new(consumer);
            let no_thread = |e: std::io::Error| KafkaError::ClientCreation(e.to_string());
            let mut r = Reader {
                committer: Committer::new(consumer.clone()).map_err(no_thread)?,
                consumer,
                source: source.clone(),
                group: group.clone(),
                start: config.start,
                cut,
                known: std::mem::take(&mut known),
                partitions: Vec::new(),
                assigning: None,
                outbox: VecDeque::new(),
                out: out.clone(),
                turn: 0,
            };
            let ended = r.read(&intake);
            known = std::mem::take(&mut r.known);
            r.end();
            ended
        });
        if let Err(e) = failed {
            source.metrics.errors.inc();
            tracing::error!(source = %source.name, error = ?e.to_string(), "Kafka: the group is left and joined anew");
            let begin = clock::monotonic();
            while begin.elapsed() < ANEW && !intake.is_stopping() {
                thread::park_timeout(REST);
            }
        }
    }
}

struct Reader {
    consumer: Arc<BaseConsumer<Context>>,
    committer: Committer,
    source: Arc<Source>,
    group: Arc<str>,
    start: Start,
    cut: Cut,
    /// Behind what is durable here, of all partitions that were read.
    known: HashMap<Place, i64>,
    partitions: Vec<Partition>,
    /// What has been assigned and is not read yet, and when the brokers are asked again where it begins.
    assigning: Option<(Vec<Place>, Instant)>,
    /// What waits to be handed over: one step of one partition, and news of partitions.
    outbox: VecDeque<Out>,
    out: mpsc::Sender<Out>,
    /// Whose turn it is.
    turn: usize,
}

impl Reader {
    /// Reads until the daemon stops, or until the consumer has failed for good.
    fn read(&mut self, intake: &Intake) -> KafkaResult<()> {
        let mut looked = clock::monotonic();
        while !intake.is_stopping() {
            self.serve()?;
            self.events();
            self.begin();
            let flying = self.settle();
            if looked.elapsed() >= LOOK {
                looked = clock::monotonic();
                self.look();
                if self.answer(looked) {
                    self.commit();
                }
            }
            self.pump();
            let mut busy = false;
            if self.outbox.is_empty() {
                busy = self.turns()?;
                self.pump();
            } else {
                self.partitions.iter_mut().for_each(Partition::waits);
            }
            if !busy {
                let waits = flying || !self.outbox.is_empty() || self.assigning.is_some() || self.partitions.iter().any(|p| p.target.is_some());
                thread::park_timeout(if waits { NAP } else { REST });
            }
        }
        let stopping = clock::monotonic();
        self.give_back(STOP, false);
        tracing::debug!(source = %self.source.name, seconds = stopping.elapsed().as_secs_f64(), "Kafka: given back");
        Ok(())
    }

    /// Answers the group: what it says comes into the context, as do errors.
    fn serve(&mut self) -> KafkaResult<()> {
        let mut astray = false;
        while let Some(got) = self.consumer.poll(Duration::ZERO) {
            match got {
                Err(e @ KafkaError::MessageConsumptionFatal(_)) => return Err(e),
                Err(_) => {}
                // Messages come by the queues of their partitions. One that does not is read again, in its order.
                Ok(_) => astray = true,
            }
        }
        if astray && !self.partitions.is_empty() { self.assign_anew() } else { Ok(()) }
    }

    fn events(&mut self) {
        for event in self.consumer.context().events() {
            match event {
                Event::Assign(all) => {
                    tracing::info!(source = %self.source.name, partitions = all.len(), "Kafka: partitions are assigned");
                    self.assigning = Some((all, clock::monotonic()));
                }
                Event::Revoke => {
                    let lost = self.consumer.assignment_lost();
                    tracing::info!(source = %self.source.name, partitions = self.partitions.len(), lost, "Kafka: partitions are given back");
                    self.assigning = None;
                    self.give_back(HAND_BACK, lost);
                    if let Err(e) = self.consumer.unassign() {
                        self.consumer.context().trouble("partitions cannot be given back", &e.to_string());
                    }
                }
            }
        }
    }

    /// Begins to read what has been assigned, once it is known where.
    fn begin(&mut self) {
        let Some((all, at)) = self.assigning.take_if(|(_, at)| clock::monotonic() >= *at) else { return };
        if let Err(e) = self.assign(&all) {
            self.consumer.context().trouble("it is not known yet where partitions begin", &e.to_string());
            self.assigning = Some((all, at.max(clock::monotonic()) + ASK));
        }
    }

    fn assign(&mut self, all: &[Place]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for (topic, n) in all {
            list.add_partition(topic, *n);
        }
        if !all.is_empty() {
            list = self.consumer.committed_offsets(list, ASK)?;
        }
        let mut committed = HashMap::new();
        for e in list.elements() {
            e.error()?;
            if let Offset::Offset(n) = e.offset() {
                committed.insert((e.topic().to_owned(), e.partition()), n);
            }
        }
        // A partition that a known topic has been given since then is read from its start.
        let is_new = |topic: &str| !self.known.keys().chain(committed.keys()).any(|k| k.0 == topic);
        let mut begins = Vec::new();
        for at in all {
            let told = committed.get(at).copied();
            let ends = self.consumer.fetch_watermarks(&at.0, at.1, ASK);
            let (next, high) = match (self.known.get(at).copied().max(told), ends) {
                (Some(next), Ok((_, high))) => (next, high),
                // Its leader may be down; that is no reason to leave the others alone.
                (Some(next), Err(_)) => (next, i64::MAX),
                (None, Ok((_, high))) if self.start == Start::Latest && is_new(&at.0) => (high, high),
                (None, Ok((low, high))) => (low, high),
                (None, Err(e)) => return Err(e),
            };
            begins.push((at.clone(), Offsets::new(next, told), high));
        }
        let mut partitions = Vec::new();
        for (at, offsets, high) in begins {
            let queue = self.queue(&at)?;
            partitions.push(Partition::new(at, &self.source, queue, offsets, high));
        }
        self.consumer.assign(&list_of(&partitions)?)?;
        // Before anything is read of any: the watermark must not pass what these hold.
        self.outbox.extend(partitions.iter().filter(|p| p.target.is_some()).map(|p| Out::Behind(p.stream.clone(), true)));
        self.source.metrics.open.set(partitions.len() as i64);
        self.partitions = partitions;
        self.look();
        Ok(())
    }

    /// The queue of a partition, split off before it is assigned, so that none of its messages goes elsewhere.
    fn queue(&self, at: &Place) -> KafkaResult<rdkafka::consumer::base_consumer::PartitionQueue<Context>> {
        let mut queue = self.consumer.split_partition_queue(&at.0, at.1).ok_or_else(|| KafkaError::Subscription(format!("{}/{}", at.0, at.1)))?;
        let me = thread::current();
        queue.set_nonempty_callback(move || me.unpark());
        Ok(queue)
    }

    /// Lets all partitions go on where they are.
    fn assign_anew(&mut self) -> KafkaResult<()> {
        for i in 0..self.partitions.len() {
            self.partitions[i].queue = self.queue(&self.partitions[i].at)?;
        }
        self.consumer.assign(&list_of(&self.partitions)?)
    }

    /// One turn for each partition that may be read; `true` if one gave something.
    fn turns(&mut self) -> KafkaResult<bool> {
        let lanes: Vec<Lane> = self.partitions.iter_mut().map(Partition::lane).collect();
        let several = lanes.iter().filter(|l| l.behind).count() > 1;
        let (n, mut any) = (lanes.len(), false);
        for k in 0..n {
            let i = (self.turn + k) % n;
            if !may_read(&lanes, i) {
                self.partitions[i].waits();
                continue;
            }
            let step = if lanes[i].behind && several { STEP } else { BATCH };
            let turn = self.partitions[i].turn(self.cut, &self.group, step);
            if let Some(e) = turn.fatal {
                return Err(e);
            }
            any |= turn.any;
            self.outbox.extend(turn.chunk.map(Out::Chunk));
            self.caught_up(i, turn.ended);
            if self.partitions[i].lost {
                self.find(i);
            }
            if !self.outbox.is_empty() {
                self.pump();
            }
            if !self.outbox.is_empty() {
                self.turn = i + 1;
                return Ok(true);
            }
        }
        self.turn = self.turn.wrapping_add(1);
        Ok(any)
    }

    /// The engine need not wait any more for a partition that has been read to where it ended.
    fn caught_up(&mut self, i: usize, ended: bool) {
        let p = &mut self.partitions[i];
        let Some(target) = p.target else { return };
        if !ended {
            if p.offsets.next() < target {
                return;
            }
            // It has gone on meanwhile, and may still be far away.
            match self.consumer.fetch_watermarks(&p.at.0, p.at.1, ASK) {
                Ok((_, high)) if high - p.offsets.next() <= NEAR => {}
                Ok((_, high)) => {
                    (p.target, p.high) = (Some(high), high);
                    return;
                }
                Err(_) => {
                    p.target = Some(target.saturating_add(NEAR));
                    return;
                }
            }
        }
        p.target = None;
        self.outbox.push_back(Out::Behind(p.stream.clone(), false));
    }

    /// A partition does not have the offset at which it should go on: says so, counts what is gone, and goes on where it begins.
    fn find(&mut self, i: usize) {
        let p = &mut self.partitions[i];
        let (low, high) = match self.consumer.fetch_watermarks(&p.at.0, p.at.1, ASK) {
            Ok(ends) => ends,
            Err(e) => return self.consumer.context().trouble("it is not known yet where a partition begins", &e.to_string()),
        };
        let next = p.offsets.next();
        let (topic, partition) = (&p.at.0, p.at.1);
        if next < low {
            self.source.metrics.drop_records(Reason::Deleted, low.abs_diff(next));
            tracing::error!(source = %self.source.name, topic = ?topic, partition, from = next, to = low - 1, "Kafka: records were deleted before they were read");
        } else if next > high {
            self.source.metrics.errors.inc();
            tracing::error!(
                source = %self.source.name, topic = ?topic, partition, next, end = high,
                "Kafka: the partition ends before where reading should go on: it was made anew or has lost its end; it is read from its start"
            );
        }
        if !(low..=high).contains(&next) {
            p.offsets.jump(low);
            self.known.remove(&p.at);
        }
        p.lost = false;
        if let Err(e) = self.assign_anew() {
            self.partitions[i].lost = true;
            self.consumer.context().trouble("reading cannot go on", &e.to_string());
        }
    }

    /// Hands over what waits, as far as there is room.
    fn pump(&mut self) {
        while let Some(out) = self.outbox.pop_front() {
            match self.out.try_send(out) {
                Ok(()) => {}
                Err(TrySendError::Full(out)) => {
                    self.outbox.push_front(out);
                    return;
                }
                // The daemon is coming down.
                Err(TrySendError::Closed(_)) => {}
            }
        }
    }

    /// Sees what has become durable; `true` while something is on its way.
    fn settle(&mut self) -> bool {
        let mut flying = false;
        for p in &mut self.partitions {
            flying |= p.offsets.settle();
            self.known.insert(p.at.clone(), p.offsets.durable());
        }
        flying
    }

    /// Lag, and partitions that have fallen behind.
    fn look(&mut self) {
        let mut lag = 0;
        for p in &mut self.partitions {
            p.high = self.consumer.context().high(&p.at).unwrap_or(if p.high == i64::MAX { 0 } else { p.high });
            lag += p.lag();
            if p.target == Some(i64::MAX) && p.high > 0 {
                p.target = Some(p.high);
            }
            let stalled = p.is_stalled();
            if p.target.is_none() && p.lag() > FAR && !stalled {
                p.target = Some(p.high);
                self.outbox.push_back(Out::Behind(p.stream.clone(), true));
            } else if stalled && p.target.take().is_some() {
                tracing::warn!(source = %self.source.name, stream = %p.stream.name, "Kafka: it is behind and gives nothing; the others go on without it");
                self.outbox.push_back(Out::Behind(p.stream.clone(), false));
            }
        }
        self.source.metrics.lag_records.set(lag);
    }

    /// Tells the group what is durable; `false` if there is nothing to tell.
    fn commit(&mut self) -> bool {
        let mut list = TopicPartitionList::new();
        for p in &mut self.partitions {
            if let Some(due) = p.offsets.due()
                && list.add_partition_offset(&p.at.0, p.at.1, Offset::Offset(due)).is_ok()
            {
                p.offsets.ask();
            }
        }
        let any = list.count() > 0;
        if any {
            self.committer.ask(list);
        }
        any
    }

    /// Takes the group's answer, until then at most; `false` if it has not come.
    fn answer(&mut self, until: Instant) -> bool {
        let Some(answer) = self.committer.answer(until) else { return !self.committer.is_busy() };
        if let Err(e) = &answer {
            self.consumer.context().trouble("offsets cannot be committed", &e.to_string());
        }
        self.partitions.iter_mut().for_each(|p| p.offsets.answered(answer.is_ok()));
        true
    }

    /// Tells the group what is durable and waits for its answer; `true` if it knows all.
    fn commit_and_wait(&mut self, until: Instant) -> bool {
        for _ in 0..ATTEMPTS {
            if !self.answer(until) {
                return false;
            }
            if !self.commit() {
                break;
            }
        }
        self.answer(until) && self.partitions.iter().all(|p| p.offsets.due().is_none())
    }

    /// Waits until what is on its way is durable, tells the group, and lets all partitions go.
    fn give_back(&mut self, patience: Duration, lost: bool) {
        let until = clock::monotonic() + patience;
        // What has not been handed over is read by whoever gets the partition.
        self.outbox.retain(|o| !matches!(o, Out::Chunk(_)));
        while self.settle() && clock::monotonic() < until {
            self.pump();
            thread::park_timeout(NAP);
        }
        let open: u64 = self.partitions.iter().map(|p| p.offsets.open()).sum();
        let late: u64 = self.partitions.iter().map(|p| p.offsets.on_their_way()).sum();
        let told = !lost && self.commit_and_wait(until);
        let again = if told { late } else { open };
        if again > 0 {
            self.source.metrics.repeated.inc_by(again);
            tracing::warn!(source = %self.source.name, records = again, "Kafka: stored here and not committed; who gets the partitions stores them again");
        }
        self.outbox.extend(self.partitions.drain(..).map(|p| Out::Close(p.stream)));
        self.source.metrics.open.set(0);
        self.source.metrics.lag_records.set(0);
        self.pump();
    }

    /// Leaves the group. A broker that does not answer keeps nobody waiting for long.
    fn end(mut self) {
        self.partitions.clear();
        let until = clock::monotonic() + STOP;
        while !self.outbox.is_empty() && clock::monotonic() < until {
            self.pump();
            thread::park_timeout(NAP);
        }
        self.consumer.context().close();
        let (consumer, committer) = (self.consumer, self.committer.end());
        let left = thread::Builder::new().name("vigild-kafka-end".into()).spawn(move || {
            // It holds the consumer too, and whoever lets go last leaves the group.
            let _ = committer.join();
            drop(consumer);
        });
        while left.as_ref().is_ok_and(|l| !l.is_finished()) && clock::monotonic() < until {
            thread::park_timeout(NAP);
        }
    }
}

/// The partitions, each where it goes on.
fn list_of(partitions: &[Partition]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for p in partitions {
        list.add_partition_offset(&p.at.0, p.at.1, Offset::Offset(p.offsets.next()))?;
    }
    Ok(list)
}
