//! What every command needs first: configuration, formats and rules, or all that is wrong with them.

use super::Failure;
use crate::config::{self, Config};
use crate::diag::{self, Diagnostic, Level};
use crate::event::Schema;
use crate::parse::{Estate, Format, declared};
use crate::rule::{RuleSet, load};
use jiff::tz::TimeZone;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The word in `rules = [..]` that means those in the binary.
const BUILTIN: &str = "builtin";

/// Everything loaded and checked.
pub struct Loaded {
    /// The configuration, or its defaults.
    pub config: Config,
    /// The rules.
    pub rules: RuleSet,
    /// The declared formats.
    pub formats: declared::Formats,
    /// Inventory and proxies.
    pub estate: Arc<Estate>,
    /// The zone of times that name none.
    pub zone: TimeZone,
}

/// Loads a configuration file, the built-in formats, and rules: those named, else those of the configuration, else the
/// built-in ones. Warnings are drawn on stderr, errors end it, all of them told.
pub fn load(config: Option<&Path>, rules: &[PathBuf]) -> Result<Loaded, Failure> {
    let mut sources = Vec::new();
    let (config, mut said) = read_config(config, &mut sources)?;
    let estate = Arc::new(Estate::new(config.hosts.clone(), config.proxies.clone()));
    let (schema, formats, more) = formats(&mut sources);
    said.extend(more);
    let wanted: Vec<String> = if !rules.is_empty() {
        rules.iter().map(|p| p.display().to_string()).collect()
    } else if config.rules.is_empty() {
        vec![BUILTIN.to_owned()]
    } else {
        config.rules.iter().map(|s| s.value.clone()).collect()
    };
    let mut files = Vec::new();
    for w in wanted {
        let path = PathBuf::from(&w);
        let found = if w == BUILTIN && rules.is_empty() { Ok(crate::builtin::rules()) } else { super::check::files(std::slice::from_ref(&path)) };
        files.extend(found.map_err(|(p, e)| Failure::file(&p, &e))?);
    }
    let (set, more) = load::load(&files, &estate, schema, &super::check::read);
    said.extend(more);
    sources.extend(files);
    tell(&said, &sources)?;
    let zone = config.zone.clone();
    Ok(Loaded { config, rules: set, formats, estate, zone })
}

/// The configuration alone, for commands that need no rules.
pub fn read_config(path: Option<&Path>, sources: &mut Vec<(String, String)>) -> Result<(Config, Vec<Diagnostic>), Failure> {
    let (name, text) = match path {
        None => (String::new(), String::new()),
        Some(p) => (p.display().to_string(), std::fs::read_to_string(p).map_err(|e| Failure::file(p, &e))?),
    };
    let answer = config::read(&name, &text);
    sources.push((name, text));
    Ok(answer)
}

/// The built-in formats and the schema with their own fields.
pub fn formats(sources: &mut Vec<(String, String)>) -> (Schema, declared::Formats, Vec<Diagnostic>) {
    let mut schema = Schema::default();
    let files = crate::builtin::parsers();
    let (formats, said) = declared::Formats::load(&files, &mut schema);
    sources.extend(files);
    (schema, formats, said)
}

/// Draws complaints on stderr; errors among them are a failure.
pub fn tell(said: &[Diagnostic], sources: &[(String, String)]) -> Result<(), Failure> {
    if said.is_empty() {
        return Ok(());
    }
    let errors = errors(said);
    if errors == 0 {
        // Warnings are `check`'s to draw; here one line says that there are some.
        eprintln!("vigild: {} warnings about rules and configuration; `vigild check` shows them", said.len());
        return Ok(());
    }
    let color = super::color(&std::io::stderr());
    eprint!("{}", drawn(said, sources, color));
    Err(Failure::Wrong(format!("{errors} error{} in configuration and rules; nothing was started", if errors == 1 { "" } else { "s" })))
}

/// How many of the complaints are errors.
pub fn errors(said: &[Diagnostic]) -> usize {
    said.iter().filter(|d| d.level == Level::Error).count()
}

/// The errors among complaints, drawn.
pub fn drawn(said: &[Diagnostic], sources: &[(String, String)], color: bool) -> String {
    let shown: Vec<Diagnostic> = said.iter().filter(|d| d.level == Level::Error).cloned().collect();
    diag::draw(&shown, sources, color)
}

impl Loaded {
    /// The format of that name; none where none is named.
    pub fn format(&self, name: Option<&str>) -> Result<Option<Format>, Failure> {
        name.map(|n| named(n, &self.formats)).transpose()
    }
}

/// The format of a name, or a failure that lists the known ones and says which may have been meant.
pub fn named(name: &str, formats: &declared::Formats) -> Result<Format, Failure> {
    Format::named(name, formats).ok_or_else(|| {
        let known = Format::names(formats);
        let near = config::near(name, known.iter().copied()).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
        Failure::Usage(format!("no format is called `{}`{near}\nknown are: {}", super::safe(name), known.join(", ")))
    })
}
