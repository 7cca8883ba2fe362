//! All that the engine is made of, as text: rules, the files they name, formats, inventory, settings of sources.
//!
//! Each bundle that has been in force is kept in the data directory under the hash of its content, and the journal names
//! it: what was recorded under it is replayed with it, whatever the files say by then.

use crate::config::Config;
use crate::diag::{Diagnostic, Level};
use crate::event::{Schema, Span};
use crate::parse::estate::Host;
use crate::parse::{Estate, declared};
use crate::rule::{RuleSet, load};
use ipnet::IpNet;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// Rule files by path, with their text.
    rules: Vec<(String, String)>,
    /// Files that rules name, by path.
    files: BTreeMap<String, String>,
    /// `parser.toml` of every declared format, by path.
    formats: Vec<(String, String)>,
    hosts: Vec<Machine>,
    proxies: Vec<IpNet>,
    sources: Vec<Setting>,
    zone: String,
    provisional: bool,
    budget: usize,
    keys_per_rule: usize,
    waiting: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Machine {
    name: String,
    aliases: Vec<String>,
    ip: Vec<IpAddr>,
    tags: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Setting {
    name: String,
    zone: String,
    /// Nanoseconds.
    lateness: i64,
    proxies: Option<Vec<IpNet>>,
}

/// A bundle, read and checked.
#[derive(Clone)]
pub struct Loaded {
    /// The hash of the bundle.
    pub hash: [u8; 32],
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// The declared formats.
    pub formats: declared::Formats,
    /// The same as text, for those whose events have other fields beside.
    pub format_texts: Arc<Vec<(String, String)>>,
    /// The inventory and the proxies.
    pub estate: Arc<Estate>,
    /// What is set for each source.
    pub sources: BTreeMap<Arc<str>, SourceSetting>,
    /// What holds for a source that is not among these.
    pub other: SourceSetting,
    /// Whether alerts that may still change are told.
    pub provisional: bool,
    /// Bounds of the engine.
    pub state: crate::config::State,
}

/// How a source's records are read.
#[derive(Clone, Debug)]
pub struct SourceSetting {
    /// The zone of times that name none.
    pub zone: TimeZone,
    /// How late an event may be.
    pub lateness: Span,
    /// The inventory, with the proxies that this source's records may have come through.
    pub estate: Arc<Estate>,
}

impl Bundle {
    /// Of a configuration and the rule files that it names. `read` gives the text of a file that a rule names.
    pub fn of(config: &Config, rules: Vec<(String, String)>, read: &dyn Fn(&str) -> Result<String, String>) -> (Bundle, Loaded, Vec<Diagnostic>) {
        let machine = |h: &Host| Machine { name: h.name.clone(), aliases: h.aliases.clone(), ip: h.ip.clone(), tags: h.tags.clone() };
        let setting = |s: &crate::config::Source| Setting {
            name: s.name.clone(),
            zone: zone_name(s.zone.as_ref().unwrap_or(&config.zone)),
            lateness: s.lateness.0,
            proxies: s.proxies.clone(),
        };
        let mut bundle = Bundle {
            rules,
            files: BTreeMap::new(),
            formats: crate::builtin::parsers(),
            hosts: config.hosts.iter().map(machine).collect(),
            proxies: config.proxies.clone(),
            sources: config.sources.iter().map(setting).collect(),
            zone: zone_name(&config.zone),
            provisional: config.provisional,
            budget: config.state.budget,
            keys_per_rule: config.state.keys_per_rule,
            waiting: config.state.waiting,
        };
        let taken = RefCell::new(BTreeMap::new());
        let (mut loaded, said) = bundle.read(&|path| {
            let text = read(path)?;
            taken.borrow_mut().insert(path.to_owned(), text.clone());
            Ok(text)
        });
        bundle.files = taken.into_inner();
        loaded.hash = bundle.hash();
        (bundle, loaded, said)
    }

    /// Reads what is in it. An error tells what has become wrong with it, in an earlier version's bundle above all.
    pub fn load(&self) -> Result<Loaded, String> {
        let (mut loaded, said) = self.read(&|path| self.files.get(path).cloned().ok_or_else(|| "it is not in the bundle".to_owned()));
        if let Some(d) = said.iter().find(|d| d.level == Level::Error) {
            return Err(format!("{}: {}", d.file, d.message));
        }
        loaded.hash = self.hash();
        Ok(loaded)
    }

    /// The same with more rule files, whose rules, tables and conditions take the place of those of the same names, and the files that
    /// these name.
    pub fn over(&self, files: &[(String, String)], named: &BTreeMap<String, String>) -> (Loaded, Vec<Diagnostic>) {
        let mut all = self.clone();
        all.rules.extend_from_slice(files);
        all.files.extend(named.clone());
        all.read_over(self.rules.len(), &|path| all.files.get(path).cloned().ok_or_else(|| "it was not sent".to_owned()))
    }

    fn read(&self, file: &dyn Fn(&str) -> Result<String, String>) -> (Loaded, Vec<Diagnostic>) {
        self.read_over(self.rules.len(), file)
    }

    fn read_over(&self, over: usize, file: &dyn Fn(&str) -> Result<String, String>) -> (Loaded, Vec<Diagnostic>) {
        let hosts: Vec<Host> =
            self.hosts.iter().map(|m| Host { name: m.name.clone(), aliases: m.aliases.clone(), ip: m.ip.clone(), tags: m.tags.clone() }).collect();
        let estate = Arc::new(Estate::new(hosts.clone(), self.proxies.clone()));
        let mut schema = Schema::default();
        let (formats, mut said) = declared::Formats::load(&self.formats, &mut schema);
        let (rules, more) = load::load_over(&self.rules, over, &estate, schema, file);
        said.extend(more);
        let setting = |s: &Setting| {
            let estate = s.proxies.as_ref().map_or(estate.clone(), |p| Arc::new(Estate::new(hosts.clone(), p.clone())));
            (Arc::from(s.name.as_str()), SourceSetting { zone: zone_of(&s.zone), lateness: Span(s.lateness), estate })
        };
        let loaded = Loaded {
            hash: [0; 32],
            rules: Arc::new(rules),
            formats,
            format_texts: Arc::new(self.formats.clone()),
            sources: self.sources.iter().map(setting).collect(),
            other: SourceSetting { zone: zone_of(&self.zone), lateness: Span::seconds(60), estate: estate.clone() },
            estate,
            provisional: self.provisional,
            state: crate::config::State { budget: self.budget, keys_per_rule: self.keys_per_rule, waiting: self.waiting },
        };
        (loaded, said)
    }

    /// The bundle as bytes, which name it by their hash.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads [`Bundle::bytes`].
    pub fn of_bytes(bytes: &[u8]) -> Result<Bundle, String> {
        serde_json::from_slice(bytes).map_err(|e| e.to_string())
    }

    /// The hash that names it.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.bytes()).as_bytes()
    }

    /// Rule files and formats, for drawing complaints.
    pub fn texts(&self) -> impl Iterator<Item = &(String, String)> {
        self.rules.iter().chain(&self.formats)
    }
}

impl Loaded {
    /// What is set for a source.
    pub fn source(&self, name: &str) -> &SourceSetting {
        self.sources.get(name).unwrap_or(&self.other)
    }
}

/// A zone as it is written in a configuration.
fn zone_name(zone: &TimeZone) -> String {
    match zone.iana_name() {
        Some(n) => n.to_owned(),
        None => zone.to_fixed_offset().map_or_else(|_| "UTC".to_owned(), |o| o.seconds().to_string()),
    }
}

fn zone_of(name: &str) -> TimeZone {
    let fixed = || Offset::from_seconds(name.parse().ok()?).ok().map(TimeZone::fixed);
    fixed().or_else(|| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_bundle_read_back_is_the_same_under_the_same_hash() {
        let text = "zone = \"Europe/Berlin\"\n[[host]]\nname = \"vm-prod\"\nip = [\"192.0.2.10\"]\n[[source]]\nkind = \"http\"\nzone = \"+05:30\"\n";
        let (config, said) = config::read("vigild.toml", text);
        assert_eq!(said, []);
        let rules = vec![("r.toml".to_owned(), "[table.t]\nfile = \"list.txt\"\n[[rule]]\nid = \"r\"\ntitle = \"R\"\nseverity = \"low\"\nwhere = 'user.name in table(\"t\")'\nrearm = \"every\"\n".to_owned())];
        let (bundle, loaded, said) = Bundle::of(&config, rules, &|p| if p == "list.txt" { Ok("eve\n".into()) } else { Err("no".into()) });
        assert!(said.iter().all(|d| d.level != Level::Error), "{said:?}");
        let again = Bundle::of_bytes(&bundle.bytes()).expect("read");
        assert_eq!((&again, again.hash()), (&bundle, loaded.hash));
        let again = again.load().expect("it is right");
        assert_eq!((again.hash, again.rules.rules.len()), (loaded.hash, 1));
        let zone = |l: &Loaded, s: &str| zone_name(&l.source(s).zone);
        assert_eq!((zone(&again, "http"), zone(&again, "gone")), ("19800".into(), "Europe/Berlin".into()));
    }

    #[test]
    fn what_is_wrong_with_a_bundle_is_said() {
        assert!(Bundle::of_bytes(b"{").is_err());
        let wrong = Bundle { rules: vec![("r.toml".into(), "[[rule]]\n".into())], ..Bundle::default() };
        assert!(wrong.load().is_err_and(|e| e.contains("r.toml")));
    }
}
