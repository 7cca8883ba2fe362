//! Search through the shipped binary: the API, and the command on a running and on a stopped daemon.

use crate::daemon::{Answer, Daemon};
use serde_json::Value;
use std::process::{Command, Output};

pub const HTTP: &str = "[[source]]\nkind = \"http\"\n[search]\nat_once = 4\n";

fn encoded(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn asked(d: &Daemon, path: &str, pairs: &[(&str, &str)]) -> Answer {
    let head = format!("GET {path}?{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n", encoded(pairs), d.token());
    d.ask(&head, b"")
}

fn found(d: &Daemon, pairs: &[(&str, &str)]) -> Value {
    let a = asked(d, "/api/v1/search", pairs);
    assert_eq!(a.status, 200, "{pairs:?}: {}", a.body);
    serde_json::from_str(&a.body).expect("JSON")
}

/// Records of ten seconds, `from` to `to`: a login that fails by root, or in every third second by alice.
pub fn post(d: &Daemon, seconds: std::ops::Range<u64>) {
    let lines: String = seconds
        .map(|n| {
            let user = if n % 3 == 0 { "alice" } else { "root" };
            format!(
                "{{\"@timestamp\":\"2026-11-23T05:00:{n:02}Z\",\"message\":\"Failed password, SQL injection {n}\",\"user\":{{\"name\":\"{user}\"}},\
                 \"source\":{{\"ip\":\"203.0.113.{n}\",\"port\":{n}}},\"event\":{{\"severity\":{}}}}}\n",
                n % 2 * 60
            )
        })
        .collect();
    let a = d.post("/api/v1/ingest/ecs", "", lines.as_bytes());
    assert_eq!(a.status, 200, "{}", a.body);
}

fn seqs(v: &Value) -> Vec<u64> {
    v["hits"].as_array().expect("a list").iter().map(|h| h["event"]["sequence"].as_u64().expect("a number")).collect()
}

#[test]
fn events_are_found_as_soon_as_they_are_stored() {
    let d = Daemon::start(HTTP, &[]);
    post(&d, 0..30);
    let v = found(&d, &[("q", "\"sql injection\" and user.name == \"alice\""), ("limit", "3")]);
    assert_eq!((v["total"].as_u64(), seqs(&v)), (Some(10), vec![28, 25, 22]));
    assert_eq!((&v["complete"], &v["missing"]), (&Value::Bool(true), &Value::Array(vec![])));
    assert_eq!(v["highlights"][0], serde_json::json!([[17, 30]]));
    let hit = &v["hits"][0];
    assert_eq!((hit["user"]["name"].as_str(), hit["source"]["ip"].as_str()), (Some("alice"), Some("203.0.113.27")));
    assert!(hit["event"]["original"].as_str().is_some_and(|s| s.contains("Failed password")), "{hit}");
    let v = found(&d, &[("q", "source.ip in cidr(\"203.0.113.8/29\")"), ("order", "asc"), ("fields", "source.port,user")]);
    assert_eq!(v["total"], 8);
    assert_eq!(v["hits"][0], serde_json::json!({ "source": { "port": 8 }, "user": { "name": "root" } }));
    let v = found(&d, &[("since", "2026-11-23T05:00:10Z"), ("until", "2026-11-23T05:00:20Z"), ("limit", "0")]);
    assert_eq!((v["total"].as_u64(), v["hits"].as_array().map(Vec::len)), (Some(10), Some(0)));
    let v = found(&d, &[("top", "user.name"), ("values", "1"), ("distinct", "source.ip"), ("stats", "source.port"), ("limit", "0")]);
    assert_eq!(v["top"], serde_json::json!({ "field": "user.name", "distinct": 2, "values": [{ "value": "root", "count": 20 }] }));
    assert_eq!(v["distinct"], serde_json::json!({ "field": "source.ip", "count": 30 }));
    assert_eq!(v["stats"], serde_json::json!({ "field": "source.port", "count": 30, "min": 0, "max": 29, "sum": 435, "avg": 14.5 }));
    let a = asked(&d, "/api/v1/histogram", &[("q", "event.severity >= 60"), ("buckets", "3")]);
    let v: Value = serde_json::from_str(&a.body).expect("JSON");
    let counts: Vec<u64> = v["histogram"]["buckets"].as_array().expect("a list").iter().filter_map(|b| b["count"].as_u64()).collect();
    assert_eq!((v["total"].as_u64(), counts.iter().sum()), (Some(15), 15), "{v}");
    assert_eq!(v["histogram"]["buckets"][0]["from"], "2026-11-23T05:00:00.000000Z");
}

#[test]
fn pages_are_of_what_was_there_at_the_first_and_outlive_a_restart() {
    let mut d = Daemon::start(HTTP, &[]);
    post(&d, 0..20);
    let ask = [("q", "injection"), ("limit", "6"), ("since", "2026-11-23T00:00:00Z")];
    let first = found(&d, &ask);
    let mut all = seqs(&first);
    let mut next = first["next"].as_str().expect("there is more").to_owned();
    post(&d, 20..40);
    d.restart();
    loop {
        let v = found(&d, &[ask[0], ask[1], ask[2], ("cursor", &next)]);
        assert_eq!(v["total"], 20);
        all.extend(seqs(&v));
        match v["next"].as_str() {
            Some(n) => next = n.to_owned(),
            None => break,
        }
    }
    assert_eq!(all, (1..=20).rev().collect::<Vec<_>>());
    assert_eq!(found(&d, &ask)["total"], 40);
    let other = asked(&d, "/api/v1/search", &[("q", "password"), ask[2], ("cursor", &next)]);
    assert!(other.status == 400 && other.body.contains("another query"), "{}", other.body);
}

#[test]
fn what_is_wrong_with_a_query_is_said_where_it_is() {
    let d = Daemon::start(HTTP, &[]);
    for (q, column, says) in [
        ("user.nam == \"x\"", 1, "did you mean `user.name`?"),
        ("über", 1, "does not belong"),
        ("\"ü\" and user.name = 1", 19, "equality is `==`"),
        ("a and user.name", 7, "a field needs a test"),
        ("\"--\"", 1, "no word"),
        ("a and (b", 9, "`)`"),
        ("event.late == true", 1, "the engine alone"),
        ("user.name in table(\"none\")", 20, "there is no table"),
    ] {
        let a = asked(&d, "/api/v1/search", &[("q", q)]);
        assert!(a.status == 400 && a.head.contains("application/problem+json"), "{q}: {}", a.body);
        let v: Value = serde_json::from_str(&a.body).expect("JSON");
        assert_eq!(v["column"], column, "{q}: {v}");
        assert!(v["detail"].as_str().is_some_and(|s| s.contains(says)), "{q}: {v}");
    }
    for (pairs, says) in [
        (("limit", "10001"), "0 to 10000"),
        (("stats", "user.name"), "is text"),
        (("top", "user.nam"), "user.name"),
        (("fields", "message,user.nam"), "the field `user.nam` is not known; did you mean `user.name`?"),
        (("fields", "sorce"), "did you mean `source`?"),
        (("fields", "source."), "not known"),
        (("fields", "nothing.like.it"), "fields have ECS names"),
        (("nothing", "1"), "no parameter"),
    ] {
        let a = asked(&d, "/api/v1/search", &[pairs]);
        assert!(a.status == 400 && a.body.contains(says), "{pairs:?}: {}", a.body);
    }
    assert_eq!(asked(&d, "/api/v1/histogram", &[("limit", "1")]).status, 400);
    assert_eq!(d.get("/api/v1/search").status, 401);
}

fn run(d: &Daemon, stopped: bool, args: &[&str]) -> Output {
    command(d, stopped, "search", args)
}

pub fn command(d: &Daemon, stopped: bool, name: &str, args: &[&str]) -> Output {
    let data = d.dir.path().join("data");
    let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
    c.arg(name).args(args).arg("--data").arg(&data);
    if !stopped {
        c.args(["--url", &format!("http://{}", d.http)]);
    }
    c.output().expect("it runs")
}

#[test]
fn the_command_says_the_same_of_a_running_and_of_a_stopped_daemon() {
    let mut d = Daemon::start(HTTP, &[]);
    post(&d, 0..30);
    let asks: [&[&str]; 6] = [
        &["\"sql injection\" and user.name == \"alice\"", "--limit", "4"],
        &["", "--output", "csv", "--fields", "source.ip,message", "--order", "asc"],
        &["injection", "--output", "table", "--since", "2026-11-23T05:00:10Z"],
        &["--top", "user.name", "--output", "table"],
        &["user.name == \"root\"", "--histogram", "--output", "table"],
        &["--stats", "source.port", "--distinct", "user.name"],
    ];
    let running: Vec<Output> = asks.iter().map(|a| run(&d, false, a)).collect();
    let wrong = run(&d, false, &["user.nam == \"x\""]);
    d.stop();
    for (args, want) in asks.iter().zip(&running) {
        let got = run(&d, true, args);
        assert!(want.status.success() && got.status.success(), "{args:?}: {want:?} {got:?}");
        assert_eq!(String::from_utf8_lossy(&got.stdout), String::from_utf8_lossy(&want.stdout), "{args:?}");
    }
    let text = |i: usize| String::from_utf8_lossy(&running[i].stdout).into_owned();
    assert_eq!(text(0).lines().count(), 4);
    assert!(text(1).starts_with("\"source.ip\",\"message\"\n\"203.0.113.0\",\"Failed password, SQL injection 0\"\n"), "{}", text(1));
    assert!(text(2).starts_with("@timestamp") && text(2).lines().count() == 21, "{}", text(2));
    assert!(text(3).contains("root") && text(4).contains('█') && text(5).contains("\"sum\":435"), "{} {} {}", text(3), text(4), text(5));
    let stopped = run(&d, true, &["user.nam == \"x\""]);
    for out in [&wrong, &stopped] {
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(2) && said.contains("^^^^^^^^") && said.contains("did you mean `user.name`?"), "{said}");
    }
}
