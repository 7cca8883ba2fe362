//! The rules and formats that are built into the binary, as the folders of the repository hold them.

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "rules/"]
#[include = "*.toml"]
struct Rules;

#[derive(RustEmbed)]
#[folder = "parsers/"]
#[include = "*/parser.toml"]
struct Parsers;

/// A file: its path in the repository (`rules/credential_access/ssh-bruteforce.toml`) and its text.
pub type File = (String, String);

/// The built-in rule files, ordered by path.
pub fn rules() -> Vec<File> {
    files::<Rules>("rules/")
}

/// The `parser.toml` of every format, ordered by path.
pub fn parsers() -> Vec<File> {
    files::<Parsers>("parsers/")
}

fn files<E: RustEmbed>(folder: &str) -> Vec<File> {
    let mut all: Vec<File> =
        E::iter().filter_map(|p| E::get(&p).map(|f| (format!("{folder}{p}"), String::from_utf8_lossy(&f.data).into_owned()))).collect();
    all.sort();
    all
}
