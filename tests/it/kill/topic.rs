//! A topic of Apache's broker that is written to under load, and read by the daemon that is killed.

#[cfg(feature = "kafka")]
pub use with::Topic;
#[cfg(not(feature = "kafka"))]
pub use without::Topic;

#[cfg(feature = "kafka")]
mod with {
    use crate::kafka::broker::{Broker, broker};
    use crate::kafka::{producer, put};
    use crate::kill::estate::Estate;
    use crate::kill::senders::record;
    use rdkafka::producer::Producer;
    use std::collections::BTreeMap;
    use std::sync::{Arc, MutexGuard};
    use std::thread::JoinHandle;
    use std::time::Duration;

    const PARTITIONS: i32 = 3;

    /// See the module.
    pub struct Topic {
        broker: MutexGuard<'static, Broker>,
        name: String,
    }

    /// The jail whose records a partition has.
    fn jail(partition: i32) -> String {
        format!("kafka{partition}")
    }

    impl Topic {
        /// A topic with nothing in it; `None`, which is said, where there is no broker.
        pub fn new(name: &str) -> Option<Topic> {
            let Some(broker) = broker() else {
                eprintln!("kill: Kafka is left out (VIGILD_SKIP)");
                return None;
            };
            broker.create(name, PARTITIONS);
            Some(Topic { broker, name: name.to_owned() })
        }

        /// The source that reads it.
        pub fn source(&self) -> String {
            format!(
                "[[source]]\nname = \"k\"\nkind = \"kafka\"\nformat = \"fail2ban\"\nlateness = \"1s\"\nbrokers = [{:?}]\ntopics = [{:?}]\n\
                 group = {:?}\nsession_timeout = \"1s\"\n",
                self.broker.address(),
                self.name,
                self.name
            )
        }

        /// Writes numbered records to all partitions until it is told to stop; how many to each, all of them acknowledged.
        pub fn send(&self, e: &Arc<Estate>) -> JoinHandle<BTreeMap<String, u64>> {
            let (e, name, p) = (e.clone(), self.name.clone(), producer(&self.broker.address(), &[]));
            std::thread::spawn(move || {
                let mut n = 0;
                while e.on() {
                    for partition in 0..PARTITIONS {
                        (n..n + 2).for_each(|n| put(&p, &name, partition, &record(&jail(partition), n)));
                    }
                    n += 2;
                    p.poll(Duration::ZERO);
                    e.rest(10);
                }
                p.flush(Duration::from_secs(300)).expect("taken by the broker");
                (0..PARTITIONS).map(|i| (jail(i), n)).collect()
            })
        }

        /// Waits until all of it has been read, which is as much as was sent.
        pub fn wait(&self, sent: &BTreeMap<String, u64>, said: &dyn Fn() -> String) {
            self.broker.all_committed(&self.name, &self.name, PARTITIONS, said);
            let ends: Vec<u64> = self.broker.progress(&self.name, &self.name, PARTITIONS).iter().map(|(_, end)| *end as u64).collect();
            assert_eq!(ends, sent.values().copied().collect::<Vec<_>>(), "the broker has each record once");
        }
    }
}

#[cfg(not(feature = "kafka"))]
mod without {
    use crate::kill::estate::Estate;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::thread::JoinHandle;

    /// There is none.
    pub enum Topic {}

    impl Topic {
        /// Says why there is none.
        pub fn new(_: &str) -> Option<Topic> {
            eprintln!("kill: Kafka is left out (built without the feature `kafka`)");
            None
        }

        pub fn source(&self) -> String {
            match *self {}
        }

        pub fn send(&self, _: &Arc<Estate>) -> JoinHandle<BTreeMap<String, u64>> {
            match *self {}
        }

        pub fn wait(&self, _: &BTreeMap<String, u64>, _: &dyn Fn() -> String) {
            match *self {}
        }
    }
}
