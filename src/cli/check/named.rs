//! What a configuration names on this machine: files of TLS, secrets, the folder of alerts.

use crate::config::secret::Secret;
use crate::config::source::tls::Tls;
use crate::config::{Config, Kind};
use crate::diag::{Diagnostic, Level};
use crate::source::tls;
use std::fs::File;
use std::path::Path;

/// Everything that is named and cannot be used. What only the service's environment has (variables, credentials) is not
/// looked for.
pub fn wrong(config: &Config) -> Vec<Diagnostic> {
    let mut w = Wrong { config, found: Vec::new() };
    for (i, s) in config.sources.iter().enumerate() {
        let at = format!("source.{i}");
        match &s.kind {
            Kind::Syslog(c) => w.tls(&at, &s.name, c.tls.as_ref()),
            Kind::Relp(c) => w.tls(&at, &s.name, c.tls.as_ref()),
            Kind::Hook(h) => {
                if let Some(secret @ Secret::File(_)) = &h.secret
                    && let Err(e) = secret.read()
                {
                    w.say(&format!("{at}.secret"), e.to_string());
                }
            }
            _ => {}
        }
    }
    if let Some(folder) = config.alerts.as_deref().and_then(Path::parent)
        && !folder.as_os_str().is_empty()
        && !folder.is_dir()
    {
        w.say("alerts.file", format!("there is no folder {} for alerts", folder.display()));
    }
    w.found
}

struct Wrong<'c> {
    config: &'c Config,
    found: Vec<Diagnostic>,
}

impl Wrong<'_> {
    fn say(&mut self, setting: &str, message: String) {
        let span = self.config.given.get(setting).map_or(0..0, |g| g.span.clone());
        let (file, span) = self.config.files.place(&span);
        let file = file.to_owned();
        self.found.push(Diagnostic { code: "V012", level: Level::Error, message, file, span, label: String::new(), help: None });
    }

    fn tls(&mut self, at: &str, name: &str, files: Option<&Tls>) {
        let Some(t) = files else { return };
        let before = self.found.len();
        for (key, path) in [("certificate", Some(&t.certificate)), ("key", Some(&t.key)), ("client_ca", t.client_ca.as_ref())] {
            if let Some(path) = path
                && let Err(e) = File::open(path)
            {
                self.say(&format!("{at}.tls.{key}"), format!("cannot read {}: {e}", path.display()));
            }
        }
        if self.found.len() == before
            && let Err(e) = tls::Tls::open(t, name)
        {
            self.say(&format!("{at}.tls"), e.to_string());
        }
    }
}
