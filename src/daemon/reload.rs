//! Configuration and rules read again while the daemon runs: rules, inventory and settings from the next entry of the
//! journal on, without a pause; sources that have changed are ended and begun anew, the others go on.

use super::{Configured, Running, inputs};
use crate::config::{Config, Kind, Source};
use crate::rule::RuleSet;
use crate::source::Intake;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};
use tokio::sync::oneshot;

/// Asks for a reload; the answer is what changed, or why nothing did.
pub type Reload = oneshot::Sender<Result<Reloaded, String>>;

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reloaded {
    /// How many rules are in force.
    pub rules: usize,
    /// Ids of rules that were not there.
    pub added: Vec<String>,
    /// Ids of rules that mean something else: their windows are rebuilt from the journal.
    pub changed: Vec<String>,
    /// Ids of rules that are gone.
    pub removed: Vec<String>,
    /// Sources that were begun, ended, or both.
    pub sources: Vec<String>,
    /// What has changed in the configuration and holds only after a restart.
    pub needs_restart: Vec<&'static str>,
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rules", self.rules)?;
        for (what, ids) in [("added", &self.added), ("changed", &self.changed), ("removed", &self.removed)] {
            if !ids.is_empty() {
                write!(f, "; {what}: {}", ids.join(", "))?;
            }
        }
        if !self.sources.is_empty() {
            write!(f, "; sources begun anew: {}", self.sources.join(", "))?;
        }
        if !self.needs_restart.is_empty() {
            write!(f, "; changed, and holds only after a restart: {}", self.needs_restart.join(", "))?;
        }
        Ok(())
    }
}

impl Running {
    /// Reads everything again. On an error nothing has changed, unless it says that a source cannot be opened: then all else
    /// holds, and the next reload tries that source again.
    pub(super) async fn reload(&mut self, intake: &Intake) -> Result<Reloaded, String> {
        let again = self.again.clone();
        let read = tokio::task::spawn_blocking(move || again()).await.map_err(|e| e.to_string())?;
        let Configured { config, bundle, loaded } = read?;
        let mut done = Reloaded { needs_restart: restart(&self.started, &config), ..rules(&self.spine.loaded.rules, &loaded.rules) };
        self.spine.load(&bundle, loaded.clone()).map_err(|e| format!("the rules cannot be kept: {e}"))?;

        let same = |a: &Source, b: &Source| a == b;
        let gone: Vec<Source> = self.config.sources.iter().filter(|o| is_input(o) && !config.sources.iter().any(|n| same(o, n))).cloned().collect();
        let new: Vec<Source> = config.sources.iter().filter(|n| is_input(n) && !self.config.sources.iter().any(|o| same(o, n))).cloned().collect();
        for s in &gone {
            self.inputs.close(s).await;
            self.all.write().unwrap_or_else(PoisonError::into_inner).retain(|a| a.name != s.name);
        }
        if gone.iter().chain(&new).any(|s| matches!(s.kind, Kind::File(_))) {
            self.inputs.pause_files().await;
        }
        let mut wrong = Vec::new();
        let mut closed = Vec::new();
        for s in &new {
            let source = inputs::source(s, &config, &loaded, self.inputs.metrics());
            match self.inputs.open(s, source.clone(), &intake.limits) {
                Ok(()) => self.all.write().unwrap_or_else(PoisonError::into_inner).push(source),
                Err(e) => {
                    wrong.push(crate::diag::causes(&e));
                    closed.push(s.name.clone());
                }
            }
        }
        if !gone.is_empty() || !new.is_empty() {
            // Where reading goes on is what the journal says now.
            let known = self.queue.known().await;
            let intake = Intake { known: Arc::new(known), ..intake.clone() };
            if let Err(e) = self.inputs.begin(&intake).await {
                wrong.push(e.to_string());
            }
        }
        done.sources = gone.into_iter().chain(new).map(|s| s.name).collect();
        done.sources.sort();
        done.sources.dedup();
        self.config = config;
        // One that is not open is new to the next reload.
        self.config.sources.retain(|s| !is_input(s) || !closed.contains(&s.name));
        if wrong.is_empty() { Ok(done) } else { Err(format!("all else holds, but for what cannot be opened:\n{}", wrong.join("\n"))) }
    }
}

/// What becomes of rules.
fn rules(old: &RuleSet, new: &RuleSet) -> Reloaded {
    let of = |set: &RuleSet| set.rules.iter().map(|r| (r.id.to_string(), r.meaning)).collect::<BTreeMap<_, _>>();
    let (old, new) = (of(old), of(new));
    let ids = |all: &BTreeMap<String, [u8; 16]>, take: &dyn Fn(&String, &[u8; 16]) -> bool| {
        all.iter().filter(|(id, meaning)| take(id, meaning)).map(|(id, _)| id.clone()).collect()
    };
    Reloaded {
        rules: new.len(),
        added: ids(&new, &|id, _| !old.contains_key(id)),
        changed: ids(&new, &|id, meaning| old.get(id).is_some_and(|m| m != meaning)),
        removed: ids(&old, &|id, _| !new.contains_key(id)),
        ..Reloaded::default()
    }
}

/// Whether a source runs by itself.
pub(super) fn is_input(s: &Source) -> bool {
    !matches!(s.kind, Kind::Http | Kind::Hook(_) | Kind::Stdin)
}

/// What cannot change while the daemon runs.
fn restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let others = |c: &Config| c.sources.iter().filter(|s| !is_input(s)).cloned().collect::<Vec<_>>();
    let mut all = Vec::new();
    for (what, changed) in [
        ("[http]", old.http != new.http),
        ("[limits]", old.limits != new.limits),
        ("[journal]", old.journal != new.journal),
        ("[index]", old.index != new.index),
        ("[store]", old.store != new.store),
        ("[search]", old.search != new.search),
        ("[backtest]", old.backtest != new.backtest),
        ("[alerts] file", old.alerts != new.alerts),
        ("[run]", old.user != new.user),
        ("sources of kind http, hook and stdin", others(old) != others(new)),
    ] {
        if changed {
            all.push(what);
        }
    }
    all
}
