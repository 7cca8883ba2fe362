//! What was sent, stored and told, compared.

use super::estate::{Estate, stop};
use super::senders::{Accepted, number};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command};
use std::time::Duration;

/// When nobody sends any more: waits until all is final, stops the daemon, and compares what was sent, stored and told: how many
/// records are stored, how many are alerted on, and how many alerts of the rule that counts there are. Of the jails in `whole`
/// every record must be there, of those in `sent` no more than so many.
pub fn judge(
    e: &Estate,
    daemon: &mut Child,
    accepted: &BTreeMap<String, Vec<Accepted>>,
    whole: &BTreeMap<String, u64>,
    sent: &BTreeMap<String, u64>,
    fail: &dyn Fn(&str) -> String,
) -> (usize, usize, usize) {
    // What can be read again is read to its end when its last number has been alerted on, and all is final a while later.
    std::thread::sleep(Duration::from_millis(1500));
    e.wait(&fail("all that can be read again is alerted on, for good"), || {
        // What comes last is among the newest.
        let told = newest(e, "&rule=each");
        let last = |jail: &str, n: u64| told.iter().any(|a| a.0 == jail && a.1 + 1 == n);
        told.iter().all(|a| a.2) && whole.iter().all(|(jail, n)| *n == 0 || last(jail, *n))
    });
    e.wait(&fail("all is final"), || alerts(e, "&rule=each").iter().all(|a| a.2));
    let told = alerts(e, "&rule=each");
    let counted = alerts_of(e, "&rule=many");
    stop(daemon);

    let stored = dump(e);
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for r in stored.values() {
        let (jail, n) = number(r).unwrap_or_else(|| panic!("{}: {r}", fail("a record is as it was sent")));
        numbers.entry(jail).or_default().push(n);
    }
    for (jail, all) in accepted {
        for a in all {
            let there: Vec<u64> = (a.first..=a.last).filter_map(|s| number(stored.get(&s)?)).filter(|(j, _)| j == jail).map(|(_, n)| n).collect();
            assert_eq!(there, a.numbers.clone().collect::<Vec<_>>(), "{}", fail("what was acknowledged is where the answer says"));
        }
    }
    for (jail, all) in &numbers {
        let wrong = (0..all.len()).find(|&i| all[i] != i as u64);
        // Of datagrams some are lost.
        if let Some(i) = wrong.filter(|_| jail != "udp") {
            let near = &all[i.saturating_sub(3)..(i + 6).min(all.len())];
            panic!("{}: at {i} of {}: {near:?}", fail(&format!("{jail} is there once, in order, without a gap")), all.len());
        }
        if let Some(most) = sent.get(jail) {
            assert!(all.len() as u64 <= *most, "{}", fail("no more than was sent"));
        }
    }
    for (jail, n) in whole {
        assert_eq!(numbers.get(jail).map_or(0, |all| all.len() as u64), *n, "{}", fail(&format!("every record of {jail}")));
    }
    // Every record one alert, no alert without a record.
    let want: BTreeSet<(String, u64)> = numbers.iter().flat_map(|(j, all)| all.iter().map(|n| (j.clone(), *n))).collect();
    let got: BTreeSet<(String, u64)> = told.iter().map(|a| (a.0.clone(), a.1)).collect();
    assert_eq!(told.len(), got.len(), "{}", fail("no alert twice"));
    let lost: Vec<_> = want.difference(&got).take(5).collect();
    let more: Vec<_> = got.difference(&want).take(5).collect();
    assert!(lost.is_empty() && more.is_empty(), "{}: lost {lost:?}, invented {more:?}", fail("every record is alerted on"));
    // A line that was written twice has the same id, and every alert's last line says that it is final.
    let ids = lines(e);
    let missing = told.iter().filter(|a| !ids.contains(&a.3)).count();
    assert_eq!(missing, 0, "{}", fail("every alert was written as a line"));
    (stored.len(), told.len(), counted.len())
}

/// An alert: jail, number, whether final, id.
type Told = (String, u64, bool, String);

fn told(a: &Value) -> Told {
    let text = |p: &str| a.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
    let ip = a.pointer("/alert/key/client.ip").and_then(Value::as_str).unwrap_or_default();
    let n = ip.split('.').skip(1).fold(0, |n, p| n << 8 | p.parse::<u64>().unwrap_or(0));
    (text("/alert/key/rule.name"), n, a.pointer("/alert/final").and_then(Value::as_bool).unwrap_or(false), text("/event/id"))
}

/// Alerts of a rule.
pub fn alerts(e: &Estate, filter: &str) -> Vec<Told> {
    alerts_of(e, filter).iter().map(told).collect()
}

/// The newest alerts of a rule.
fn newest(e: &Estate, filter: &str) -> Vec<Told> {
    page(e, &format!("{filter}&order=desc")).map_or(Vec::new(), |v| v["alerts"].as_array().into_iter().flatten().map(told).collect())
}

/// A page of alerts.
fn page(e: &Estate, filter: &str) -> Option<Value> {
    let Ok((200, body)) = e.ask("GET", &format!("/api/v1/alerts?limit=10000{filter}"), "", b"") else { return None };
    Some(serde_json::from_str(&body).expect("JSON"))
}

pub fn alerts_of(e: &Estate, filter: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let Some(v) = page(e, &format!("&order=asc{filter}{cursor}")) else { return Vec::new() };
        all.extend(v["alerts"].as_array().cloned().unwrap_or_default());
        match v["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// The ids of the lines in the alerts file; a line that a kill has cut is none.
pub fn lines(e: &Estate) -> BTreeSet<String> {
    let f = BufReader::new(File::open(e.dir.join("alerts.jsonl")).expect("a file"));
    let id = |l: String| serde_json::from_str::<Value>(&l).ok()?.pointer("/event/id").and_then(Value::as_str).map(str::to_owned);
    f.lines().map_while(Result::ok).filter_map(id).collect()
}

/// All records of the journal by their number, which must have no gap.
pub fn dump(e: &Estate) -> BTreeMap<u64, String> {
    let out = Command::new(env!("CARGO_BIN_EXE_vigild")).args(["journal", "dump", "--data"]).arg(&e.data).output().expect("it runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut all = BTreeMap::new();
    for l in out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let v: Value = serde_json::from_slice(l).expect("JSON");
        let seq = v["seq"].as_u64().expect("a number");
        for (i, r) in v["records"].as_array().into_iter().flatten().enumerate() {
            assert!(all.insert(seq + i as u64, r.as_str().unwrap_or_default().to_owned()).is_none(), "a number is given once");
        }
    }
    if let (Some((first, _)), Some((last, _))) = (all.first_key_value(), all.last_key_value()) {
        assert_eq!(last - first + 1, all.len() as u64, "numbers have no gap");
    }
    all
}
