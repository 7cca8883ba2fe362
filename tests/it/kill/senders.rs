//! Those who send to a daemon that is killed, and what each knows in the end of what it sent.

use super::estate::Estate;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A record of Fail2ban that carries a jail and a number of its own.
pub fn record(jail: &str, n: u64) -> String {
    let at = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S,%3f");
    format!("{at} fail2ban.filter [1]: INFO [{jail}] Found 10.{}.{}.{} - 2026-11-24 00:00:00", n >> 16 & 255, n >> 8 & 255, n & 255)
}

/// Jail and number of a record.
pub fn number(record: &str) -> Option<(String, u64)> {
    let (_, rest) = record.split_once("INFO [")?;
    let (jail, rest) = rest.split_once("] Found 10.")?;
    let mut n = 0;
    for part in rest.split_whitespace().next()?.split('.') {
        n = n << 8 | part.parse::<u64>().ok()?;
    }
    Some((jail.to_owned(), n))
}

/// A small generator, so that a seed is a campaign.
pub struct Dice(pub u64);

impl Dice {
    /// A number from 0, less than this.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A request that was answered with 200: its jail's numbers, and the sequence numbers it was told.
pub struct Accepted {
    pub numbers: std::ops::Range<u64>,
    pub first: u64,
    pub last: u64,
}

/// Sends batches, each under a key, again and again until it is acknowledged.
pub fn http_sender(e: &Estate, jail: &str) -> Vec<Accepted> {
    let (mut n, mut all) = (0, Vec::new());
    while e.on() {
        let numbers = n..n + 1 + n % 7;
        let body: String = numbers.clone().map(|i| record(jail, i) + "\n").collect();
        let key = format!("idempotency-key: {jail}-{n}\r\n");
        loop {
            match e.ask("POST", "/api/v1/ingest/fail2ban", &key, body.as_bytes()) {
                Ok((200, answer)) => {
                    let v: Value = serde_json::from_str(&answer).expect("JSON");
                    let of = |k: &str| v[k].as_u64().unwrap_or_else(|| panic!("no {k} in {answer}"));
                    assert_eq!(of("accepted"), numbers.end - numbers.start, "{answer}");
                    all.push(Accepted { numbers: numbers.clone(), first: of("first"), last: of("last") });
                    e.acknowledged.fetch_add(numbers.end - numbers.start, Ordering::Relaxed);
                    break;
                }
                // 409: the first attempt has not been answered yet.
                Ok((409 | 429 | 503 | 507, _)) | Err(_) if e.on() => std::thread::sleep(Duration::from_millis(10)),
                Ok((409 | 429 | 503 | 507, _)) | Err(_) => return all,
                Ok((status, body)) => panic!("{status}: {body}"),
            }
        }
        n = numbers.end;
        e.rest(2);
    }
    all
}

/// Appends numbered lines to a file that is rotated by renaming; how many it wrote.
pub fn file_writer(e: &Estate, seed: u64) -> u64 {
    let mut dice = Dice(seed);
    let (mut n, mut rotations) = (0, 0);
    let mut f = OpenOptions::new().append(true).open(&e.log).expect("the file");
    while e.on() {
        for _ in 0..1 + dice.below(8) {
            let line = record("file", n) + "\n";
            // A line comes in two writes now and then.
            let cut = if dice.below(4) == 0 { dice.below(line.len() as u64) as usize } else { 0 };
            f.write_all(&line.as_bytes()[..cut]).expect("written");
            f.write_all(&line.as_bytes()[cut..]).expect("written");
            n += 1;
        }
        if dice.below(400) == 0 {
            rotations += 1;
            fs::rename(&e.log, e.dir.join(format!("fail2ban.log.{rotations}"))).expect("renamed");
            f = OpenOptions::new().create(true).append(true).open(&e.log).expect("the file");
        }
        e.rest(5);
    }
    n
}

/// Sends numbered lines over connections, each with a jail of its own; how many it wrote of each at most.
pub fn tcp_sender(e: &Estate) -> BTreeMap<String, u64> {
    let mut sent = BTreeMap::new();
    let mut connection = 0;
    while e.on() {
        let Ok(mut s) = TcpStream::connect(e.syslog) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        connection += 1;
        let jail = format!("tcp{connection}");
        let mut n = 0;
        while e.on() && n < 200_000 {
            let lines: String = (n..n + 5).map(|i| record(&jail, i) + "\n").collect();
            if s.write_all(lines.as_bytes()).is_err() {
                break;
            }
            n += 5;
            e.rest(8);
        }
        // The last write may have been taken in part.
        sent.insert(jail, n + 5);
    }
    sent
}

/// Lets rules that mean the same hold under other titles, again and again: how often.
pub fn reloader(e: &Estate) -> u64 {
    let (mut n, mut reloads) = (0, 0);
    while e.on() {
        n += 1;
        e.retitle(n);
        reloads += u64::from(e.ask("POST", "/api/v1/reload", "", b"").is_ok_and(|(status, _)| status == 200));
        e.rest(400);
    }
    reloads
}
