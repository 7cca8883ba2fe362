//! What is asked of a backtest, and its answer.

use super::bounds::Bounds;
use super::report::{Report, Variant};
use super::run::{Ran, Trial, run};
use crate::diag::{Diagnostic, Level};
use crate::event::Timestamp;
use crate::pipeline::bundle::{Bundle, Loaded};
use crate::rule::RuleSet;
use crate::ruletest::upstream;
use crate::search::{self, Ground, Range};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// What is asked. The rules of `files` are tried; they take the place of rules in force of the same ids, and may listen to the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Rule files by path, with their text.
    pub files: Vec<(String, String)>,
    /// Files that these name, by path.
    #[serde(default)]
    pub named: BTreeMap<String, String>,
    /// Events from this instant on.
    pub since: Option<Timestamp>,
    /// Events before this instant.
    pub until: Option<Timestamp>,
    /// Whether the rules in force of the same ids are run too.
    #[serde(default)]
    pub against: bool,
    /// A condition: what would an exception for such events remove?
    pub except: Option<String>,
}

/// Why a backtest is not made.
#[derive(Debug)]
pub enum Refused {
    /// The rules are wrong; with the files that complaints are about.
    Rules(Vec<Diagnostic>, Vec<(String, String)>),
    /// There is no rule in the files, or something else is wrong with the request.
    Request(String),
    /// The disk, or nobody waits any longer.
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(e: io::Error) -> Refused {
        Refused::Io(e)
    }
}

/// The file in which an exception that is asked about stands.
const EXCEPTION: &str = "exception";

/// Makes a backtest over what the journal holds up to an entry; `in_force` is the bundle that holds now. `progress` is told the share
/// that is done; its error ends it.
pub fn answer(
    ground: &Ground<'_>,
    in_force: &Bundle,
    request: &Request,
    last_lsn: u64,
    bounds: Bounds,
    progress: &mut dyn FnMut(f64) -> io::Result<()>,
) -> Result<Report, Refused> {
    let last_seq = search::answer::last_seq(ground.reader, last_lsn);
    let range = Range { since: request.since, until: request.until, last_lsn, last_seq };
    let (tried, ids) = loaded(in_force, request, None)?;
    let rounds = 1.0 + f64::from(u8::from(request.against)) + f64::from(u8::from(request.except.is_some()));
    let (mut round, end) = (0.0, bounds.end());
    let mut go = |loaded: &Loaded, ids: &[String]| -> io::Result<Ran> {
        let trial = Trial { rules: Arc::new(only(&loaded.rules, ids)), today: loaded, bounds, end };
        let ran = run(ground, range, &trial, &mut |share| progress((round + share) / rounds));
        round += 1.0;
        ran
    };
    let ran = go(&tried, &ids)?;
    let mut report = Report::new(&ran, &ids);
    if request.against {
        let now = in_force.load().map_err(Refused::Request)?;
        let known: Vec<String> = ids.iter().filter(|id| now.rules.rules.iter().any(|r| *r.id == **id)).cloned().collect();
        let old = go(&now, &known)?;
        report.add_missing(&old);
        for t in report.rules.iter_mut().filter(|t| known.contains(&t.id)) {
            t.against = Some(Variant::new(&ran, &old, &t.id));
        }
    }
    if let Some(e) = &request.except {
        let (with, _) = loaded(in_force, request, Some((&ids, e)))?;
        let left = go(&with, &ids)?;
        report.add_missing(&left);
        for t in &mut report.rules {
            t.exception = Some(Variant::new(&ran, &left, &t.id));
        }
    }
    Ok(report)
}

/// The rules of the request over those in force, and the ids of those that are tried.
fn loaded(in_force: &Bundle, request: &Request, except: Option<(&[String], &str)>) -> Result<(Loaded, Vec<String>), Refused> {
    let mut files = request.files.clone();
    if let Some((ids, condition)) = except {
        let text = |s: &str| toml::Value::String(s.to_owned()).to_string();
        let ids: Vec<String> = ids.iter().map(|i| text(i)).collect();
        let fields = format!("owner = \"backtest\"\nreason = \"what would it remove\"\nreview = 2200-01-01\nwhere = {}\n", text(condition));
        files.push((EXCEPTION.into(), format!("[[exception]]\nrules = [{}]\n{fields}", ids.join(", "))));
    }
    let (loaded, said) = in_force.over(&files, &request.named);
    let wrong: Vec<Diagnostic> = said.into_iter().filter(|d| d.level == Level::Error).collect();
    if !wrong.is_empty() {
        return Err(Refused::Rules(wrong, files));
    }
    let ids: Vec<String> =
        loaded.rules.rules.iter().filter(|r| request.files.iter().any(|(path, _)| *path == r.file)).map(|r| r.id.to_string()).collect();
    if ids.is_empty() {
        return Err(Refused::Request("there is no rule in it that is enabled".into()));
    }
    Ok((loaded, ids))
}

/// These rules and all that they listen to.
fn only(rules: &RuleSet, ids: &[String]) -> RuleSet {
    let of: Vec<usize> = rules.rules.iter().enumerate().filter(|(_, r)| ids.iter().any(|id| **id == *r.id)).map(|(i, _)| i).collect();
    upstream(rules, &of).0
}
