//! `vigild demo` as a user runs it: the story is told, in time, by a real daemon, with the alerts in the right order.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use vigild::demo::night::{Entry, night};
use vigild::demo::shift;

fn demo() -> (Output, Duration) {
    let begin = Instant::now();
    let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
    let out = c.arg("demo").env_remove("VIGILD_LOG").stdin(Stdio::null()).output().expect("it runs");
    (out, begin.elapsed())
}

/// Where each of the words stands in the text, one after the other.
fn in_order(text: &str, words: &[&str]) {
    let mut from = 0;
    for w in words {
        let at = text[from..].find(w).unwrap_or_else(|| panic!("{w:?} does not come, or not in its place, in\n{text}"));
        from += at + w.len();
    }
}

#[test]
fn the_release_night_is_told_and_ends_with_the_attacks_alerts_in_order() {
    let (out, took) = demo();
    let text = String::from_utf8(out.stdout).expect("text");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}\n{said}\n{text}", out.status);
    assert!(said.is_empty(), "{said}");
    assert!(took < Duration::from_secs(20), "it took {took:?}");
    assert!(!text.contains('\x1b'), "no colours in a pipe");

    let (story, table) = text.split_once("\nAlerts\n").expect("a table of alerts");
    in_order(
        story,
        &[
            "First act",
            "OSSEC        vm-devops: Git commit detected",
            "-> deployment-started",
            "GitHub ",
            "Vault ",
            "Harbor ",
            "Argo CD ",
            "Falco ",
            "ClamAV ",
            "The rollout is over: ",
            " records, 0 alerts of at least medium.",
            "Second act",
            "ModSecurity ",
            "Suricata ",
            "-> waf-attack-not-blocked high",
            "OSSEC ",
            "Fail2ban ",
            "-> login-after-bruteforce critical",
            "-> webshell-chain critical",
            "-> kill-chain-host critical",
            "Falco ",
            "-> shell-spawned-by-server critical",
        ],
    );
    for told in [
        "planned action: rotate-deploy-secrets",
        "=> security_events_total{type=\"deployment\"} 1",
        "=> container_security_scan_score{image=\"react-app:v2.1.7\"} 0.98",
    ] {
        assert!(story.contains(told), "{told:?} is not told in\n{story}");
    }
    in_order(
        table,
        &[
            " deployment-started ",
            " waf-multi-class ",
            " waf-attack-burst ",
            " waf-attack-not-blocked ",
            " attacker-seen-by-three ",
            " ssh-bruteforce ",
            " login-after-bruteforce ",
            " webshell-chain ",
            " kill-chain-host ",
            " persistence-file ",
            " deployment-abuse ",
            " shell-spawned-by-server ",
        ],
    );
    assert!(table.contains("\nsecurity_events_total{type=\"deployment\"} 1"), "{table}");
    assert!(table.contains("\ncontainer_security_scan_score{image=\"react-app:v2.1.7\"} 0.98\n"), "{table}");
    assert!(table.contains(" records, 0 late; "), "{table}");
    let records: u64 = table.lines().find_map(|l| l.strip_suffix(" signals.")?.split(' ').next()?.parse().ok()).expect("a count");
    assert!(records > 4000, "{records}");
}

#[test]
fn nothing_is_left_of_the_instance() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
    let out = c.arg("demo").env("TMPDIR", dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).output().expect("it runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("a folder").flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Runs `vigild replay` over records, each format in a file of its own; the alerts in order, as rule, key and severity.
fn replay(records: impl Iterator<Item = Entry>) -> Vec<(String, String, i64)> {
    let dir = tempfile::tempdir().expect("a folder");
    let mut logs: BTreeMap<&str, String> = BTreeMap::new();
    for e in records {
        let log = logs.entry(e.format).or_default();
        log.push_str(&e.text);
        log.push('\n');
    }
    let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
    c.args(["replay", "--config", concat!(env!("CARGO_MANIFEST_DIR"), "/demo/vigild.toml")]);
    for (name, text) in logs {
        let file = dir.path().join(name);
        std::fs::write(&file, text).expect("written");
        c.arg(file);
    }
    let out = c.stdin(Stdio::null()).output().expect("it runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let alert = |l: &str| {
        let v: serde_json::Value = serde_json::from_str(l).expect("an alert");
        (v["rule"]["id"].as_str().expect("a rule").to_owned(), v["alert"]["key"].to_string(), v["event"]["severity"].as_i64().expect("a severity"))
    };
    String::from_utf8_lossy(&out.stdout).lines().map(alert).collect()
}

#[test]
fn the_first_act_alone_raises_nothing_of_at_least_medium() {
    let act = |e: &Entry| e.second() < shift::at("18:42:00").expect("a time");
    let alerts = replay(night().into_iter().filter(act));
    assert!(alerts.iter().any(|a| a.0 == "deployment-started"), "{alerts:?}");
    assert!(alerts.iter().all(|a| a.2 < 47), "{alerts:?}");
}

#[test]
fn the_harmless_events_change_nothing() {
    let quiet = replay(night().into_iter().filter(|e| e.story));
    assert_eq!(quiet, replay(night().into_iter()));
    assert!(quiet.iter().any(|a| a.0 == "shell-spawned-by-server"), "{quiet:?}");
}

#[test]
fn it_stays_when_asked_and_takes_its_daemon_along_when_told_to_stop() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut c = Command::new(env!("CARGO_BIN_EXE_vigild"));
    let mut child = c.args(["demo", "--stay"]).env("TMPDIR", dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let http = lines.find_map(|l| l.trim().strip_prefix("metrics  http://")?.strip_suffix("/metrics").map(str::to_owned)).expect("an address");
    let token = lines.find_map(|l| l.trim().strip_prefix("token    ").map(str::to_owned)).expect("a path");
    assert_eq!(std::fs::read_to_string(token).expect("a token").trim().len(), 64);
    let mut s = TcpStream::connect(&http).expect("it listens");
    s.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    s.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("it runs").success());
    assert!(child.wait().expect("a child").success());
    assert!(TcpStream::connect(&http).is_err(), "nobody listens any more");
    assert!(std::fs::read_dir(dir.path()).expect("a folder").next().is_none());
}
