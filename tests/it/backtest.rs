//! A backtest against a replay of everything: the same alerts, byte for byte, whatever the index covers.

use crate::daemon::Daemon;
use crate::search::corpus::Corpus;
use crate::searching::{HTTP, command, post};
use crate::streams::seeds;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use vigild::alert::Alert;
use vigild::backtest::{Bounds, Trial, run};
use vigild::disk::sim::Dice;
use vigild::engine::Options;
use vigild::engine::collect::Collected;
use vigild::event::{Batch, Record, Schema, Timestamp};
use vigild::journal::{Records, What};
use vigild::parse::{Context, Format, declared};
use vigild::pipeline::bundle::Loaded;
use vigild::rule::{RuleSet, load};
use vigild::search::{Ground, Range};
use vigild::worker::{FILE_LATENESS, Origin, Row, Worker};

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

fn options(today: &Loaded) -> Options {
    Options { budget: today.state.budget, keys: today.state.keys_per_rule, waiting: today.state.waiting, ..Options::default() }
}

/// One record of a stream.
struct One {
    seq: u64,
    time: Timestamp,
    row: Row,
    batch: Arc<Batch>,
    record: Record,
    head: Arc<Records>,
    loaded: Arc<Loaded>,
}

/// Every record is parsed; the stream whose next is the oldest goes first, as `replay` does it.
fn replay(c: &Corpus, rules: &Arc<RuleSet>, range: &Range) -> Vec<String> {
    let today = c.past.today();
    let mut worker = Worker::new(rules.clone(), &today.formats, today.estate.clone(), options(&today));
    let mut streams: BTreeMap<String, std::collections::VecDeque<One>> = BTreeMap::new();
    for e in c.journal.reader().entries(1).map(|e| e.expect("whole")) {
        let What::Records(r) = e.what else { continue };
        let loaded = c.past_at(e.lsn);
        let mut schema = rules.schema.clone();
        let (formats, _) = declared::Formats::load(&loaded.format_texts, &mut schema);
        let mut parsers = worker.parsers(&formats);
        let (batch, head) = (Arc::new(r.batch.clone()), Arc::new(r));
        for (i, &record) in batch.records.iter().enumerate() {
            let mut row = Row::default();
            let said = worker.parse_by(&mut parsers, &batch, record, &origin(&loaded, &head), &mut row);
            let time = if said.0 > head.received.0 + 300_000_000_000 { head.received } else { said };
            if range.holds(time) {
                let one = One { seq: e.seq + i as u64, time, row, batch: batch.clone(), record, head: head.clone(), loaded: loaded.clone() };
                streams.entry(head.stream.to_string()).or_default().push_back(one);
            }
        }
    }
    let (mut said, mut got) = (Vec::new(), Collected::default());
    let (names, mut now) = (streams.keys().cloned().collect::<Vec<_>>(), Timestamp::MIN);
    while let Some(s) = streams.values_mut().filter(|s| !s.is_empty()).min_by_key(|s| s[0].time) {
        let mut one = s.pop_front().expect("it is not empty");
        // No stream has anything older than the oldest of what comes next.
        if one.time > now {
            now = one.time;
            worker.come(names.iter().map(String::as_str), FILE_LATENESS, now, &mut said);
        }
        worker.set_seq(one.seq - 1);
        worker.feed_at(one.time, &one.batch, one.record, &origin(&one.loaded, &one.head), &mut one.row, &mut said);
        got.take(&mut said);
    }
    worker.engine().finish(&mut said);
    got.take(&mut said);
    lines(rules, &got.finish())
}

fn origin<'a>(loaded: &'a Loaded, r: &'a Records) -> Origin<'a> {
    let setting = loaded.source(&r.source);
    let format = r.format.as_deref().and_then(|f| Format::named(f, &loaded.formats));
    let ctx = Context { zone: &setting.zone, near: r.near, named: format.is_some(), estate: &setting.estate };
    Origin { ctx, format, stream: &r.stream, lateness: FILE_LATENESS, received: Some(r.received) }
}

fn campaign(seeds: std::ops::Range<u64>) {
    let (mut alerts, mut read, mut events) = (0, 0, 0);
    for seed in seeds {
        let mut d = Dice(seed);
        let c = Corpus::new(&mut d);
        let today = c.past.today();
        let all = rules(&today);
        let (reader, stop) = (c.journal.reader(), AtomicBool::new(false));
        let ground = Ground { reader: &reader, index: &c.index, past: &c.past, stop: &stop };
        for of in 0..all.rules.len() {
            let (set, _) = vigild::ruletest::upstream(&all, &[of]);
            let set = Arc::new(set);
            let instant = |d: &mut Dice| d.one_in(3).then(|| Timestamp(vigild::r#gen::START.0 + d.below(600) as i64 * 1_000_000_000));
            let range = Range { since: instant(&mut d), until: instant(&mut d), last_lsn: c.last.0, last_seq: c.last.1 };
            let held = if d.one_in(2) { 1 + d.below(20) as usize } else { Bounds::default().held };
            let trial = Trial { rules: set.clone(), today: &today, bounds: Bounds { held, ..Bounds::default() } };
            let ran = run(&ground, range, &trial, &mut |_| Ok(())).expect("no fault");
            let (got, want) = (lines(&set, &ran.alerts), replay(&c, &set, &range));
            let id = &all.rules[of].id;
            assert_eq!(got, want, "rule {id} in {range:?}, {held} held (tests/run --long backtest --seeds {seed}..{})", seed + 1);
            assert!(ran.missing.is_empty() && !ran.cut && ran.read <= ran.events, "{id}");
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
