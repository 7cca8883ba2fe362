//! What is played, and what is told of it: the records of the night in their order, and the steps of the story.

use super::{noise, shift};
use crate::event::Timestamp;
use rust_embed::RustEmbed;
use serde::Deserialize;

#[derive(RustEmbed)]
#[folder = "demo/"]
#[include = "*.log"]
#[include = "*.toml"]
struct Files;

/// When the evening begins, UTC.
pub const BEGIN: &str = "18:20:00";
/// When the harmless events end; the last bundled records come after it.
pub const END: &str = "19:58:00";

/// A record, or several lines that are one.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its event time.
    pub at: Timestamp,
    /// The format it is ingested as.
    pub format: &'static str,
    /// The record.
    pub text: String,
    /// Whether it is of the bundled logs.
    pub story: bool,
}

/// A step of the story: what is told when a record comes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Which act it belongs to, 1 or 2.
    pub act: u32,
    /// The time of day of its first record, `HH:MM:SS` UTC.
    pub at: String,
    /// The log in which that stands.
    pub log: String,
    /// Who saw it.
    pub tool: String,
    /// What was seen.
    pub seen: String,
    /// The rules that must fire before the next step.
    #[serde(default)]
    pub alerts: Vec<String>,
}

/// The story.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Story {
    /// In order.
    pub step: Vec<Step>,
}

/// The logs and the formats they are of.
const LOGS: [&str; 11] = ["argocd", "clamav", "fail2ban", "falco", "github", "harbor", "modsecurity", "ossec", "suricata", "syslog", "vault"];

/// A bundled file; empty if there is none of the name.
pub fn file(name: &str) -> String {
    Files::get(name).map(|f| String::from_utf8_lossy(&f.data).into_owned()).unwrap_or_default()
}

/// The steps of the story, in order of time.
///
/// Errors: the bundled file is not what it should be.
pub fn story() -> Result<Story, toml::de::Error> {
    toml::from_str(&file("story.toml"))
}

/// The records of a log: lines, for OSSEC blocks that end with an empty line.
fn records(log: &str, text: &str) -> Vec<String> {
    if log == "ossec" {
        return text.split("\n\n").filter(|b| !b.trim().is_empty()).map(|b| format!("{}\n", b.trim_end())).collect();
    }
    text.lines().map(str::to_owned).collect()
}

impl Entry {
    /// Its event time in whole seconds since 1970.
    pub fn second(&self) -> i64 {
        self.at.0.div_euclid(1_000_000_000)
    }
}

/// All records of the night in the order of events: by time, those of one instant by their stream, which is the format.
pub fn night() -> Vec<Entry> {
    let bundled = LOGS.iter().flat_map(|log| records(log, &file(&format!("{log}.log"))).into_iter().map(|text| (*log, text, true)));
    let all = noise::night().into_iter().map(|(format, text)| (format, text, false)).chain(bundled);
    let mut all: Vec<Entry> = all.filter_map(|(format, text, story)| Some(Entry { at: shift::latest(&text)?, format, text, story })).collect();
    all.sort_by_key(|e| (e.at, e.format));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_events_in_order_and_every_step_has_its_record() {
        let night = night();
        assert!(night.len() > 4000, "{}", night.len());
        assert!(night.is_sorted_by_key(|e| e.at));
        let story = story().expect("it reads");
        assert!(story.step.is_sorted_by_key(|s| s.at.clone()));
        for s in &story.step {
            let at = shift::at(&s.at);
            assert!(night.iter().any(|e| e.story && e.format == s.log && Some(e.second()) == at), "no record of {s:?}");
        }
        // An hour on, something harmless comes in every stream.
        for log in LOGS {
            let last = night.iter().rfind(|e| e.format == log).expect("a stream");
            assert!(last.second() >= shift::at("19:58:00").expect("a time"), "{log} ends at {}", last.at);
        }
    }

    #[test]
    fn the_same_night_every_time() {
        let texts = |n: Vec<Entry>| n.into_iter().map(|e| e.text).collect::<Vec<_>>();
        assert_eq!(texts(night()), texts(night()));
    }
}
