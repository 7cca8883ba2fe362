//! A backtest against a replay of everything: the same alerts, byte for byte, whatever the index covers.

mod builtin;
mod naive;

use crate::daemon::Daemon;
use crate::search::corpus::Corpus;
use crate::searching::{HTTP, command, post};
use crate::streams::seeds;
use naive::Watermark;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use vigild::alert::Alert;
use vigild::backtest::{Bounds, Cut, Ran, Report, Trial, run};
use vigild::disk::sim::Dice;
use vigild::event::{Schema, Timestamp};
use vigild::parse::declared;
use vigild::pipeline::bundle::Loaded;
use vigild::rule::{RuleSet, load};
use vigild::search::{Ground, Missing, Range};

/// Rules of every kind over what the corpus has; the last two listen to others.
const RULES: &str = r#"
[[rule]]
id = "single"
title = "t"
severity = "low"
rearm = "every"
where = 'user.name : "root" and event.severity >= 60'
[[rule]]
id = "text"
title = "t"
severity = "low"
rearm = { cooldown = "1m", by = ["source.ip"] }
where = '"failed password" or "sql injection"'
[[rule]]
id = "count"
title = "t"
severity = "low"
where = 'event.action in ["login", "ssh-login"]'
by = ["source.ip"]
count = { at_least = 2, within = "5m" }
[[rule]]
id = "distinct"
title = "t"
severity = "low"
where = 'source.ip in cidr("192.0.2.0/24")'
by = ["tags"]
distinct = { field = "user.name", at_least = 2, within = "10m" }
rearm = { cooldown = "2m" }
[[rule]]
id = "own"
title = "t"
severity = "low"
where = 'suricata.thing == 7 or falco.thing : "x"'
by = ["event.action"]
missing = "null"
count = { at_least = 2, within = "8m" }
rearm = "every"
[[rule]]
id = "named"
title = "t"
severity = "low"
where = 'user.name exists'
by = ["user.name"]
count = { at_least = 2, within = "2m" }
rearm = "every"
[[rule]]
id = "everything"
title = "t"
severity = "low"
where = 'not event.module == "nothing"'
by = ["event.module"]
missing = "null"
count = { at_least = 20, within = "10m" }
[[rule]]
id = "steps"
title = "t"
severity = "low"
by = ["source.ip"]
[rule.sequence]
within = "10m"
[[rule.sequence.step]]
rule = "count"
[[rule.sequence.step]]
where = 'event.severity >= 21'
[[rule]]
id = "both"
title = "t"
severity = "low"
[rule.all_of]
within = "5m"
[[rule.all_of.step]]
rule = "single"
[[rule.all_of.step]]
where = 'tags == "web"'
"#;

fn rules(today: &Loaded) -> Arc<RuleSet> {
    let mut schema = Schema::default();
    declared::Formats::load(&today.format_texts, &mut schema);
    let (set, said) = load::load(&[("r.toml".into(), RULES.into())], &today.estate, schema, &|_| Err("none".into()));
    assert!(said.iter().all(|d| d.level != vigild::diag::Level::Error), "{said:#?}");
    Arc::new(set)
}

fn lines(rules: &RuleSet, alerts: &[Alert]) -> Vec<String> {
    let line = |a: &Alert| {
        let mut l = Vec::new();
        a.write(rules, None, &mut l);
        String::from_utf8(l).expect("UTF-8")
    };
    alerts.iter().map(line).collect()
}

/// Every record but those of `missing`, as `replay` takes them.
fn replay(c: &Corpus, rules: &Arc<RuleSet>, range: &Range, missing: &[Missing]) -> Vec<String> {
    let today = c.past.today();
    let reader = c.journal.reader();
    let holds = |seq, t| range.holds(t) && !missing.iter().any(|m| (m.first..=m.last).contains(&seq));
    lines(rules, &naive::replay(&reader, &today, &|lsn| c.past_at(lsn), rules, &holds, Watermark::Told))
}

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(600), candidates: 512 << 10, alerts: 100_000 };

fn all(c: &Corpus) -> Range {
    Range { since: None, until: None, last_lsn: c.last.0, last_seq: c.last.1 }
}

/// These rules over a range of the corpus.
fn tried(c: &Corpus, rules: &Arc<RuleSet>, range: Range, bounds: Bounds) -> Ran {
    let (reader, stop, today) = (c.journal.reader(), AtomicBool::new(false), c.past.today());
    let ground = Ground { reader: &reader, index: &c.index, past: &c.past, stop: &stop };
    let trial = Trial { rules: rules.clone(), today: &today, bounds, end: bounds.end() };
    let (mut done, mut on) = (0.0, 0);
    let ran = run(&ground, range, &trial, &mut |share| {
        assert!((0.0..=1.0).contains(&share) && share >= done, "{share} behind {done}");
        (done, on) = (share, on + 1);
        Ok(())
    });
    assert!(done == 1.0 && on > 0);
    ran.expect("no fault")
}

fn campaign(seeds: std::ops::Range<u64>) {
    let (mut alerts, mut read, mut events) = (0, 0, 0);
    for seed in seeds {
        let mut d = Dice(seed);
        let c = Corpus::new(&mut d);
        let today = c.past.today();
        let all = rules(&today);
        for of in 0..all.rules.len() {
            let (set, _) = vigild::ruletest::upstream(&all, &[of]);
            let set = Arc::new(set);
            let instant = |d: &mut Dice| d.one_in(3).then(|| Timestamp(vigild::r#gen::START.0 + d.below(600) as i64 * 1_000_000_000));
            let range = Range { since: instant(&mut d), until: instant(&mut d), last_lsn: c.last.0, last_seq: c.last.1 };
            let held = if d.one_in(2) { 1 + d.below(20) as usize } else { BOUNDS.candidates };
            let ran = tried(&c, &set, range, Bounds { candidates: held, ..BOUNDS });
            let (got, want) = (lines(&set, &ran.alerts), replay(&c, &set, &range, &[]));
            let id = &all.rules[of].id;
            assert_eq!(got, want, "rule {id} in {range:?}, {held} held (tests/run --long backtest --seeds {seed}..{})", seed + 1);
            assert!(ran.missing.is_empty() && ran.cut.is_none() && ran.read <= ran.events, "{id}");
            (alerts, read, events) = (alerts + got.len(), read + ran.read, events + ran.events);
        }
    }
    println!("{alerts} alerts; {read} of {events} records were read");
    assert!(alerts > 0 && read * 10 < events * 9, "there are alerts, and not everything is read");
}

#[test]
fn a_backtest_is_a_replay_of_everything() {
    campaign(0..12);
}

#[test]
fn what_a_slice_does_not_give_is_missing_and_the_rest_is_judged() {
    let (mut damaged, mut less, mut same) = (0, 0, 0);
    for seed in 0..24 {
        let mut d = Dice(seed);
        let c = Corpus::new(&mut d);
        let today = c.past.today();
        let all_rules = rules(&today);
        let slices = c.index.slices();
        let s = slices.iter().max_by_key(|s| s.docs()).expect("there are slices");
        // In its place: the slice has it open.
        let file = std::fs::OpenOptions::new().write(true).open(s.dir().join("sets.bin")).expect("open");
        file.set_len(8).expect("cut");
        let (first, next) = s.manifest().seqs;
        for of in all_rules.rules.iter().enumerate().filter(|(_, r)| ["named", "single", "text"].contains(&&*r.id)).map(|(i, _)| i) {
            let set = Arc::new(vigild::ruletest::upstream(&all_rules, &[of]).0);
            let ran = tried(&c, &set, all(&c), BOUNDS);
            let (got, want) = (lines(&set, &ran.alerts), replay(&c, &set, &all(&c), &ran.missing));
            assert_eq!(got, want, "seed {seed}: rule {}", all_rules.rules[of].id);
            let report = Report::new(&ran, &[]);
            assert_eq!(report.complete, ran.missing.is_empty());
            if let Some(m) = ran.missing.first() {
                assert_eq!((ran.missing.len(), m.first, m.last), (1, first, next - 1), "seed {seed}");
                assert!(report.missing[0].contains("the index cannot be read"), "{:?}", report.missing);
                assert_eq!(c.index.damaged(), 1, "it is put aside");
                damaged += 1;
                less += usize::from(ran.alerts.len() < tried_whole(&c, &set));
            } else {
                same += 1;
            }
        }
    }
    // What is put aside is read in the journal from then on.
    assert!(damaged > 12 && less > 4 && same > 20, "{damaged} met the damage, {less} of them found less, {same} did not need what is gone");
}

/// How many alerts a replay of everything has.
fn tried_whole(c: &Corpus, rules: &Arc<RuleSet>) -> usize {
    replay(c, rules, &all(c), &[]).len()
}

#[test]
fn a_backtest_that_is_cut_says_so() {
    let mut d = Dice(3);
    let c = Corpus::new(&mut d);
    let set = rules(&c.past.today());
    let ran = tried(&c, &set, all(&c), Bounds { time: Duration::ZERO, ..BOUNDS });
    assert_eq!((ran.cut, ran.alerts.len(), ran.read), (Some((Cut::Time, None)), 0, 0));
    let report = Report::new(&ran, &[]);
    assert_eq!((report.complete, report.cut), (false, Some("time")));
    assert_eq!(report.missing, ["it took longer than `[backtest] time` allows: no event is judged"]);
    let whole = tried(&c, &set, all(&c), BOUNDS);
    let ran = tried(&c, &set, all(&c), Bounds { alerts: 3, ..BOUNDS });
    assert!(whole.alerts.len() > 10 && ran.alerts.len() < whole.alerts.len() && ran.read < whole.read, "{} alerts", ran.alerts.len());
    let Some((Cut::Alerts, Some(at))) = ran.cut else { panic!("{:?}", ran.cut) };
    let report = Report::new(&ran, &[]);
    assert_eq!(report.missing, [format!("there were more alerts than `[backtest] alerts` allows: events behind {at} are not judged")]);
    // Whoever has gone ends it.
    let (reader, stop, today) = (c.journal.reader(), AtomicBool::new(true), c.past.today());
    let ground = Ground { reader: &reader, index: &c.index, past: &c.past, stop: &stop };
    let trial = Trial { rules: set, today: &today, bounds: BOUNDS, end: BOUNDS.end() };
    assert_eq!(run(&ground, all(&c), &trial, &mut |_| Ok(())).err().map(|e| e.kind()), Some(std::io::ErrorKind::Interrupted));
}

#[test]
fn progress_comes_in_lines_to_those_who_want_them() {
    let d = Daemon::start(&format!("{HTTP}[backtest]\nalerts = 2\nbody_bytes = 2000\n"), &[]);
    post(&d, 0..30);
    let rule = "[[rule]]\nid = \"r\"\ntitle = \"R\"\nseverity = \"low\"\nrearm = \"every\"\nwhere = 'user.name == \"alice\"'\n";
    let body = |text: &str| serde_json::json!({ "files": [["r.toml", text]], "since": null, "until": null, "except": null }).to_string();
    let asked = |accept: &str, text: &str| d.post("/api/v1/backtest", accept, body(text).as_bytes());
    let plain = asked("", rule);
    assert!(plain.status == 200 && plain.head.contains("content-type: application/json"), "{} {}", plain.head, plain.body);
    let report: serde_json::Value = serde_json::from_str(&plain.body).expect("JSON");
    assert_eq!((&report["complete"], &report["cut"]), (&false.into(), &"alerts".into()), "{report}");
    assert!(report["missing"][0].as_str().is_some_and(|m| m.contains("`[backtest] alerts`")), "{report}");
    let lines = asked("accept: application/x-ndjson\r\n", rule);
    assert!(lines.status == 200 && lines.head.contains("content-type: application/x-ndjson"), "{} {}", lines.head, lines.body);
    let objects: Vec<serde_json::Value> =
        lines.body.lines().filter_map(|l| serde_json::from_str(l).ok()).filter(serde_json::Value::is_object).collect();
    let (last, before) = objects.split_last().expect("lines");
    assert_eq!(last["report"], report);
    assert!(!before.is_empty() && before.iter().all(|l| l["progress"].as_f64().is_some_and(|p| (0.0..=1.0).contains(&p))), "{}", lines.body);
    for (text, status, says) in [(rule.replace("user.name", "user.nam"), 422, "did you mean"), (" ".repeat(2000), 413, "[backtest] body_bytes")] {
        for accept in ["", "accept: application/x-ndjson\r\n"] {
            let a = asked(accept, &text);
            assert!(a.status == status && a.body.contains(says), "{} {}", a.status, a.body);
        }
    }
    for (outcome, n) in [("alerts", 2.0), ("wrong", 2.0)] {
        assert_eq!(d.metric(&format!("vigild_backtests_total{{outcome=\"{outcome}\"}}")), n);
    }
}

#[test]
fn the_command_tells_what_a_rule_would_have_fired() {
    let mut d = Daemon::start(HTTP, &[]);
    post(&d, 0..30);
    let rule = |at_least: u32| {
        format!(
            "[[rule]]\nid = \"tried\"\ntitle = \"Tried\"\nseverity = \"low\"\nwhere = '\"failed password\" and user.name == \"alice\"'\n\
             by = [\"user.name\"]\ncount = {{ at_least = {at_least}, within = \"10s\" }}\nrearm = {{ cooldown = \"5s\" }}\n"
        )
    };
    let path = d.dir.path().join("tried.toml");
    std::fs::write(&path, rule(3)).expect("written");
    let path = path.to_str().expect("UTF-8");
    let asks: [&[&str]; 3] =
        [&[path], &[path, "--against", "--since", "2026-11-23T05:00:10Z"], &[path, "--except", "source.port >= 15 and source.port < 25"]];
    let running: Vec<_> = asks.iter().map(|a| command(&d, false, "backtest", a)).collect();
    std::fs::write(path, rule(3).replace("user.name ==", "user.nam ==")).expect("written");
    let wrong = command(&d, false, "backtest", &[path]);
    d.stop();
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(wrong.status.code() == Some(3) && said.contains("did you mean `user.name`?"), "{said}");
    assert_eq!(command(&d, true, "backtest", &[path]).status.code(), Some(3));
    std::fs::write(path, rule(3)).expect("written");
    for (args, want) in asks.iter().zip(&running) {
        let got = command(&d, true, "backtest", args);
        assert!(want.status.success() && got.status.success(), "{args:?}: {want:?} {got:?}");
        assert_eq!(String::from_utf8_lossy(&got.stdout), String::from_utf8_lossy(&want.stdout), "{args:?}");
    }
    let report = |i: usize| serde_json::from_slice::<serde_json::Value>(&running[i].stdout).expect("JSON");
    let all = report(0);
    // Alice fails at 0, 3, … 27: the third is at 6, and 5 seconds later it may fire again.
    assert_eq!((&all["events"], &all["complete"]), (&30.into(), &true.into()), "{all}");
    let tried = &all["rules"][0];
    assert_eq!((&tried["alerts"], &tried["days"]), (&4.into(), &serde_json::json!([{ "day": "2026-11-23", "alerts": 4 }])), "{all}");
    assert_eq!(tried["keys"], serde_json::json!([{ "key": { "user.name": "alice" }, "alerts": 4 }]));
    let times: Vec<&str> = tried["first"].as_array().expect("a list").iter().filter_map(|a| a["@timestamp"].as_str()).collect();
    assert_eq!(times, ["06", "12", "18", "24"].map(|s| format!("2026-11-23T05:00:{s}.000000Z")));
    let later = report(1);
    assert_eq!((&later["events"], &later["rules"][0]["against"]), (&20.into(), &serde_json::Value::Null), "no rule of that id is in force: {later}");
    let with = report(2);
    assert_eq!(with["rules"][0]["exception"]["alerts"], 2, "{with}");
}

#[test]
#[ignore = "a campaign, run by tests/run --long backtest --seeds A..B"]
fn long_backtest() {
    campaign(seeds(0..100));
}
