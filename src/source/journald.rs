//! The journal of systemd, followed by a child process: `journalctl --follow --output=json`.
//!
//! - In: one JSON object a line. Out: one record an entry, as a line of syslog (RFC 5424) with the entry's time, machine,
//!   program, process and message; newlines in the message stay within the record.
//! - The position is the cursor of the last entry of a chunk; the child begins behind it.
//! - A line that is not such an object is a record as it stands, so that it shows as one that no parser took. One that is
//!   too long is cut.
//! - A child that ends is started again, after a pause that grows from 1 s to 60 s.

use super::{BATCH, Begin, Intake, KnownCursor, LINGER, OpenError, Opened};
use crate::clock;
use crate::config::source::file::Start;
use crate::config::source::journald::Journald;
use crate::event::{Batch, Timestamp};
use crate::journal::Mark;
use crate::pipeline::{Source, Stream};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The pause before the child is started again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// So many bytes of what the child complains of are told.
const COMPLAINT: u64 = 512;
/// What JSON may make of one byte: `255,` in an array, or `\u0001` in a string.
const EXPANSION: usize = 6;
/// All fields of an entry but its message.
const OTHERS: usize = 64 << 10;
/// What is asked for; what begins with two underscores comes unasked.
const FIELDS: &str = "PRIORITY,SYSLOG_FACILITY,SYSLOG_IDENTIFIER,SYSLOG_PID,_COMM,_PID,_HOSTNAME,_SOURCE_REALTIME_TIMESTAMP,MESSAGE";

/// The child that runs, so that it can be ended.
type Running = Arc<Mutex<Option<Child>>>;

/// Checks that the program is there where it is named by its path.
pub fn open(c: &Journald, source: Arc<Source>) -> Result<Vec<Opened>, OpenError> {
    if c.program.components().count() > 1 && !c.program.is_file() {
        let why = format!("there is no program {}", c.program.display());
        return Err(OpenError::Setting { what: source.name.clone(), why });
    }
    let (config, reads) = (c.clone(), source.clone());
    let begin: Begin = Box::new(move |intake, tasks| {
        let (runtime, child) = (Handle::current(), Running::default());
        let (done, ended) = oneshot::channel::<()>();
        let (mut stop, running) = (intake.clone(), child.clone());
        std::thread::spawn(move || {
            follow(&config, &reads, &intake, &runtime, &child);
            drop(done);
        });
        tasks.spawn(async move {
            stop.stopped().await;
            if let Some(c) = running.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                // It may have ended already.
                let _ = c.kill();
            }
            // The thread ends with the child's output, unless a child of the child holds on to that.
            let _ = tokio::time::timeout(LINGER, ended).await;
        });
    });
    Ok(vec![Opened { source, begin }])
}

/// The command that prints entries behind a cursor.
fn command(c: &Journald, cursor: Option<&str>) -> Command {
    let mut cmd = Command::new(&c.program);
    cmd.args(["--follow", "--output=json", "--all", "--quiet", "--no-pager"]).arg(format!("--output-fields={FIELDS}"));
    cmd.args(c.units.iter().map(|u| format!("--unit={u}"))).args(c.identifiers.iter().map(|i| format!("--identifier={i}")));
    cmd.args(c.priority.iter().map(|p| format!("--priority={p}")));
    match (cursor, c.from) {
        (Some(cursor), _) => cmd.arg("--no-tail").arg(format!("--after-cursor={cursor}")),
        (None, Start::Begin) => cmd.arg("--no-tail"),
        (None, Start::End) => cmd.arg("--lines=0"),
    };
    cmd.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    cmd
}

/// Runs the child, again and again, until the daemon stops; called on a thread of its own.
fn follow(config: &Journald, source: &Arc<Source>, intake: &Intake, runtime: &Handle, child: &Running) {
    let stream = Stream::new(source.name.clone(), source.clone());
    let known = |k: &&KnownCursor| *k.source == *source.name;
    let cursor = intake.known.cursors.iter().rfind(known).map(|k| k.cursor.clone());
    let mut reader = Reader { stream, intake, runtime, cursor, over: false };
    let mut pause = PAUSE.0;
    while !intake.is_stopping() && !reader.over {
        let before = reader.cursor.clone();
        match run(config, &mut reader, child) {
            Ok(_) if intake.is_stopping() => break,
            Ok(why) => {
                source.metrics.cut_off.inc();
                tracing::warn!(source = %source.name, said = ?why, "journalctl has ended and is started again");
            }
            Err(e) => {
                source.metrics.refused.inc();
                tracing::warn!(source = %source.name, program = %config.program.display(), error = %e, "journalctl cannot be started");
            }
        }
        if reader.cursor != before {
            pause = PAUSE.0;
        }
        let mut intake = intake.clone();
        let _ = runtime.block_on(async { tokio::time::timeout(pause, intake.stopped()).await });
        pause = (pause * 2).min(PAUSE.1);
    }
    runtime.block_on(intake.queue.close(&reader.stream));
}

/// Runs the child to its end; gives what it complained of at last.
fn run(config: &Journald, reader: &mut Reader<'_>, running: &Running) -> io::Result<String> {
    let mut child = command(config, reader.cursor.as_deref()).spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    *running.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
    let complaint = std::thread::spawn(move || {
        let mut said = Vec::new();
        let Some(mut err) = err else { return said };
        // What is beyond is read too, so that the child is not held up.
        let _ = err.by_ref().take(COMPLAINT).read_to_end(&mut said);
        let _ = io::copy(&mut err, &mut io::sink());
        said
    });
    reader.stream.source.metrics.open.inc();
    // The order to stop may have come before the child was there to be ended.
    if let Some(out) = out.filter(|_| !reader.intake.is_stopping()) {
        reader.read(BufReader::with_capacity(BATCH, out));
    }
    reader.stream.source.metrics.open.dec();
    if let Some(mut c) = running.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = c.kill();
        c.wait()?;
    }
    let said = complaint.join().unwrap_or_default();
    Ok(String::from_utf8_lossy(said.trim_ascii()).into_owned())
}

struct Reader<'a> {
    stream: Arc<Stream>,
    intake: &'a Intake,
    runtime: &'a Handle,
    /// The last entry that has been taken.
    cursor: Option<Arc<str>>,
    /// The order to stop has come.
    over: bool,
}

impl Reader<'_> {
    /// Takes entries until the output ends.
    fn read(&mut self, mut out: impl BufRead) {
        let max = self.intake.limits.record_bytes;
        let limit = max * EXPANSION + OTHERS;
        let (mut line, mut over, mut batch) = (Vec::new(), false, Batch::default());
        loop {
            let bytes = match out.fill_buf() {
                Ok(b) => b,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => &[],
            };
            if bytes.is_empty() {
                break;
            }
            let end = memchr::memchr(b'\n', bytes);
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            let room = limit.saturating_sub(line.len());
            line.extend_from_slice(&piece[..piece.len().min(room)]);
            over |= piece.len() > room;
            let used = piece.len() + end.is_some() as usize;
            // Sent when nothing more is there, or enough has come together.
            let more = memchr::memchr(b'\n', &bytes[used..]).is_some() && batch.bytes.len() < BATCH;
            out.consume(used);
            if end.is_some() {
                self.take(&line, std::mem::take(&mut over), max, &mut batch);
                line.clear();
            }
            if !more {
                self.send(&mut batch);
            }
            if self.over {
                return;
            }
        }
        // A line without its end is of an entry that comes again.
        self.send(&mut batch);
    }

    fn take(&mut self, line: &[u8], over: bool, max: usize, batch: &mut Batch) {
        if line.trim_ascii().is_empty() {
            return;
        }
        let entry = if over { None } else { serde_json::from_slice::<Map<String, Value>>(line).ok() };
        let entry = entry.filter(|e| e.get("__CURSOR").is_some_and(|c| c.as_str().is_some_and(|c| !c.contains('\0'))));
        let Some(entry) = entry else {
            return batch.push(&line[..line.len().min(max)], over || line.len() > max);
        };
        self.cursor = entry.get("__CURSOR").and_then(Value::as_str).map(Arc::from);
        let record = render(&entry);
        batch.push(&record[..record.len().min(max)], record.len() > max);
    }

    fn send(&mut self, batch: &mut Batch) {
        let source = &self.stream.source;
        let Some(mut chunk) = self.intake.chunk(&self.stream, source.format, batch) else { return };
        let cursor = |cursor: &Arc<str>| Box::new(Mark::Cursor { source: source.name.as_str().into(), cursor: cursor.clone() });
        chunk.mark = self.cursor.as_ref().map(cursor);
        let mut intake = self.intake.clone();
        // What is not stored when the daemon stops is printed again at the next start.
        self.over = self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.intake.queue.send(chunk) => false,
                _ = intake.stopped() => true,
            }
        });
    }
}

/// The bytes of a field: a string, the numbers of one that is not text, or the first of several.
fn field<'a>(entry: &'a Map<String, Value>, name: &str) -> Option<Cow<'a, [u8]>> {
    fn bytes(v: &Value) -> Option<Cow<'_, [u8]>> {
        match v {
            Value::String(s) => Some(Cow::Borrowed(s.as_bytes())),
            Value::Array(a) if a.first().is_some_and(Value::is_number) => {
                let byte = |v: &Value| v.as_u64().and_then(|n| u8::try_from(n).ok());
                a.iter().map(byte).collect::<Option<Vec<u8>>>().map(Cow::Owned)
            }
            Value::Array(a) => bytes(a.first().filter(|v| v.is_string() || v.is_array())?),
            _ => None,
        }
    }
    entry.get(name).and_then(bytes).filter(|b| !b.is_empty())
}

/// An entry as a line of RFC 5424.
///
/// Time, machine and process are those that journald vouches for where it does; the name of the program is its own word.
fn render(entry: &Map<String, Value>) -> Vec<u8> {
    let number = |name: &str, max: u64| {
        let n = field(entry, name)?;
        std::str::from_utf8(&n).ok()?.parse::<u64>().ok().filter(|n| *n <= max)
    };
    // RFC 5424: no blanks, and so many characters at most.
    let word = |names: &[&str], max: usize| -> Vec<u8> {
        let Some(w) = names.iter().find_map(|n| field(entry, n)) else { return b"-".to_vec() };
        w.iter().take(max).map(|b| if b.is_ascii_graphic() { *b } else { b'_' }).collect()
    };
    let priority = number("SYSLOG_FACILITY", 23).unwrap_or(1) * 8 + number("PRIORITY", 7).unwrap_or(6);
    let time = number("_SOURCE_REALTIME_TIMESTAMP", i64::MAX as u64 / 1000).or_else(|| number("__REALTIME_TIMESTAMP", i64::MAX as u64 / 1000));
    let time = time.map_or_else(clock::now, |us| Timestamp(us as i64 * 1000));
    let mut record = format!("<{priority}>1 {time} ").into_bytes();
    for (names, max) in [(&["_HOSTNAME"][..], 255), (&["SYSLOG_IDENTIFIER", "_COMM"], 48), (&["_PID", "SYSLOG_PID"], 128)] {
        record.extend_from_slice(&word(names, max));
        record.push(b' ');
    }
    record.extend_from_slice(b"- - ");
    record.extend_from_slice(field(entry, "MESSAGE").unwrap_or_default().trim_ascii_end());
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::event::Span;
    use crate::metrics::Metrics;
    use crate::pipeline::Queue;
    use crate::source::Known;
    use crate::source::connection::Budget;
    use std::os::unix::fs::PermissionsExt;
    use tokio::sync::watch;

    #[track_caller]
    fn check(json: &str, want: &str) {
        let entry = serde_json::from_str(json).expect("an object");
        assert_eq!(String::from_utf8_lossy(&render(&entry)), want);
    }

    #[test]
    fn an_entry_becomes_a_line_of_syslog() {
        check(
            r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1764000000123456","PRIORITY":"5","SYSLOG_FACILITY":"10","SYSLOG_IDENTIFIER":"sshd",
                "_PID":"4711","SYSLOG_PID":"1","_HOSTNAME":"vm-prod","MESSAGE":"Failed password for root from 192.0.2.1 port 1 ssh2"}"#,
            "<85>1 2025-11-24T16:00:00.123456Z vm-prod sshd 4711 - - Failed password for root from 192.0.2.1 port 1 ssh2",
        );
        check(
            r#"{"_SOURCE_REALTIME_TIMESTAMP":"1764000000000000","__REALTIME_TIMESTAMP":"1764000009000000","_COMM":"a b","_HOSTNAME":["vm","x"],
                "PRIORITY":"9","MESSAGE":[104,105,255,10,51]}"#,
            "<14>1 2025-11-24T16:00:00.000000Z vm a_b - - - hi\u{fffd}\n3",
        );
        check(r#"{"__REALTIME_TIMESTAMP":"0","MESSAGE":null,"SYSLOG_IDENTIFIER":[[104,10,105]]}"#, "<14>1 1970-01-01T00:00:00.000000Z - h_i - - - ");
        check(r#"{"__REALTIME_TIMESTAMP":"0","MESSAGE":[1,256]}"#, "<14>1 1970-01-01T00:00:00.000000Z - - - - - ");
    }

    /// Runs the source with a script in the place of journalctl until `count` records have come.
    fn run_script(script: &str, known: Known, limits: Limits, count: usize) -> (Vec<String>, Vec<String>, u64) {
        let dir = tempfile::tempdir().expect("a folder");
        let program = dir.path().join("journalctl");
        std::fs::write(&program, format!("#!/bin/sh\nARGS=\"$*\"\n{script}\n")).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let metrics = Metrics::default();
        let source = Source::new("j", Span::seconds(5), metrics.source("j"));
        let (queue, mut inbox) = Queue::new(1 << 20, Arc::new(Metrics::default()));
        let (stop, stopping) = watch::channel(false);
        let intake =
            Intake { queue, limits: Arc::new(limits), stop: stopping, known: Arc::new(known), budget: Budget::new(1 << 20, Default::default()) };
        let config = Journald { program, units: vec!["a.service".into()], priority: Some("info".into()), ..Journald::default() };
        let source = Arc::new(source);
        let (mut records, mut cursors) = (Vec::new(), Vec::new());
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for o in open(&config, source.clone()).expect("it is there") {
                (o.begin)(intake.clone(), &mut tasks);
            }
            let begin = clock::monotonic();
            while records.len() < count {
                assert!(begin.elapsed() < Duration::from_secs(10), "{records:?}");
                while let Some(c) = inbox.chunk() {
                    records.extend(c.batch.records.iter().map(|&r| String::from_utf8_lossy(c.batch.record(r)).into_owned()));
                    match c.mark.as_deref() {
                        Some(Mark::Cursor { cursor, .. }) => cursors.push(cursor.to_string()),
                        None => cursors.push("none".into()),
                        m => panic!("{m:?}"),
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stop.send(true).expect("it listens");
            let begin = clock::monotonic();
            while tasks.join_next().await.is_some() {}
            assert!(begin.elapsed() < Duration::from_millis(900), "it stops at once");
        });
        (records, cursors, source.metrics.cut_off.get())
    }

    const ENTRY: &str = r#"printf '{"__CURSOR":"c%s","__REALTIME_TIMESTAMP":"0","MESSAGE":"%s"}\n'"#;

    #[test]
    fn the_child_is_asked_for_what_follows_the_known_cursor() {
        let known = Known { cursors: vec![KnownCursor { source: "j".into(), cursor: "s=1;i=2".into() }], ..Known::default() };
        let (records, cursors, _) = run_script(&format!("{ENTRY} 3 \"$ARGS\"\nexec sleep 60"), known, Limits::default(), 1);
        for want in ["--follow", "--output=json", "--no-tail", "--after-cursor=s=1;i=2", "--unit=a.service", "--priority=info"] {
            assert!(records[0].contains(want), "{want} in {records:?}");
        }
        assert_eq!(cursors, ["c3"]);
    }

    #[test]
    fn a_child_that_ends_is_started_again_behind_its_last_entry() {
        let script = format!("case $ARGS in\n*after-cursor=c1*) {ENTRY} 2 two; exec sleep 60;;\n*) {ENTRY} 1 one; echo broken >&2; exit 1;;\nesac");
        let (records, cursors, ended) = run_script(&script, Known::default(), Limits::default(), 2);
        assert!(records[0].ends_with(" one") && records[1].ends_with(" two"), "{records:?}");
        assert_eq!((cursors.join(" ").as_str(), ended), ("c1 c2", 1));
    }

    #[test]
    fn output_that_is_not_an_entry_is_a_record_as_it_stands_and_one_too_long_is_cut() {
        let limits = Limits { record_bytes: 1024, ..Limits::default() };
        let script = format!(
            "echo nonsense\necho '{{\"MESSAGE\":\"no cursor\"}}'\nhead -c 100000 /dev/zero | tr '\\0' x\necho\n{ENTRY} 1 good\nexec sleep 60"
        );
        let (records, cursors, _) = run_script(&script, Known::default(), limits, 4);
        assert_eq!(records[..2], ["nonsense", "{\"MESSAGE\":\"no cursor\"}"]);
        assert!(records[2] == "x".repeat(1024) && records[3].ends_with(" good"), "{records:?}");
        assert_eq!(cursors.last().map(String::as_str), Some("c1"));
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_at_once() {
        let metrics = Metrics::default();
        let source = Source::new("j", Span::seconds(5), metrics.source("j"));
        let config = Journald { program: "/no/such/journalctl".into(), ..Journald::default() };
        let e = open(&config, Arc::new(source)).err().map(|e| e.to_string());
        assert_eq!(e.as_deref(), Some("source j: there is no program /no/such/journalctl"));
    }
}
