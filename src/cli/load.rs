//! What every command needs first: configuration, formats and rules, or all that is wrong with them.

use super::Failure;
use crate::config::{self, Config};
use crate::diag::{self, Diagnostic, Level};
use crate::event::Schema;
use crate::parse::{Estate, Format, declared};
use crate::rule::{RuleSet, load};
use jiff::tz::TimeZone;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The word in `rules = [..]` that means those in the binary.
const BUILTIN: &str = "builtin";
/// Drop-ins at most.
const DROP_INS: usize = 100;
/// One file of the configuration has so many bytes at most.
const FILE_BYTES: u64 = 4 << 20;

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

/// The configuration alone, its drop-ins with it, for commands that need no rules.
pub fn read_config(path: Option<&Path>, sources: &mut Vec<(String, String)>) -> Result<(Config, Vec<Diagnostic>), Failure> {
    let Some(main) = path else { return Ok((Config::default(), Vec::new())) };
    let mut texts = vec![(main.display().to_string(), read_file(main)?)];
    for p in drop_ins(main)? {
        texts.push((p.display().to_string(), read_file(&p)?));
    }
    let answer = config::read_all(&texts);
    sources.extend(texts);
    Ok(answer)
}

/// The configuration of the installed service, where there is one.
pub fn installed() -> Option<PathBuf> {
    Some(PathBuf::from("/etc/vigild/vigild.toml")).filter(|p| p.is_file())
}

/// The folder of a configuration's drop-ins: `vigild.d` beside `vigild.toml`.
fn drop_in_folder(main: &Path) -> PathBuf {
    if main.extension().is_some_and(|e| e == "toml") {
        return main.with_extension("d");
    }
    let mut name = main.as_os_str().to_owned();
    name.push(".d");
    PathBuf::from(name)
}

/// The drop-ins of a configuration by name: its folder's `.toml` files that are not hidden.
fn drop_ins(main: &Path) -> Result<Vec<PathBuf>, Failure> {
    let dir = drop_in_folder(main);
    let entries = match std::fs::read_dir(&dir) {
        Ok(e) => e,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Failure::file(&dir, &e)),
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Failure::file(&dir, &e))?.path();
        let hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|e| e == "toml") && path.is_file() {
            if all.len() == DROP_INS {
                let dir = super::safe(&dir.display().to_string());
                return Err(Failure::Wrong(format!("there are more than {DROP_INS} drop-ins in {dir}")));
            }
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

/// The text of one file of the configuration.
fn read_file(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|f| f.take(FILE_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(n) if n as u64 > FILE_BYTES => {
            let path = super::safe(&path.display().to_string());
            Err(Failure::Wrong(format!("{path} is larger than {} MiB", FILE_BYTES >> 20)))
        }
        Ok(_) => Ok(text),
        Err(e) => Err(Failure::file(path, &e)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(main: &Path) -> Result<Config, String> {
        read_config(Some(main), &mut Vec::new()).map(|(config, said)| (said.is_empty(), config)).map_err(|f| f.to_string()).map(|(right, c)| {
            assert!(right);
            c
        })
    }

    #[test]
    fn drop_ins_are_read_by_name_and_others_are_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let p = |n: &str| dir.path().join(n);
        fs::write(p("site.toml"), "[limits]\nfiles = 1\n").expect("written");
        assert_eq!(read(&p("site.toml")).map(|c| c.limits.files), Ok(1));
        fs::create_dir_all(p("site.d/x.toml")).expect("made");
        for (name, n) in [("20-b.toml", 20), ("10-a.toml", 10), (".30-hidden.toml", 30), ("40-old.toml.bak", 40), ("50", 50)] {
            fs::write(p("site.d").join(name), format!("[limits]\nfiles = {n}\n")).expect("written");
        }
        assert_eq!(read(&p("site.toml")).map(|c| c.limits.files), Ok(20));
        let from = |c: &Config, path: &str| c.files.line(&c.given[path].span).map(|(f, l)| (f.ends_with("/site.d/20-b.toml"), l));
        assert_eq!(read(&p("site.toml")).map(|c| from(&c, "limits.files")), Ok(Some((true, 2))));
        assert_eq!(drop_in_folder(Path::new("/etc/vigild/vigild.toml")), Path::new("/etc/vigild/vigild.d"));
        assert_eq!(drop_in_folder(Path::new("vigild.conf")), Path::new("vigild.conf.d"));
    }

    #[test]
    fn the_number_and_the_size_of_files_are_bounded() {
        let dir = tempfile::tempdir().expect("a folder");
        let p = |n: &str| dir.path().join(n);
        fs::write(p("vigild.toml"), vec![b'\n'; FILE_BYTES as usize]).expect("written");
        assert!(read(&p("vigild.toml")).is_ok());
        fs::write(p("vigild.toml"), vec![b'\n'; FILE_BYTES as usize + 1]).expect("written");
        assert!(read(&p("vigild.toml")).is_err_and(|e| e.contains("larger than 4 MiB")));
        fs::write(p("vigild.toml"), "").expect("written");
        fs::create_dir(p("vigild.d")).expect("made");
        for i in 0..DROP_INS {
            fs::write(p(&format!("vigild.d/{i}.toml")), "").expect("written");
        }
        assert!(read(&p("vigild.toml")).is_ok());
        fs::write(p("vigild.d/more.toml"), "").expect("written");
        assert!(read(&p("vigild.toml")).is_err_and(|e| e.contains("more than 100 drop-ins")));
    }
}
