//! What the shipped binary says about itself: sources that fall silent or are not understood, and what `vigild sources` shows.

use crate::daemon::Daemon;
use serde_json::Value;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The alerts of a rule, by the API.
fn alerts(d: &Daemon, rule: &str) -> Vec<Value> {
    let head = format!("GET /api/v1/alerts?rule={rule}&limit=100 HTTP/1.0\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", d.token());
    let v: Value = serde_json::from_str(&d.ask(&head, b"").body).expect("JSON");
    v["alerts"].as_array().cloned().unwrap_or_default()
}

fn sources(d: &Daemon, args: &[&str]) -> Output {
    let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
    c.arg("sources").args(args).arg("--url").arg(format!("http://{}", d.http)).arg("--data").arg(d.dir.path().join("data"));
    c.stdin(Stdio::null()).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn silence_and_failures_to_parse_are_told_once_and_shown() {
    let config = "[[source]]\nkind = \"http\"\nsilent_after = \"1s\"\nformat = \"falco\"\n";
    let mut d = Daemon::start(config, &[]);
    assert_eq!(d.post("/api/v1/ingest/falco", "", b"nonsense\n".repeat(40).as_slice()).status, 200);
    d.wait("both are told", |d| alerts(d, "vigild-source-silent").len() == 1 && alerts(d, "vigild-parse-failures").len() == 1);
    std::thread::sleep(Duration::from_secs(3));
    for rule in ["vigild-source-silent", "vigild-parse-failures"] {
        let all = alerts(&d, rule);
        assert_eq!((all.len(), &all[0]["alert"]["key"]["source"], &all[0]["alert"]["count"].is_u64()), (1, &"http".into(), &true), "{all:?}");
    }
    let shown = text(&sources(&d, &[]).stdout);
    for part in [
        "NAME",
        "http  http  40",
        "0 %",
        "http: it has sent nothing for longer than its `silent_after` of 1.0 s",
        "http: 40 of 40 records were taken by no parser",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let line: Value = serde_json::from_slice(&sources(&d, &["--output", "ndjson"]).stdout).expect("one line of JSON");
    assert_eq!((&line["name"], &line["kind"], &line["records"], &line["silent"]), (&"http".into(), &"http".into(), &40.into(), &true.into()));

    let silent = alerts(&d, "vigild-source-silent")[0]["event"]["id"].clone();
    d.restart();
    std::thread::sleep(Duration::from_secs(3));
    let all = alerts(&d, "vigild-source-silent");
    assert_eq!((all.len(), &all[0]["event"]["id"]), (1, &silent), "the same alert is open: {all:?}");
    assert_eq!(alerts(&d, "vigild-parse-failures").len(), 1);
    d.stop();
    assert_eq!(sources(&d, &[]).status.code(), Some(5), "nobody answers");
}

#[test]
fn a_source_of_a_wrong_zone_is_said_in_words() {
    let mut d = Daemon::start("[[source]]\nkind = \"http\"\nzone = \"+02:00\"\n", &[]);
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let line = format!("{} vm-prod app[7]: hello\n", now.strftime("%b %e %H:%M:%S"));
    for _ in 0..25 {
        assert_eq!(d.post("/api/v1/ingest/syslog", "", line.as_bytes()).status, 200);
    }
    d.wait("it is noticed", |d| {
        text(&sources(d, &[]).stdout).contains("events are 120 min behind their arrival: its zone is probably wrong; set `zone`")
    });
}
