//! One run of the daemon, from its start to the moment at which it is killed.
//!
//! That is a random moment or a named one. Either is counted from the start or, since a group gives partitions back to whoever
//! was killed only a while later, from when the daemon has its partitions of Kafka again.

use super::estate::{Estate, kill};
use super::senders::Dice;
use crate::process::Process;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Named moments: before or after the Nth file operation or transaction of a kind the daemon ends as if it had been killed.
const POINTS: [&str; 14] = [
    "sync:before",
    "sync:after",
    "write:before",
    "write:after",
    "rename:before",
    "rename:after",
    "remove:before",
    "remove:after",
    "create:before",
    "create:after",
    "sync_dir:before",
    "sync_dir:after",
    "commit:before",
    "commit:after",
];
/// How it ends by itself at its moment.
const ABORTED: i32 = 6;
/// A daemon that does not come to its moment is killed after so long.
const PATIENCE: Duration = Duration::from_millis(1500);
/// A group takes a member in once the one that was killed has been silent for a second.
const JOINS: Duration = Duration::from_secs(10);

/// See the module.
pub struct Run {
    pub daemon: Process,
    /// The kind of moment at which it ends by itself, if it does.
    point: Option<&'static str>,
    /// The file that says from when on the moment is counted, if it is not from the start.
    from: Option<PathBuf>,
    /// What had been logged before.
    said: usize,
}

/// How a run has ended.
#[derive(Clone, Copy, Default)]
pub struct Ended {
    /// The kind of moment at which it has ended by itself.
    pub point: Option<&'static str>,
    /// While it had its partitions of Kafka.
    pub reading: bool,
}

impl Run {
    /// One that nothing ends by itself.
    pub fn plain(e: &Estate) -> Run {
        Run { said: e.said().len(), daemon: e.start(&[]), point: None, from: None }
    }

    /// One that ends as the dice say.
    pub fn drawn(e: &Estate, dice: &mut Dice, kafka: bool) -> Run {
        let from = (kafka && dice.below(3) == 0).then(|| e.dir.join("from"));
        let point = POINTS[dice.below(POINTS.len() as u64) as usize];
        // What rolls and is saved comes seldom.
        let often = ["sync:", "write:", "commit:"].iter().any(|w| point.starts_with(w));
        let moment = format!("{point}:{}", 1 + dice.below(if often { 40 } else { 4 }));
        let point = (dice.below(2) == 0).then_some(point);
        let mut variables = Vec::new();
        if point.is_some() {
            variables.push(("VIGILD_CRASH", moment.as_str()));
        }
        if let Some(f) = &from {
            let _ = fs::remove_file(f);
            variables.push(("VIGILD_CRASH_FROM", f.to_str().expect("UTF-8")));
        }
        Run { said: e.said().len(), daemon: e.start(&variables), point, from }
    }

    /// Whether it has been given its partitions.
    fn reads(&self, e: &Estate) -> bool {
        e.said().get(self.said..).is_some_and(|s| s.contains("Kafka: partitions are assigned"))
    }

    fn has_ended(&mut self) -> bool {
        self.daemon.try_wait().expect("a child").is_some()
    }

    /// Waits for the moment, and kills it.
    pub fn end(mut self, e: &Estate, dice: &mut Dice) -> Ended {
        let begin = Instant::now();
        if let Some(f) = self.from.clone() {
            while !self.reads(e) && !self.has_ended() && begin.elapsed() < JOINS {
                std::thread::sleep(Duration::from_millis(10));
            }
            fs::write(f, "").expect("written");
        }
        let begin = Instant::now();
        if self.point.is_some() {
            while !self.has_ended() && begin.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(5));
            }
        } else {
            std::thread::sleep(Duration::from_millis(20 + dice.below(400)));
        }
        let by_itself = self.daemon.try_wait().expect("a child");
        if let Some(status) = by_itself {
            assert!(self.point.is_some() && status.signal() == Some(ABORTED), "it ends by itself: {status}\n{}", e.said());
        }
        kill(&mut self.daemon);
        Ended { point: self.point.filter(|_| by_itself.is_some()), reading: self.reads(e) }
    }
}
