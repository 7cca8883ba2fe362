//! `POST /_bulk` of the shipped binary: the requests of Filebeat, Fluent Bit, Logstash and Vector as their documentation has
//! them, and the real omelasticsearch of rsyslog over a network that breaks.

use crate::daemon::{Answer, Daemon};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HTTP: &str = "[[source]]\nkind = \"http\"\n";
const RECORDS: &str = "vigild_records_total{source=\"http\"}";
const BYTES: &str = "vigild_bytes_total{source=\"http\"}";

fn ask(d: &Daemon, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    d.ask(&format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len()), body)
}

fn json(a: &Answer) -> serde_json::Value {
    assert!(a.head.contains("x-elastic-product: elasticsearch") && a.head.contains("content-type: application/json"), "{}", a.head);
    serde_json::from_str(&a.body).unwrap_or_else(|e| panic!("{e}: {}", a.body))
}

fn gzip(b: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    e.write_all(b).expect("memory");
    e.finish().expect("memory")
}

#[test]
fn shippers_find_what_they_ask_for_and_are_answered_item_by_item() {
    let d = Daemon::start(HTTP, &[]);
    let token = d.token();
    let basic = format!("authorization: Basic {}\r\n", STANDARD.encode(format!("elastic:{token}")));
    let api_key = format!("authorization: ApiKey {}\r\n", STANDARD.encode(format!("id:{token}")));
    let bearer = format!("authorization: Bearer {token}\r\n");

    // Filebeat.
    let root = json(&ask(&d, "GET", "/", &basic, b""));
    assert!(root["version"]["number"].as_str().is_some_and(|v| v.starts_with("8.")) && root["tagline"] == "You Know, for Search", "{root}");
    assert_eq!(ask(&d, "HEAD", "/", &basic, b"").status, 200);
    let license = json(&ask(&d, "GET", "/_license?human=false", &basic, b""));
    assert_eq!((&license["license"]["type"], &license["license"]["status"]), (&"basic".into(), &"active".into()));
    assert_eq!(ask(&d, "HEAD", "/_index_template/filebeat-8.17.0", &basic, b"").status, 200);
    assert_eq!(ask(&d, "GET", "/_ilm/policy/filebeat", &basic, b"").status, 200);
    assert_eq!(json(&ask(&d, "PUT", "/_ingest/pipeline/filebeat-x", &basic, b"{}"))["acknowledged"], true);
    let body =
        "{\"create\":{\"_index\":\"filebeat-8.17.0\"}}\n{\"@timestamp\":\"2026-11-23T06:00:00.000Z\",\"message\":\"twelve bytes\",\"log\":{}}\n"
            .repeat(2);
    let headers = format!("{basic}content-type: application/json; charset=UTF-8\r\ncontent-encoding: gzip\r\n");
    let a = json(&ask(&d, "POST", "/_bulk?filter_path=errors%2Citems.%2A.error%2Citems.%2A.status", &headers, &gzip(body.as_bytes())));
    assert_eq!((&a["errors"], a["items"].as_array().map(Vec::len), &a["items"][1]["create"]["status"]), (&false.into(), Some(2), &201.into()));
    assert_eq!((d.metric(RECORDS), d.metric(BYTES)), (2.0, 24.0));

    // Fluent Bit.
    let body = "{\"create\":{\"_index\":\"fluent-bit\"}}\n{\"@timestamp\":\"2026-11-23T06:00:00.000Z\",\"log\":\"x\"}\n";
    let a = json(&ask(&d, "POST", "/_bulk", &format!("{basic}content-type: application/x-ndjson\r\n"), body.as_bytes()));
    assert_eq!(a["items"][0]["create"]["_index"], "fluent-bit");
    assert_eq!(d.metric(BYTES), 24.0 + 51.0, "the whole document");

    // Logstash.
    assert_eq!(json(&ask(&d, "GET", "/_nodes/http", &api_key, b""))["nodes"], serde_json::json!({}));
    let body = "{\"index\":{\"_id\":null,\"_index\":\"logstash\",\"routing\":null}}\n{\"event\":{\"original\":\"abc\"},\"message\":\"not this\"}\n";
    assert_eq!(ask(&d, "POST", "/_bulk", &api_key, body.as_bytes()).status, 200);
    assert_eq!(d.metric(BYTES), 75.0 + 3.0);

    // Vector.
    assert_eq!(json(&ask(&d, "GET", "/_cluster/health", &bearer, b""))["status"], "green");
    let body = "{\"create\":{\"_index\":\"vector-2026.11.23\",\"_type\":\"_doc\",\"_id\":\"7\"}}\n{\"message\":\"abcd\"}\n";
    let a = json(&ask(&d, "POST", "/_bulk?timeout=60s", &format!("{bearer}content-encoding: gzip\r\n"), &gzip(body.as_bytes())));
    assert_eq!(a["items"][0]["create"]["_id"], "7");
    assert_eq!((d.metric(RECORDS), d.metric(BYTES)), (5.0, 82.0));

    // The last newline may be missing, and the index stand in the path.
    let a = json(&ask(&d, "PUT", "/logs/_bulk?refresh=true", &bearer, b"{\"index\":{}}\n{\"message\":\"x\"}"));
    assert_eq!((&a["items"][0]["index"]["_index"], &a["items"][0]["index"]["_id"]), (&"logs".into(), &"6".into()));
}

#[test]
fn what_cannot_be_done_is_an_item_s_error_and_what_cannot_be_read_the_request_s() {
    let mut d = Daemon::start(&format!("{HTTP}[limits]\nbody_bytes = 2000\nbodies_bytes = 3000\n"), &[]);
    let body = "{\"create\":{\"_index\":\"a\"}}\n{\"message\":\"1\"}\n{\"delete\":{\"_index\":\"a\",\"_id\":\"9\"}}\n\
                {\"update\":{\"_index\":\"a\",\"_id\":\"9\"}}\n{\"doc\":{}}\n{\"index\":{}}\n{\"message\":\"2\"}\n";
    let a = json(&d.post("/_bulk", "", body.as_bytes()));
    let status = |i: usize, verb: &str| a["items"][i][verb]["status"].as_u64();
    assert_eq!(a["errors"], true);
    assert_eq!([status(0, "create"), status(1, "delete"), status(2, "update"), status(3, "index")], [201, 400, 400, 201].map(Some));
    assert_eq!(d.metric(RECORDS), 2.0);

    let refused = |a: Answer, status: u16, kind: &str| {
        let v = json(&a);
        assert_eq!((a.status, v["status"].as_u64(), v["error"]["type"].as_str()), (status, Some(status as u64), Some(kind)), "{v}");
        assert!(v["error"]["root_cause"][0]["reason"].is_string(), "{v}");
    };
    refused(d.post("/_bulk", "", b"{\"create\":{}}\n{\"message\":\"1\"}\nnonsense\n{}\n"), 400, "illegal_argument_exception");
    refused(d.post("/_bulk", "", b""), 400, "illegal_argument_exception");
    refused(d.post("/_bulk", "", &[b'x'; 2001]), 413, "content_too_long_exception");
    let mut slow = d.connect();
    let head = format!("POST /_bulk HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 1900\r\n\r\n", d.token());
    slow.write_all(head.as_bytes()).expect("sent");
    d.wait_metric("vigild_http_bodies_bytes", 1900.0);
    let busy = d.post("/_bulk", "", &[b'x'; 1500]);
    assert!(busy.head.contains("retry-after: 1"), "{}", busy.head);
    refused(busy, 429, "es_rejected_execution_exception");
    for path in ["/", "/_bulk", "/logs/_bulk", "/_license"] {
        for wrong in ["", "authorization: Basic ZWxhc3RpYzpjaGFuZ2VtZQ==\r\n", &format!("authorization: {}\r\n", d.token())] {
            let a = ask(&d, if path.ends_with("bulk") { "POST" } else { "GET" }, path, wrong, b"");
            assert!(a.head.contains("www-authenticate: basic"), "{}", a.head);
            refused(a, 401, "security_exception");
        }
    }
    let basic = format!("authorization: Basic {}\r\n", STANDARD.encode(format!("x:{}", d.token())));
    assert_eq!(ask(&d, "POST", "/api/v1/ingest/auto", &basic, b"x\n").status, 401, "elsewhere only the token itself");
    assert_eq!(d.metric(RECORDS), 2.0);
}

/// A process of ours, killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What happens to a connection of which the request has been seen whole.
#[derive(Clone, Copy)]
enum Fault {
    None,
    /// The request does not get through.
    Lost,
    /// The request gets through and its answer does not.
    AnswerLost,
    /// The request gets through in part.
    Half,
    /// Nothing moves for a while.
    Stall,
}

/// A network between two ends: how often each line was handed on, whole, by its number.
#[derive(Default)]
struct Network {
    carried: Mutex<BTreeMap<usize, usize>>,
    requests: Mutex<usize>,
}

impl Network {
    /// Listens, and passes on to an address; each of the first bulk requests meets its fault.
    fn start(to: SocketAddr, faults: &'static [Fault]) -> (Arc<Network>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("it has one");
        let network = Arc::new(Network::default());
        let n = network.clone();
        std::thread::spawn(move || {
            for s in listener.incoming().map_while(Result::ok) {
                let n = n.clone();
                std::thread::spawn(move || drop(n.carry(s, to, faults)));
            }
        });
        (network, at)
    }

    fn carry(&self, mut from: TcpStream, to: SocketAddr, faults: &[Fault]) -> std::io::Result<()> {
        loop {
            let Some(request) = request(&mut from)? else { return Ok(()) };
            let bulk = request.starts_with(b"POST");
            let fault = if bulk {
                let mut seen = self.requests.lock().expect("no panic");
                *seen += 1;
                faults.get(*seen - 1).copied().unwrap_or(Fault::None)
            } else {
                Fault::None
            };
            let mut up = TcpStream::connect(to)?;
            match fault {
                Fault::Lost => return from.shutdown(Shutdown::Both),
                Fault::Half => {
                    up.write_all(&request[..request.len() / 2])?;
                    return from.shutdown(Shutdown::Both);
                }
                Fault::Stall => std::thread::sleep(Duration::from_millis(700)),
                Fault::None | Fault::AnswerLost => {}
            }
            if bulk {
                let text = String::from_utf8_lossy(&request).into_owned();
                let mut carried = self.carried.lock().expect("no panic");
                for number in text.split("\\\"u").skip(1).filter_map(|t| t.split('\\').next()?.parse().ok()) {
                    *carried.entry(number).or_default() += 1;
                }
            }
            up.write_all(&request)?;
            let Some(answer) = message(&mut up)?.filter(|_| !matches!(fault, Fault::AnswerLost)) else {
                return from.shutdown(Shutdown::Both);
            };
            from.write_all(&answer)?;
        }
    }
}

/// Reads a head and the body that its length announces; `None` at the end.
fn message(s: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut all = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        if let Some(n) = all.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&all[..n]).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|l| l.split("\r\n").next()?.parse().ok()).unwrap_or(0usize);
            if head.contains("expect: 100-continue") && all.len() == n + 4 {
                s.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            if all.len() >= n + 4 + length {
                return Ok(Some(all));
            }
        }
        match s.read(&mut piece)? {
            0 => return Ok(None),
            n => all.extend_from_slice(&piece[..n]),
        }
    }
}

/// A request, without the wish to be told to go on.
fn request(s: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let Some(all) = message(s)? else { return Ok(None) };
    let n = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(0);
    let head: String =
        String::from_utf8_lossy(&all[..n]).split("\r\n").filter(|l| !l.to_ascii_lowercase().starts_with("expect:")).collect::<Vec<_>>().join("\r\n");
    Ok(Some([head.as_bytes(), &all[n..]].concat()))
}

const LINES: usize = 3000;

const RULES: &str = r#"
[[rule]]
id = "lines"
title = "Lines"
severity = "informational"
alert = false
where = 'event.action == "line"'
metric = { name = "lines_total", kind = "counter", label_fields = { user = "{user.name}" }, max_series = 5000 }
"#;

/// Sends lines through the real rsyslog: how often each is stored, and how often each was handed on. A daemon that is busy
/// has no memory for bodies at first.
fn omelasticsearch(faults: &'static [Fault], busy: bool) -> Option<(Vec<usize>, BTreeMap<usize, usize>)> {
    if std::env::var("VIGILD_SKIP").is_ok_and(|s| s.split(',').any(|w| w == "rsyslog")) {
        return None;
    }
    let program = ["/usr/sbin/rsyslogd", "/usr/bin/rsyslogd", "/sbin/rsyslogd"].into_iter().find(|p| fs::exists(p).unwrap_or(false));
    let program = program.expect("rsyslogd is not there: apt-get install rsyslog rsyslog-elasticsearch, or VIGILD_SKIP=rsyslog");
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules.toml");
    fs::write(&rules, RULES).expect("written");
    let config = "[[source]]\nkind = \"http\"\nformat = \"ecs\"\nlateness = \"200ms\"\n[limits]\nbody_bytes = 1000000\nbodies_bytes = 1000000\n";
    let mut d = Daemon::start(config, &["--rules", &rules.display().to_string()]);
    let held = busy.then(|| {
        let mut s = d.connect();
        let head = format!("POST /_bulk HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 1000000\r\n\r\n", d.token());
        s.write_all(head.as_bytes()).expect("sent");
        d.wait_metric("vigild_http_bodies_bytes", 1_000_000.0);
        s
    });
    let (network, at) = Network::start(d.http, faults);
    let dir = d.dir.path().display().to_string();
    let input = format!("{dir}/input.log");
    let text: String = (0..LINES).map(|i| format!("{{\"event\":{{\"action\":\"line\"}},\"user\":{{\"name\":\"u{i}\"}}}}\n")).collect();
    fs::write(&input, text).expect("written");
    let text = format!(
        "global(workDirectory=\"{dir}\")\nmodule(load=\"imfile\" mode=\"polling\" pollingInterval=\"1\")\nmodule(load=\"omelasticsearch\")\n\
         template(name=\"doc\" type=\"string\" string=\"{{\\\"message\\\":\\\"%msg:::json%\\\"}}\")\n\
         input(type=\"imfile\" file=\"{input}\" tag=\"x\" ruleset=\"out\")\n\
         ruleset(name=\"out\") {{ action(type=\"omelasticsearch\" server=\"http://127.0.0.1\" serverport=\"{}\" uid=\"vigild\" pwd=\"{}\"\n\
         template=\"doc\" searchIndex=\"logs\" searchType=\"\" bulkmode=\"on\" errorfile=\"{dir}/errors.json\" action.resumeRetryCount=\"-1\"\n\
         action.resumeInterval=\"1\" queue.type=\"LinkedList\" queue.size=\"10000\" queue.dequeueBatchSize=\"200\" queue.timeoutEnqueue=\"10000\") }}\n",
        at.port(),
        d.token()
    );
    let file = format!("{dir}/rsyslog.conf");
    fs::write(&file, text).expect("written");
    let mut c = Command::new(program);
    c.args(["-n", "-f", &file, "-i", &format!("{dir}/rsyslog.pid")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let rsyslog = Process(c.spawn().expect("rsyslogd starts"));
    if let Some(body) = held {
        d.wait("some have been refused", |d| d.get("/metrics").body.contains("vigild_http_requests_total{status=\"429\"}"));
        drop(body);
    }
    let stored = |d: &Daemon| -> Vec<usize> {
        let text = d.get("/metrics").body;
        let mut counts = vec![0; LINES];
        for l in text.lines().filter_map(|l| l.strip_prefix("lines_total{user=\"u")) {
            let (n, count) = l.split_once("\"} ").expect("a label and a number");
            counts[n.parse::<usize>().expect("a number")] = count.parse::<f64>().expect("a number") as usize;
        }
        counts
    };
    // All is there when as much as was sent is, and no more comes.
    let (begin, mut last) = (std::time::Instant::now(), -1.0);
    while begin.elapsed() < Duration::from_secs(40) && (d.metric(RECORDS) != last || last < LINES as f64) {
        last = d.metric(RECORDS);
        std::thread::sleep(Duration::from_millis(2500));
    }
    drop(rsyslog);
    // Time goes on, so that what was counted is final.
    let later = jiff::Timestamp::now() + Duration::from_secs(60);
    let end = format!("{{\"index\":{{}}}}\n{{\"@timestamp\":\"{later}\",\"event\":{{\"action\":\"end\"}}}}\n");
    assert_eq!(d.post("/_bulk", "", end.as_bytes()).status, 200);
    let errors = fs::read_to_string(format!("{dir}/errors.json")).unwrap_or_default();
    d.wait(&format!("all are counted; what rsyslog gave up: {errors}"), |d| stored(d).iter().sum::<usize>() as f64 == last);
    let counts = stored(&d);
    assert_eq!(d.stop().0.code(), Some(0));
    let carried = network.carried.lock().expect("no panic").clone();
    Some((counts, carried))
}

/// The lines that are not there exactly once, with how often they are.
fn other_than_once(stored: &[usize]) -> Vec<(usize, usize)> {
    stored.iter().copied().enumerate().filter(|(_, n)| *n != 1).collect()
}

#[test]
fn omelasticsearch_sends_every_line_once() {
    let Some((stored, _)) = omelasticsearch(&[], false) else { return };
    assert_eq!(other_than_once(&stored), []);
}

#[test]
fn what_omelasticsearch_sends_while_there_is_no_room_comes_again() {
    let Some((stored, _)) = omelasticsearch(&[], true) else { return };
    assert_eq!(other_than_once(&stored), []);
}

#[test]
fn over_a_network_that_breaks_nothing_is_missing_and_only_what_was_sent_twice_is_there_twice() {
    use Fault::{AnswerLost, Half, Lost, None, Stall};
    let faults = &[Lost, None, AnswerLost, AnswerLost, None, Half, Stall, None, None, Lost, Half, Stall, AnswerLost, None, Stall];
    let Some((stored, carried)) = omelasticsearch(faults, false) else { return };
    let missing: Vec<usize> = (0..LINES).filter(|i| stored[*i] == 0).collect();
    assert_eq!(missing, [0; 0]);
    let more: Vec<usize> = (0..LINES).filter(|i| stored[*i] > carried.get(i).copied().unwrap_or(0)).collect();
    assert_eq!(more, [0; 0]);
    assert!(stored.iter().any(|n| *n > 1), "a lost answer makes the sender repeat itself");
}
