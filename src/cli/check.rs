//! `vigild check`: every complaint about rule files and the configuration at once.

mod named;

use super::{Failure, run};
use crate::diag::{self, Diagnostic};
use crate::parse::Estate;
use crate::rule::load;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Checks rule files and the configuration, and says everything that is wrong with them.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Rule files, or folders in which every `.toml` file is meant; if there is none, those of the configuration, else the
    /// built-in ones
    paths: Vec<PathBuf>,
    /// The configuration file, checked with its drop-ins and what it names [default without paths: /etc/vigild/vigild.toml,
    /// where it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Checks what `args` names, against the inventory and the fields that formats declare.
///
/// Complaints go to stderr, the last line counts them. Exit code 0 without errors (warnings are none), 1 with some, 4
/// where a file cannot be read.
pub fn run(args: &Args) -> ExitCode {
    let config = args.config.clone().or_else(|| super::load::installed().filter(|_| args.paths.is_empty()));
    let read = match config {
        Some(c) => with_config(&run::Args::of(c, &args.paths)),
        None => rules(&args.paths),
    };
    let (said, files, number) = match read {
        Ok(r) => r,
        Err(f) => return f.report(),
    };
    let color = super::color(&io::stderr());
    let errors = super::load::errors(&said);
    let summary = summary(errors, said.len() - errors, number);
    let _ = writeln!(io::stderr(), "{}{summary}", diag::draw(&said, &files, color));
    if errors > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

/// Complaints, the files to draw them from, and how many of these were checked.
type Checked = (Vec<Diagnostic>, Vec<(String, String)>, usize);

/// The configuration, what it names, and rules.
fn with_config(args: &run::Args) -> Result<Checked, Failure> {
    let mut read = run::configure(args)?;
    read.found.extend(named::wrong(&read.configured.config));
    // The formats in the binary are there for drawing.
    let number = read.files.len() - crate::builtin::parsers().len();
    Ok((read.found, read.files, number))
}

/// Rules alone.
fn rules(paths: &[PathBuf]) -> Result<Checked, Failure> {
    let files = files(paths).map_err(|(p, e)| Failure::file(&p, &e))?;
    let (schema, _, _) = super::load::formats(&mut Vec::new());
    let (_, said) = load::load(&files, &Estate::default(), schema, &read);
    let number = files.len();
    Ok((said, files, number))
}

/// Reads the file of a `[table.NAME]`.
pub fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| e.to_string())
}

/// The rule files that the paths name, ordered by path, each once; the built-in ones if there are no paths.
pub fn files(paths: &[PathBuf]) -> Result<Vec<(String, String)>, (PathBuf, io::Error)> {
    if paths.is_empty() {
        return Ok(crate::builtin::rules());
    }
    let mut all = Vec::new();
    for p in paths {
        walk(p, true, &mut all).map_err(|e| (p.clone(), e))?;
    }
    all.sort();
    all.dedup();
    all.into_iter()
        .map(|p| std::fs::read(&p).map(|b| (p.display().to_string(), String::from_utf8_lossy(&b).into_owned())).map_err(|e| (p, e)))
        .collect()
}

fn walk(path: &Path, named: bool, out: &mut Vec<PathBuf>) -> io::Result<()> {
    if std::fs::metadata(path)?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            // A link to a folder is followed only where it is named, so no circle is walked.
            if !entry.file_type()?.is_symlink() || entry.path().is_file() {
                walk(&entry.path(), false, out)?;
            }
        }
    } else if named || path.extension().is_some_and(|e| e == "toml") {
        out.push(path.to_owned());
    }
    Ok(())
}

fn summary(errors: usize, warnings: usize, files: usize) -> String {
    let n = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let files = n(files, "file");
    match (errors, warnings) {
        (0, 0) => format!("no complaints in {files}"),
        (e, 0) => format!("{} in {files}", n(e, "error")),
        (0, w) => format!("{} in {files}", n(w, "warning")),
        (e, w) => format!("{}, {} in {files}", n(e, "error"), n(w, "warning")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_their_toml_files_once_and_in_order() {
        let Ok(dir) = tempfile::tempdir() else { panic!("no folder for the test") };
        let p = |n: &str| dir.path().join(n);
        assert!(std::fs::create_dir_all(p("b/c")).is_ok());
        for f in ["b/c/x.toml", "a.toml", "b/readme.md", "plain"] {
            assert!(std::fs::write(p(f), "").is_ok());
        }
        let names = |paths: &[PathBuf]| {
            files(paths)
                .map(|f| f.iter().map(|f| f.0.strip_prefix(&format!("{}/", dir.path().display())).unwrap_or("").to_owned()).collect::<Vec<_>>())
                .ok()
        };
        assert_eq!(names(&[dir.path().to_owned(), p("a.toml")]), Some(vec!["a.toml".into(), "b/c/x.toml".into()]));
        assert_eq!(names(&[p("plain")]), Some(vec!["plain".into()]), "a file that is named is meant, whatever it is called");
        assert_eq!(names(&[p("nowhere")]), None);
    }

    #[test]
    fn the_summary_counts() {
        assert_eq!(summary(3, 1, 2), "3 errors, 1 warning in 2 files");
        assert_eq!(summary(0, 0, 1), "no complaints in 1 file");
    }
}
