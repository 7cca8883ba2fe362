//! What rules share: tables and named conditions.

use super::*;

impl Loader<'_> {
    // Tables and conditions.

    pub(super) fn read_tables(&mut self, all: Vec<(String, Spot, Node)>) {
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for (name, at, n) in all {
            if !seen.insert(name.clone()) {
                self.error("R006", &at, format!("there are two tables `{name}`"), "the second", None);
                continue;
            }
            let mut t = Table { name: name.clone(), ..Table::default() };
            if self.keys(&n, &["values", "file", "description"], "a table") {
                match (n.get("values"), n.get("file")) {
                    (Some(v), None) => match &v.value {
                        Val::Array(all) => {
                            for v in all {
                                match &v.value {
                                    Val::Str(s) => table_value(&mut t, s),
                                    Val::Int(i) => table_value(&mut t, &i.to_string()),
                                    _ => self.error(
                                        "R022",
                                        &v.at,
                                        "the values of a table are strings and whole numbers",
                                        format!("this is {}", v.kind()),
                                        None,
                                    ),
                                }
                            }
                        }
                        _ => self.wrong(v, "values", "a list"),
                    },
                    (None, Some(f)) => {
                        if let Some(path) = self.str(f, "file") {
                            let path = beside(&self.files[f.at.file].0, path);
                            match (self.read)(&path) {
                                Ok(text) => {
                                    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
                                        table_value(&mut t, line);
                                    }
                                }
                                Err(e) => self.error("R022", &f.at, format!("cannot read `{}`", path.escape_debug()), e, None),
                            }
                        }
                    }
                    (Some(_), Some(f)) => self.error("R022", &f.at, "a table has `values` or `file`", "not both", None),
                    (None, None) => self.error("R022", &at, format!("the table `{name}` has no values"), "`values` or `file` is missing", None),
                }
            }
            t.nets.sort();
            t.nets.dedup();
            self.tables.insert(name, Arc::new(t));
        }
    }

    pub(super) fn read_conditions(&mut self, all: Vec<(String, Spot, Node)>) {
        let mut asts: BTreeMap<String, (Spot, Node, Option<At<Ast>>)> = BTreeMap::new();
        for (name, at, n) in all {
            if asts.contains_key(&name) {
                self.error("R006", &at, format!("there are two conditions `{name}`"), "the second", None);
                continue;
            }
            let mut ast = None;
            let mut of = n.clone();
            if self.keys(&n, &["where", "description"], "a condition")
                && let Some(w) = self.need(&n, "where", "a condition")
            {
                ast = self.parse(w, "where");
                of = w.clone();
            }
            asts.insert(name, (at, of, ast));
        }
        // Those that name others are resolved after them; what is left when no more can be is a cycle.
        let mut open: Vec<String> = asts.keys().cloned().collect();
        while !open.is_empty() {
            let before = open.len();
            let waiting: BTreeSet<String> = open.iter().cloned().collect();
            open.retain(|name| {
                let Some((_, n, ast)) = asts.get(name) else { return false };
                let mut uses = Vec::new();
                if let Some(a) = ast {
                    named_conditions(a, &mut uses);
                }
                if uses.iter().any(|u| waiting.contains(u)) {
                    return true;
                }
                let e = ast.as_ref().and_then(|a| self.scope(n, |s| s.resolve(a)));
                self.conditions.insert(name.clone(), e);
                false
            });
            if open.len() == before {
                for name in std::mem::take(&mut open) {
                    if let Some((at, ..)) = asts.get(&name) {
                        self.error("R032", at, format!("the condition `{name}` leads back to itself"), "by `is(..)` of itself or of another", None);
                    }
                    self.conditions.insert(name, None);
                }
            }
        }
    }
}
