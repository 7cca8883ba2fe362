//! Load: records of the five native formats in their true shape and size, ordinary and attack traffic, from a seed.
//!
//! A [`Recipe`] says what is wanted, a [`Stream`] makes it record by record; the same recipe with a start gives the same
//! bytes. Each record holds its stream and number, gapless from 1, where its tool has room for one ([`number_of`]).
//! [`send`] carries streams to where they are wanted.

pub mod attack;
mod fail2ban;
mod falco;
mod modsecurity;
mod number;
mod ossec;
mod pen;
mod random;
pub mod send;
mod suricata;
mod times;

pub use number::{MAX_STREAMS, number_of};

use crate::event::Timestamp;
use crate::parse::Native;
use attack::{Attack, SCENARIOS, Scenario};
use pen::Pen;
use random::Random;
use times::Times;

/// 2026-11-23T00:00:00Z: when a load begins that is told no other time.
pub const START: Timestamp = Timestamp(1_795_392_000_000_000_000);

/// A way in which one of the tools writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// EVE lines of Suricata.
    Suricata,
    /// JSON lines of Falco.
    Falco,
    /// Lines of `fail2ban.log`.
    Fail2ban,
    /// Blocks of OSSEC's `alerts.log`.
    Ossec,
    /// Lines of OSSEC's `alerts.json`.
    OssecJson,
    /// JSON lines of ModSecurity 3.
    Modsecurity,
    /// Native audit blocks of ModSecurity 2.
    ModsecurityNative,
}

impl Form {
    /// All, by name.
    pub const ALL: [(&'static str, Form); 7] = [
        ("suricata", Form::Suricata),
        ("falco", Form::Falco),
        ("fail2ban", Form::Fail2ban),
        ("ossec", Form::Ossec),
        ("ossec-json", Form::OssecJson),
        ("modsecurity", Form::Modsecurity),
        ("modsecurity-native", Form::ModsecurityNative),
    ];
    /// What an estate writes, one line a record, with the share of each.
    pub const MIXED: [(Form, u64); 5] = [(Form::Suricata, 8), (Form::Falco, 4), (Form::Fail2ban, 2), (Form::OssecJson, 3), (Form::Modsecurity, 3)];

    /// The form of that name.
    pub fn named(name: &str) -> Option<Form> {
        Form::ALL.iter().find(|(n, _)| *n == name).map(|(_, f)| *f)
    }

    /// Whose form it is.
    pub fn tool(self) -> Native {
        match self {
            Form::Suricata => Native::Suricata,
            Form::Falco => Native::Falco,
            Form::Fail2ban => Native::Fail2ban,
            Form::Ossec | Form::OssecJson => Native::Ossec,
            Form::Modsecurity | Form::ModsecurityNative => Native::Modsecurity,
        }
    }

    /// The form of a tool where none is asked for.
    pub fn default_of(tool: Native) -> Form {
        match tool {
            Native::Suricata => Form::Suricata,
            Native::Falco => Form::Falco,
            Native::Fail2ban => Form::Fail2ban,
            Native::Ossec => Form::Ossec,
            Native::Modsecurity => Form::Modsecurity,
        }
    }

    /// Whether a record has several lines.
    pub fn is_block(self) -> bool {
        matches!(self, Form::Ossec | Form::ModsecurityNative)
    }

    /// What stands between one record and the next in a file.
    pub fn end(self) -> &'static [u8] {
        if self.is_block() { b"\n\n" } else { b"\n" }
    }
}

/// How many attacks there are among the ordinary traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attacks {
    /// So many, over all streams, spread evenly.
    Number(u64),
    /// So large a part of the records, 0 to 1.
    Fraction(f64),
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The forms, each with its share.
    pub forms: Vec<(Form, u64)>,
    /// Where the random numbers begin.
    pub seed: u64,
    /// How many machines the records speak of, at least 1.
    pub hosts: u64,
    /// The attacks.
    pub attacks: Attacks,
    /// How many streams there are, 1 to [`MAX_STREAMS`].
    pub streams: u32,
    /// How many records in all; none for as many as are asked for.
    pub count: Option<u64>,
    /// The first event time; without it event times are those at which records are made.
    pub start: Option<Timestamp>,
    /// How many records a second of event time has, over all streams, above 0.
    pub spacing: f64,
}

impl Default for Recipe {
    /// A thousand records a second of event time, of all tools, without attacks.
    fn default() -> Recipe {
        Recipe {
            forms: Form::MIXED.to_vec(),
            seed: 1,
            hosts: 20,
            attacks: Attacks::Number(0),
            streams: 1,
            count: None,
            start: Some(START),
            spacing: 1000.0,
        }
    }
}

impl Recipe {
    /// The scenarios that these forms can tell.
    fn scenarios(&self) -> Vec<&'static Scenario> {
        let told = |t: &Native| self.forms.iter().any(|(f, _)| f.tool() == *t);
        SCENARIOS.iter().filter(|s| s.tools.iter().all(told)).collect()
    }

    /// A stream's share of something that is counted over all.
    fn share(&self, all: u64, stream: u32) -> u64 {
        let streams = u64::from(self.streams.max(1));
        all / streams + u64::from(u64::from(stream) < all % streams)
    }

    /// How many records a stream's attacks have, if their number is known.
    fn records_of_attacks(&self, stream: u32) -> u64 {
        let scenarios = self.scenarios();
        let Attacks::Number(n) = self.attacks else { return 0 };
        (0..self.share(n, stream)).filter_map(|turn| Attack::new(&scenarios, turn, 0)).map(|a| a.scenario.steps).sum()
    }

    /// What does not fit together, for whoever asked for it.
    pub fn complaint(&self) -> Option<String> {
        if self.attacks == Attacks::Number(0) || self.attacks == Attacks::Fraction(0.0) {
            return None;
        }
        let Attacks::Number(n) = self.attacks else { return None };
        let Some(count) = self.count else {
            return Some("a number of attacks is spread over a number of records: give `--count`, or a fraction such as `--attacks 0.01`".into());
        };
        // The first stream has the most attacks, the last the fewest records.
        let (needs, has) = (self.records_of_attacks(0), self.share(count, self.streams.max(1) - 1));
        (needs > has).then(|| format!("{n} attacks need {needs} records on one connection, and it has {has}: raise `--count`, or plant fewer"))
    }
}

/// What a record's text is made of.
pub(crate) struct Scene<'a> {
    times: &'a Times,
    /// Stream and number.
    number: u64,
    random: &'a mut Random,
    hosts: u64,
}

/// An attack that is complete, for the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planted {
    /// What was played.
    pub scenario: &'static str,
    /// The rule that it fires.
    pub rule: &'static str,
    /// The field that tells it from others, and its value.
    pub key: (&'static str, String),
    /// The event time of its first and last record.
    pub first: Timestamp,
    /// See `first`.
    pub last: Timestamp,
    /// The stream, and the number of its last record there.
    pub stream: u32,
    /// See `stream`.
    pub number: u64,
}

/// One record that was made.
#[derive(Debug)]
pub struct Made {
    /// Its form.
    pub form: Form,
    /// Its event time.
    pub ts: Timestamp,
    /// The attack that it completes.
    pub planted: Option<Planted>,
}

/// Records one after the other, numbered from 1.
pub struct Stream {
    stream: u32,
    streams: u32,
    forms: Vec<Form>,
    /// The forms by weight, for a pick at random.
    turns: Vec<Form>,
    scenarios: Vec<&'static Scenario>,
    random: Random,
    times: Times,
    hosts: u64,
    start: Option<Timestamp>,
    spacing: f64,
    count: Option<u64>,
    made: u64,
    last: Timestamp,
    attacks: Attacks,
    /// Attacks begun, records of theirs written, and records still owed to a number of attacks.
    begun: u64,
    attacking: u64,
    owed: u64,
    /// The attack that is on, and when it began.
    on: Option<(Attack, Timestamp)>,
}

impl Stream {
    /// The stream of that place in a recipe.
    pub fn new(recipe: &Recipe, stream: u32) -> Stream {
        let attacks = match recipe.attacks {
            Attacks::Number(n) => Attacks::Number(recipe.share(n, stream)),
            fraction => fraction,
        };
        Stream {
            stream,
            streams: recipe.streams.max(1),
            forms: recipe.forms.iter().map(|f| f.0).collect(),
            turns: recipe.forms.iter().flat_map(|(f, n)| std::iter::repeat_n(*f, *n as usize)).collect(),
            scenarios: recipe.scenarios(),
            random: Random::new(recipe.seed, stream),
            times: Times::default(),
            hosts: recipe.hosts.max(1),
            start: recipe.start,
            spacing: recipe.spacing,
            count: recipe.count.map(|c| recipe.share(c, stream)),
            made: 0,
            last: Timestamp::MIN,
            attacks,
            begun: 0,
            attacking: 0,
            owed: recipe.records_of_attacks(stream),
            on: None,
        }
    }

    /// How many records it has made.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Appends the next record, without its end; `now` is its event time unless the recipe has a start. None at the end.
    pub fn next(&mut self, now: Timestamp, out: &mut Vec<u8>) -> Option<Made> {
        if self.count.is_some_and(|c| self.made >= c) || self.turns.is_empty() {
            return None;
        }
        let ts = match self.start {
            Some(start) => {
                // Streams take turns in event time.
                let place = self.made as f64 * f64::from(self.streams) + f64::from(self.stream);
                start.plus(crate::event::Span((place / self.spacing * 1e9) as i64))
            }
            // Times rise by what the coarsest of the JSON formats can say, whatever the clock does.
            None => now.max(self.last.plus(crate::event::Span(1000))),
        };
        self.last = ts;
        self.times.set(ts);
        self.made += 1;
        if self.on.is_none() && self.attack_due() {
            // Attacks of all streams have numbers of their own.
            let number = self.begun * u64::from(self.streams) + u64::from(self.stream);
            self.on = Attack::new(&self.scenarios, self.begun, number).map(|a| (a, ts));
            self.begun += 1;
        }
        let mut pen = Pen(out);
        let left = self.count.map_or(u64::MAX, |c| c - self.made + 1);
        let hasty = left <= self.owed || matches!(self.attacks, Attacks::Fraction(f) if f >= 0.5);
        // Ordinary traffic goes on while an attack is on.
        if self.on.is_some() && (hasty || self.random.below(2) == 0) {
            return Some(self.attack(&mut pen, ts));
        }
        let form = self.random.pick(&self.turns);
        let mut scene = Scene { times: &self.times, number: number::packed(self.stream, self.made), random: &mut self.random, hosts: self.hosts };
        match form {
            Form::Suricata => suricata::ordinary(&mut pen, &mut scene),
            Form::Falco => falco::ordinary(&mut pen, &mut scene),
            Form::Fail2ban => fail2ban::ordinary(&mut pen, &mut scene),
            Form::Ossec | Form::OssecJson => ossec::ordinary(&mut pen, &mut scene, form),
            Form::Modsecurity | Form::ModsecurityNative => modsecurity::ordinary(&mut pen, &mut scene, form),
        }
        Some(Made { form, ts, planted: None })
    }

    fn attack_due(&self) -> bool {
        match self.attacks {
            Attacks::Number(n) => {
                let count = self.count.unwrap_or(0);
                let begins = (u128::from(self.begun) * u128::from(count) / u128::from(n.max(1))) as u64;
                self.begun < n && (self.made > begins || count - self.made < self.owed)
            }
            Attacks::Fraction(f) => (self.attacking as f64) < f * self.made as f64,
        }
    }

    /// Writes a record of the attack that is on.
    fn attack(&mut self, pen: &mut Pen<'_>, ts: Timestamp) -> Made {
        let number = self.made;
        let mut scene = Scene { times: &self.times, number: number::packed(self.stream, number), random: &mut self.random, hosts: self.hosts };
        let Some((mut attack, first)) = self.on.take() else { unreachable!("an attack is on") };
        let form = attack.form(&self.forms);
        let done = attack.step(pen, &mut scene, &self.forms);
        self.attacking += 1;
        self.owed = self.owed.saturating_sub(1);
        let planted = done.then(|| {
            let Scenario { name, rule, field, .. } = *attack.scenario;
            Planted { scenario: name, rule, key: (field, attack.key()), first, last: ts, stream: self.stream, number }
        });
        if !done {
            self.on = Some((attack, first));
        }
        Made { form, ts, planted }
    }
}

/// `n` records of ordinary traffic as a file of that form holds them, for measurements.
pub fn sample(form: Form, n: usize, seed: u64) -> Vec<u8> {
    let recipe = Recipe { forms: vec![(form, 1)], seed, count: Some(n as u64), spacing: 2000.0, ..Recipe::default() };
    let (mut stream, mut out) = (Stream::new(&recipe, 0), Vec::with_capacity(n * 900));
    while stream.next(START, &mut out).is_some() {
        out.extend_from_slice(form.end());
    }
    out
}
