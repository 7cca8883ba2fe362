//! Apache's broker: one for all tests, which take turns, since a second would not fit beside it.

use super::member::{free_port, until};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

pub struct Broker {
    dir: TempDir,
    lib: String,
    port: u16,
    /// Its end is that of the broker.
    serve: Child,
    pid: String,
}

static BROKER: OnceLock<Mutex<Broker>> = OnceLock::new();

/// The broker, for one test at a time; `None` where tests that need it are left out.
pub fn broker() -> Option<MutexGuard<'static, Broker>> {
    if std::env::var("VIGILD_SKIP").is_ok_and(|s| s.split(',').any(|w| w == "kafka")) {
        return None;
    }
    Some(BROKER.get_or_init(|| Mutex::new(Broker::new())).lock().unwrap_or_else(PoisonError::into_inner))
}

fn tests(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka").join(file).display().to_string()
}

fn serve(lib: &str, dir: &Path, format: &[String]) -> (Child, String) {
    let mut c = Command::new(tests("serve"));
    c.arg(lib).arg(dir).args(format).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut serve = c.spawn().expect("bash is there");
    let mut pid = String::new();
    BufReader::new(serve.stdout.as_mut().expect("piped")).read_line(&mut pid).expect("it says its pid");
    (serve, pid.trim().to_owned())
}

impl Broker {
    fn new() -> Broker {
        let o = Command::new(tests("fetch")).output().expect("bash is there");
        let lib = String::from_utf8_lossy(&o.stdout).trim().to_owned();
        let why = String::from_utf8_lossy(&o.stderr);
        assert!(o.status.success(), "Apache's broker cannot be had: apt-get install maven, or leave it out with VIGILD_SKIP=kafka\n{why}");
        let dir = tempfile::tempdir().expect("a folder");
        let (port, controller) = (free_port(), free_port());
        let text = fs::read_to_string(tests("broker.properties")).expect("text");
        let (listeners, more, format) = super::secured::listeners(dir.path());
        let text = text
            .replace("@plain@", &port.to_string())
            .replace("@controller@", &controller.to_string())
            .replace("@listeners@", &listeners)
            .replace("@dir@", &dir.path().display().to_string());
        fs::write(dir.path().join("broker.properties"), text + &more).expect("written");
        let (serve, pid) = serve(&lib, dir.path(), &format);
        let b = Broker { dir, lib, port, serve, pid };
        b.answers();
        b
    }

    fn log(&self) -> String {
        ["format.log", "broker.log"].map(|f| fs::read_to_string(self.dir.path().join(f)).unwrap_or_default()).concat()
    }

    fn answers(&self) {
        let consumer: BaseConsumer = self.client("probe").create().expect("a client");
        let answers = || consumer.fetch_metadata(None, Duration::from_secs(2)).is_ok_and(|m| !m.brokers().is_empty());
        until("the broker answers", 180, &|| self.log(), &mut || answers());
    }

    /// Kills it; what it had acknowledged stays.
    pub fn kill(&mut self) {
        assert!(Command::new("kill").args(["-KILL", &self.pid]).status().expect("kill is there").success());
        until("its port is closed", 20, &|| self.log(), &mut || TcpStream::connect(("127.0.0.1", self.port)).is_err());
    }

    /// Starts it again, and does not wait.
    pub fn start(&mut self) {
        let (new, pid) = serve(&self.lib, self.dir.path(), &[]);
        let mut old = std::mem::replace(&mut self.serve, new);
        let keep = self.dir.path().join("keep");
        fs::write(&keep, "").expect("written");
        drop(old.stdin.take());
        let _ = old.wait();
        fs::remove_file(keep).expect("it is there");
        self.pid = pid;
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A file of the broker's.
    #[cfg(feature = "kafka-tls")]
    pub fn path(&self, file: &str) -> std::path::PathBuf {
        self.dir.path().join(file)
    }

    fn client(&self, group: &str) -> ClientConfig {
        let mut c = ClientConfig::new();
        c.set("bootstrap.servers", self.address()).set("group.id", group);
        c
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client("admin").create().expect("a client")
    }

    pub fn create(&self, topic: &str, partitions: i32) {
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        // On a machine that is busy a broker is too late with its heartbeat now and then, and is none until the next one.
        until("the topic is made", 60, &|| self.log(), &mut || {
            let done = wait(self.admin().create_topics([&topic], &AdminOptions::new())).expect("it answers");
            let late = |e: &(String, RDKafkaErrorCode)| e.1 == RDKafkaErrorCode::InvalidReplicationFactor;
            assert!(done.iter().all(|t| t.as_ref().err().is_none_or(late)), "{done:?}");
            done.iter().all(Result::is_ok)
        });
    }

    /// Deletes what stands before an offset.
    pub fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        wait(self.admin().delete_records(&list, &AdminOptions::new())).expect("it answers");
    }

    /// What a group has committed of a topic's partitions, and where these end.
    pub fn progress(&self, group: &str, topic: &str, partitions: i32) -> Vec<(i64, i64)> {
        let consumer: BaseConsumer = self.client(group).create().expect("a client");
        let mut list = TopicPartitionList::new();
        for p in 0..partitions {
            list.add_partition(topic, p);
        }
        let Ok(list) = consumer.committed_offsets(list, Duration::from_secs(5)) else { return Vec::new() };
        let one = |p: i32| {
            let committed = match list.find_partition(topic, p)?.offset() {
                Offset::Offset(n) => n,
                _ => -1,
            };
            Some((committed, consumer.fetch_watermarks(topic, p, Duration::from_secs(5)).ok()?.1))
        };
        (0..partitions).filter_map(one).collect()
    }

    /// Waits until a group has committed all that a topic holds.
    pub fn all_committed(&self, group: &str, topic: &str, partitions: i32, said: &dyn Fn() -> String) {
        let said = || format!("{:?}\n{}", self.progress(group, topic, partitions), said());
        until("all is committed", 180, &said, &mut || {
            let all = self.progress(group, topic, partitions);
            all.len() == partitions as usize && all.iter().all(|(c, end)| c == end)
        });
    }
}

fn wait<T>(f: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(f)
}
