//! The paths that a glob names.

use std::path::{Path, PathBuf};

/// The paths that a glob names, sorted: `*`, `?` and `[a-z]` within one part of the path. A path without any of these is
/// itself, whether it exists or not. No more than `entries` entries of directories are looked at; what is left of them is
/// written back, so that 0 means that there may be more.
pub fn expand(glob: &str, entries: &mut usize) -> Vec<PathBuf> {
    let mut all = vec![PathBuf::new()];
    for part in Path::new(glob).components() {
        let part = part.as_os_str();
        let Some(pattern) = part.to_str().filter(|p| p.contains(['*', '?', '['])) else {
            all.iter_mut().for_each(|p| p.push(part));
            continue;
        };
        let mut next = Vec::new();
        for dir in all {
            // Like a shell's, a pattern sees hidden files only if it begins with a dot itself.
            let fits = |n: &String| (!n.starts_with('.') || pattern.starts_with('.')) && matches(pattern.as_bytes(), n.as_bytes());
            next.extend(names(&dir, entries).into_iter().filter(fits).map(|n| dir.join(n)));
        }
        all = next;
    }
    all.sort();
    all
}

/// The names in a directory that are text, in no order; of one that cannot be read, none.
pub fn names(dir: &Path, entries: &mut usize) -> Vec<String> {
    let here = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let Ok(found) = std::fs::read_dir(here) else { return Vec::new() };
    let mut all = Vec::new();
    for e in found {
        if *entries == 0 {
            break;
        }
        *entries -= 1;
        all.extend(e.ok().and_then(|e| e.file_name().into_string().ok()));
    }
    all
}

/// Whether a name matches a pattern, in time linear in each star.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(_) => {
                if let Some(after) = one(pattern, p, name[n]) {
                    (p, n) = (after, n + 1);
                    continue;
                }
            }
            None => {}
        }
        match star {
            Some((sp, sn)) => {
                star = Some((sp, sn + 1));
                (p, n) = (sp + 1, sn + 1);
            }
            None => return false,
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// Whether what stands at `p` takes a byte, and where the pattern goes on.
fn one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match pattern[p] {
        b'?' => Some(p + 1),
        b'[' => {
            let Some(len) = pattern[p + 1..].iter().position(|&b| b == b']').filter(|&l| l > 0) else { return (byte == b'[').then_some(p + 1) };
            let mut set = &pattern[p + 1..p + 1 + len];
            let not = matches!(set, [b'!' | b'^', _, ..]);
            if not {
                set = &set[1..];
            }
            let mut found = false;
            while let [first, rest @ ..] = set {
                match rest {
                    [b'-', last, rest @ ..] => {
                        found |= (*first..=*last).contains(&byte);
                        set = rest;
                    }
                    _ => {
                        found |= *first == byte;
                        set = rest;
                    }
                }
            }
            (found != not).then_some(p + 2 + len)
        }
        c => (c == byte).then_some(p + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_shell_s_do() {
        for (pattern, name, yes) in [
            ("*.log", "auth.log", true),
            ("*.log", "auth.log.1", false),
            ("eve*.json", "eve.json", true),
            ("eve*.json", "eve-2026.json", true),
            ("eve?.json", "eve1.json", true),
            ("eve?.json", "eve.json", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("log.[0-9]", "log.7", true),
            ("log.[0-9]", "log.x", false),
            ("log.[!0-9]", "log.x", true),
            ("[", "[", true),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), yes, "{pattern} {name}");
        }
    }

    #[test]
    fn a_glob_goes_through_folders_and_leaves_hidden_files_out() {
        let dir = tempfile::tempdir().expect("a folder");
        for f in ["a/1.log", "b/2.log", "b/3.txt", "b/.4.log"] {
            let p = dir.path().join(f);
            std::fs::create_dir_all(p.parent().expect("it has one")).expect("a folder");
            std::fs::write(p, "").expect("a file");
        }
        let expand = |glob: &str, mut entries: usize| (expand(glob, &mut entries), entries);
        let glob = format!("{}/*/*.log", dir.path().display());
        assert_eq!(expand(&glob, 100), (vec![dir.path().join("a/1.log"), dir.path().join("b/2.log")], 94));
        assert_eq!(expand("/no/such/file", 9), (vec![PathBuf::from("/no/such/file")], 9));
        assert_eq!(expand("/no/such/*", 9), (Vec::new(), 9));
        let (some, left) = expand(&glob, 3);
        assert_eq!((some.len(), left), (some.len().min(1), 0), "two folders and one entry of them have been looked at");
    }
}
