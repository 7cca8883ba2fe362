//! A journal of random records under two bundles, and an index of parts of it.

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;
use vigild::config::Config;
use vigild::disk::Real;
use vigild::disk::sim::Dice;
use vigild::event::{Arena, Batch, Event, Layout, Out, Schema, Slot, Timestamp, Type, Value, field};
use vigild::r#gen::{Form, Recipe, START, Stream};
use vigild::index::{self, Builder, Common, From, Index, Plan, Record};
use vigild::journal::{Address, Journal, Options, Records, What};
use vigild::parse::{Context, Format, Parsers};
use vigild::pipeline::bundle::{Bundle, Loaded};
use vigild::pipeline::past::{Eye, Head, Past};
use vigild::pipeline::snapshot::Snapshots;
use vigild::search::page::Key;

const SECOND: i64 = 1_000_000_000;
/// Own-prefix fields that queries name; a rule of the second bundle names the first.
pub const OWN: [&str; 3] = ["suricata.thing", "falco.thing", "modsecurity.own"];

/// A record as it was parsed, with all fields.
pub struct Parsed {
    pub key: Key,
    pub lsn: u64,
    pub last_of_entry: u64,
    batch: Arc<Batch>,
    arena: Arena,
    slots: Vec<Slot>,
}

impl Parsed {
    pub fn event<'a>(&'a self, view: &'a View) -> Event<'a> {
        Event::new(&self.batch.bytes, &self.arena, &self.slots, &view.layout)
    }
}

/// What was recorded under one bundle.
pub struct View {
    pub schema: Schema,
    pub layout: Layout,
    pub records: Vec<Parsed>,
}

pub struct Corpus {
    pub journal: Journal,
    pub index: Index,
    pub past: Past,
    pub views: Vec<View>,
    /// The last entry and the last record.
    pub last: (u64, u64),
    pub dir: TempDir,
}

/// Two bundles: the second reads times in another zone, knows a machine, and names a field of its own.
fn bundles() -> &'static [(Bundle, Arc<Loaded>); 2] {
    static BOTH: OnceLock<[(Bundle, Arc<Loaded>); 2]> = OnceLock::new();
    BOTH.get_or_init(|| {
        let rule = "[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\nrearm = \"every\"\nwhere = 'suricata.thing == 7'\n\
                    [table.people]\nvalues = [\"root\", \"alice\", 22]\n[condition.bad]\nwhere = 'event.severity >= 60'\n";
        let of = |hosts: bool| {
            let mut c = Config::default();
            if hosts {
                c.hosts = vec![vigild::parse::estate::Host {
                    name: "vm-one".into(),
                    aliases: vec!["one".into()],
                    ip: vec!["192.0.2.1".parse().expect("an address")],
                    tags: vec!["prod".into()],
                }];
                c.zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(5));
            }
            let rules = if hosts { vec![("r.toml".to_owned(), rule.to_owned())] } else { Vec::new() };
            let (bundle, loaded, said) = Bundle::of(&c, rules, &|_| Err("none".into()));
            assert!(said.iter().all(|d| d.level != vigild::diag::Level::Error), "{said:#?}");
            (bundle, Arc::new(loaded))
        };
        [of(false), of(true)]
    })
}

/// Records of all tools.
fn mixed() -> &'static Vec<Vec<u8>> {
    static ALL: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut s = Stream::new(&Recipe { forms: Form::MIXED.to_vec(), count: Some(400), start: Some(START), ..Recipe::default() }, 0);
        let (mut all, mut one) = (Vec::new(), Vec::new());
        while s.next(START, &mut one).is_some() {
            all.push(std::mem::take(&mut one));
        }
        all
    })
}

fn pick<'a, T: ?Sized>(d: &mut Dice, all: &[&'a T]) -> &'a T {
    all[d.below(all.len() as u64) as usize]
}

/// A record of ECS JSON with fields that queries meet.
fn ecs(d: &mut Dice) -> Vec<u8> {
    let mut v = serde_json::json!({});
    let time = START.0 + d.below(600) as i64 * SECOND;
    match d.below(10) {
        0 => {}
        1 => v["@timestamp"] = "not a time".into(),
        2 => v["@timestamp"] = "1970-01-01T00:00:00Z".into(),
        3 => v["@timestamp"] = "2100-01-01T00:00:00Z".into(),
        4 => v["@timestamp"] = Timestamp(START.0 + 100 * SECOND).to_string().into(),
        _ => v["@timestamp"] = Timestamp(time + d.below(1000) as i64).to_string().into(),
    }
    let long = format!("{} {}", "w".repeat(40), "long words of a text ".repeat(20));
    let message = [
        "SQL injection in login",
        "Failed password for root from 192.0.2.1 port 22",
        "über STRASSE ΣΑΣ \u{212a}elvin",
        "a-a a,b",
        "sql and injection",
        long.as_str(),
        "login",
    ];
    if !d.one_in(3) {
        v["message"] = pick(d, &message).into();
    }
    if d.one_in(4) {
        v["event"]["original"] = pick(d, &["raw Login\ttext", "{\"sql\":\"injection\"}", "a\nb"]).into();
    }
    if !d.one_in(3) {
        let name = ["root", "Root", "alice", "Ünal", "ünal", "bob smith", "r\u{0}t"];
        v["user"]["name"] = if d.one_in(12) { "x".repeat(200).into() } else { pick(d, &name).into() };
    }
    if !d.one_in(3) {
        v["source"]["ip"] = pick(d, &["192.0.2.1", "192.0.2.200", "::ffff:192.0.2.1", "2001:db8::1", "203.0.113.9"]).into();
        v["source"]["port"] = d.below(4).into();
    }
    if d.one_in(2) {
        let many = if d.one_in(12) { 70 } else { d.below(4) };
        v["tags"] = (0..many).map(|i| if many > 4 { format!("t{i}") } else { pick(d, &["a", "b", "web", "WEB"]).to_owned() }).collect();
    }
    if d.one_in(2) {
        v["event"]["severity"] = [0, 21, 60, 99][d.below(4) as usize].into();
        v["event"]["action"] = pick(d, &["login", "Login", "ssh-login", "block"]).into();
    }
    if d.one_in(4) {
        v["event"]["duration"] = [1u64, u64::MAX, 1 << 63, 5_000_000_000][d.below(4) as usize].into();
    }
    if d.one_in(4) {
        v["vulnerability"]["score"]["base"] = [0.0, 7.5, 10.0, 1e300][d.below(4) as usize].into();
        v["tls"]["resumed"] = d.one_in(2).into();
    }
    if d.one_in(3) {
        v["suricata"]["thing"] = match d.below(5) {
            0 => 7.into(),
            1 => 7.0.into(),
            2 => "7".into(),
            3 => 1.5.into(),
            _ => u64::MAX.into(),
        };
    }
    if d.one_in(4) {
        v["falco"]["thing"] = pick(d, &["x", "Y"]).into();
        v["modsecurity"]["own"] = d.below(3).into();
    }
    if d.one_in(4) {
        v["process"]["command_line"] = pick(d, &["/bin/sh -c id", "CURL http://x", "a*b?c"]).into();
    }
    v.to_string().into_bytes()
}

fn records(d: &mut Dice, n: u64) -> What {
    let (mut batch, mut format) = (Batch::default(), None);
    match d.below(5) {
        0 | 1 => (0..=d.below(3)).for_each(|_| batch.push(&mixed()[d.below(400) as usize], d.one_in(50))),
        2 => batch.push(
            pick(d, &["plain text of Nobody: root login", "Jan  5 10:00:00 one sshd[7]: Failed password for root from 192.0.2.1 port 22 ssh2", ""])
                .as_bytes(),
            false,
        ),
        _ => {
            (0..=d.below(3)).for_each(|_| batch.push(&ecs(d), false));
            format = Some(Arc::from("ecs"));
        }
    }
    let received = Timestamp(START.0 + n as i64 * SECOND);
    let (source, stream) = (Arc::from("s"), Arc::from(format!("c{}", d.below(3)).as_str()));
    What::Records(Records { source, stream, format, received, near: received, batch, mark: None })
}

impl Corpus {
    /// About a hundred records; slices of random lengths with holes between them, some merged, and a tail.
    pub fn new(d: &mut Dice) -> Corpus {
        let dir = tempfile::tempdir().expect("a folder");
        let options = Options { segment_bytes: 16 << 10, max_bytes: u64::MAX, min_free: 0, block_bytes: 4 << 10, ..Options::default() };
        let (mut journal, _) = Journal::open(Arc::new(Real), &dir.path().join("journal"), options, || 7).expect("a journal");
        let snapshots = Snapshots::open(Arc::new(Real), dir.path(), journal.seed()).expect("a folder");
        let [one, two] = bundles();
        snapshots.put_bundle(&one.0).expect("room");
        snapshots.put_bundle(&two.0).expect("room");
        journal.append(&What::Load { hash: one.1.hash, rebuild: 0 });
        let (mut second, entries) = (0, 30 + d.below(40));
        for n in 0..entries {
            if n == entries / 2 {
                second = journal.append(&What::Load { hash: two.1.hash, rebuild: 0 }).lsn;
            }
            match d.below(12) {
                0 => drop(journal.append(&What::Tick(Timestamp(START.0 + n as i64 * SECOND)))),
                _ => drop(journal.append(&records(d, n))),
            }
            if d.one_in(4) {
                journal.write().expect("room");
            }
        }
        journal.write().expect("room");
        journal.sync().expect("no fault");
        let mut keeper = journal.keeper();
        while d.one_in(2) && keeper.step().expect("no fault") {}
        let index = Index::open(&dir.path().join("index"), journal.seed()).expect("a folder");
        let past = Past::of(snapshots, two.1.clone(), &[]);
        let last = (journal.last(), journal.next_seq() - 1);
        let mut c = Corpus { views: Vec::new(), journal, index, past, last, dir };
        c.views = vec![c.view(&one.1, 1..=second.max(1)), c.view(&two.1, second + 1..=last.0)];
        c.slices(d, second);
        c
    }

    /// Everything of these entries, parsed once with all fields.
    fn view(&self, loaded: &Arc<Loaded>, lsns: RangeInclusive<u64>) -> View {
        let mut schema = loaded.rules.schema.clone();
        for name in OWN {
            schema.intern(name, Type::Any, false);
        }
        // Not full: that is for output, and leaves own-prefix fields as they stand.
        let layout = Layout::of(&schema, schema.fields().filter(|f| *f != field::EVENT_LATE));
        let mut parsers = Parsers::new(&schema, &layout, &loaded.formats);
        let mut all = Vec::new();
        for e in self.journal.reader().entries(*lsns.start()).map(|e| e.expect("whole")).take_while(|e| e.lsn <= *lsns.end()) {
            let What::Records(r) = e.what else { continue };
            let batch = Arc::new(r.batch);
            let setting = loaded.source(&r.source);
            let format = r.format.as_deref().and_then(|f| Format::named(f, &loaded.formats));
            let ctx = Context { zone: &setting.zone, near: r.near, named: format.is_some(), estate: &setting.estate };
            for (i, &one) in batch.records.iter().enumerate() {
                let (mut arena, mut slots) = (Arena::default(), vec![Slot::Missing; layout.len()]);
                let mut out = Out::new(&batch.bytes, &mut arena, &mut slots, &layout, None);
                parsers.event(&ctx, format, batch.record(one), one.truncated, &mut out);
                let said = if let Value::Time(t) = out.get(field::TIMESTAMP) { t } else { r.received };
                let ahead = said.0 > r.received.0 + 300 * SECOND;
                let time = if ahead { r.received } else { said };
                out.time(field::TIMESTAMP, time);
                out.time(field::EVENT_INGESTED, r.received);
                if ahead {
                    out.bool(field::EVENT_AHEAD, true);
                }
                let seq = e.seq + i as u64;
                out.int(field::EVENT_SEQUENCE, seq as i64);
                let last_of_entry = e.seq + batch.records.len() as u64 - 1;
                all.push(Parsed { key: (time, seq), lsn: e.lsn, last_of_entry, batch: batch.clone(), arena, slots });
            }
        }
        View { schema, layout, records: all }
    }

    fn slices(&self, d: &mut Dice, second: u64) {
        let (mut at, mut common) = (1, Common::default());
        while at < self.last.0 {
            let end = (at + d.below(20)).min(self.last.0 - d.below(4).min(self.last.0 - at));
            // A slice is of one bundle.
            let end = if at < second { end.min(second - 1) } else { end };
            if d.one_in(6) {
                // Nothing is built here.
            } else {
                self.build(at..=end, &mut common);
            }
            at = end + 1;
        }
        for _ in 0..d.below(3) {
            let all = self.index.slices();
            let touching: Vec<usize> = (1..all.len()).filter(|&i| all[i - 1].last() + 1 == all[i].first()).collect();
            if let Some(&i) = touching.get(d.below(touching.len().max(1) as u64) as usize) {
                let merged = index::merge(&self.index, &all[i - 1..=i], Arc::default()).expect("merged");
                self.index.add(merged).expect("added");
            }
        }
    }

    fn build(&self, lsns: RangeInclusive<u64>, common: &mut Common) {
        let mut entries = self.journal.reader().entries(*lsns.start());
        let loaded = self.past_at(*lsns.start());
        let plan = Arc::new(Plan::new(&loaded.rules, loaded.formats.indexed()));
        let mut eye = Eye::new(loaded.clone(), plan.layout().clone());
        let from = From { lsn: *lsns.start(), bundle: &loaded.hash };
        let mut b = Builder::new(&self.index, from, plan, common, Arc::default()).expect("a builder");
        while entries.lsn() <= *lsns.end() {
            let Some(next) = entries.next_at() else { break };
            let (at, e) = next.expect("whole");
            let What::Records(r) = &e.what else { continue };
            let head = Head { source: &r.source, format: r.format.as_deref(), received: r.received, near: r.near };
            for (n, &one) in r.batch.records.iter().enumerate() {
                let (event, time) = eye.event(&head, &r.batch, one);
                let at = Address { record: n as u32, ..at };
                let record = Record { seq: e.seq + n as u64, at, time, stream: &r.stream, raw: r.batch.record(one) };
                b.add(&record, &event, common).expect("added");
            }
        }
        self.index.add(b.publish(*lsns.end(), common).expect("published")).expect("added");
    }

    /// The bundle that holds at an entry, as the journal says.
    pub fn past_at(&self, lsn: u64) -> Arc<Loaded> {
        for e in self.journal.reader().entries(1).filter_map(Result::ok).take_while(|e| e.lsn <= lsn) {
            if let What::Load { hash, .. } = e.what {
                self.past.note(e.lsn, hash);
            }
        }
        self.past.at(lsn)
    }
}
