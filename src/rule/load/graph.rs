//! How rules listen to each other: ids, tags and tactics, levels, and the hash of what a rule means.

use super::*;

impl Loader<'_> {
    // Rules.

    pub(super) fn read_facts(&mut self, rules: Vec<(String, Spot, Node)>, tunes: &[(String, Spot, Node)]) {
        for (_, _, n) in rules {
            if !matches!(n.value, Val::Table(_)) {
                self.wrong(&n, "rule", "a table");
                continue;
            }
            let mut fact = Fact {
                id: String::new(),
                id_at: n.at.clone(),
                tags: Vec::new(),
                attack: Vec::new(),
                tactics: Vec::new(),
                enabled: true,
                index: None,
                gives: Vec::new(),
                node: n,
            };
            let node = fact.node.clone();
            if let Some(id) = self.need(&node, "id", "a rule") {
                fact.id_at = id.at.clone();
                if let Some(s) = self.str(id, "id") {
                    if s.is_empty() || s.len() > 128 || !s.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
                        let help = Some("small letters, digits and `-`, at most 128".to_owned());
                        self.error("R005", &id.at, format!("`{}` is no id", s.escape_debug()), "not an id", help);
                    } else if let Some(other) = self.ids.get(s).map(|i| self.facts[*i].id_at.clone()) {
                        let place = self.files.get(other.file).map(|f| format!("{}:{}", f.0, line(&f.1, other.span.start))).unwrap_or_default();
                        self.error("R006", &id.at, format!("the id `{s}` is used twice"), "the second", Some(format!("the first is at {place}")));
                    } else {
                        fact.id = s.to_owned();
                        self.ids.insert(s.to_owned(), self.facts.len());
                    }
                }
            }
            self.facts.push(fact);
        }
        // Tags of the rule itself decide which tunes it gets, so they are read before and again after.
        for i in 0..self.facts.len() {
            self.facts[i].tags = words(&self.facts[i].node, "tags");
        }
        for (_, _, n) in tunes {
            self.tune(n);
        }
        for i in 0..self.facts.len() {
            let node = self.facts[i].node.clone();
            let mut attack = Vec::new();
            let mut tactics = BTreeSet::new();
            for (id, at) in self.strs(node.get("attack"), "attack") {
                if attack::number(id).is_none() {
                    let help = Some("techniques are written `T1110` or `T1110.003`; tactics follow from them".to_owned());
                    self.error("R027", &at.at, format!("`{}` is no ATT&CK technique", id.escape_debug()), "not an id", help);
                    continue;
                }
                let before = tactics.len();
                let mut known = false;
                for t in attack::tactics(id) {
                    known = true;
                    tactics.insert(t.to_owned());
                }
                if !known && tactics.len() == before {
                    self.warn("R028", &at.at, format!("the technique `{id}` is not known"), "it gives the rule no tactic", None);
                }
                attack.push(id.to_owned());
            }
            let tags = self.strs(node.get("tags"), "tags").into_iter().map(|(s, _)| s.to_owned()).collect();
            let enabled = self.bool(node.get("enabled"), "enabled", true);
            let f = &mut self.facts[i];
            (f.attack, f.tactics, f.tags, f.enabled) = (attack, tactics.into_iter().collect(), tags, enabled);
        }
    }

    /// The rules that an exception or a tune is about.
    pub(super) fn about(&mut self, n: &Node, what: &str) -> Vec<usize> {
        if n.get("rules").is_none() && n.get("tags").is_none() {
            let at = self.head(n).unwrap_or(n.at.clone());
            self.error("R020", &at, format!("{what} says which rules it is about"), "`rules` or `tags` is missing", None);
        }
        let mut out = BTreeSet::new();
        for (id, at) in self.strs(n.get("rules"), "rules") {
            match self.ids.get(id) {
                Some(i) => {
                    out.insert(*i);
                }
                None => self.no_rule(id, &at.at),
            }
        }
        for (tag, at) in self.strs(n.get("tags"), "tags") {
            let hits: Vec<usize> = (0..self.facts.len()).filter(|i| self.facts[*i].tags.iter().any(|t| t == tag)).collect();
            if hits.is_empty() {
                self.warn("R015", &at.at, format!("no rule has the tag `{}`", tag.escape_debug()), "matches nothing", None);
            }
            out.extend(hits);
        }
        out.into_iter().collect()
    }

    pub(super) fn no_rule(&mut self, id: &str, at: &Spot) {
        let help = check::near(id, self.ids.keys().map(String::as_str)).map(|n| format!("did you mean `{n}`?"));
        self.error("R014", at, format!("there is no rule `{}`", id.escape_debug()), "not defined in any file", help);
    }

    pub(super) fn why(&mut self, n: &Node, what: &str) -> (String, String) {
        let mut one = |name| {
            let v = self.need(n, name, what)?;
            let s = self.str(v, name)?.to_owned();
            if s.trim().is_empty() {
                self.error("R003", &v.at, format!("{what} needs `{name}`"), "it is empty", None);
            }
            Some(s)
        };
        (one("owner").unwrap_or_default(), one("reason").unwrap_or_default())
    }

    /// Key and carried fields of a rule's alerts, as far as they can be read without complaints.
    pub(super) fn gives(&self, n: &Node) -> Vec<String> {
        let list = |n: Option<&Node>| -> Option<Vec<String>> {
            match &n?.value {
                Val::Array(all) => all.iter().map(|n| if let Val::Str(s) = &n.value { Some(s.clone()) } else { None }).collect(),
                _ => None,
            }
        };
        let by = list(n.get("by")).unwrap_or_default();
        let cool = list(n.get("rearm").and_then(|r| r.get("by"))).unwrap_or_default();
        let carry = list(n.get("carry"));
        let carried = carry.unwrap_or_else(|| CARRY.iter().map(|f| self.schema.name(*f).to_owned()).collect());
        by.into_iter().chain(cool).chain(carried).collect()
    }

    /// Resolves `rule = …` into indices of the set.
    pub(super) fn listens(&mut self, n: &Node, own: usize) -> Option<Vec<(usize, Spot)>> {
        let names: Vec<(&str, &Node)> = match &n.value {
            Val::Str(s) => vec![(s.as_str(), n)],
            Val::Array(_) => self.strs(Some(n), "rule"),
            _ => {
                self.wrong(n, "rule", "a string or a list of strings");
                return None;
            }
        };
        if names.is_empty() {
            self.error("R017", &n.at, "`rule` names no rule", "an empty list", None);
            return None;
        }
        let before = self.said.iter().filter(|d| d.level == Level::Error).count();
        let mut out: BTreeMap<usize, Spot> = BTreeMap::new();
        for (s, at) in names {
            let hits: Vec<usize> = if let Some(tag) = s.strip_prefix("tag:") {
                (0..self.facts.len()).filter(|i| *i != own && self.facts[*i].tags.iter().any(|t| t == tag)).collect()
            } else if let Some(tactic) = s.strip_prefix("tactic:") {
                if !attack::TACTICS.contains(&tactic) {
                    let help = check::near(tactic, attack::TACTICS).map(|n| format!("did you mean `tactic:{n}`?"));
                    self.error("R014", &at.at, format!("there is no tactic `{}`", tactic.escape_debug()), "not of ATT&CK", help);
                    continue;
                }
                (0..self.facts.len()).filter(|i| *i != own && self.facts[*i].tactics.iter().any(|t| t == tactic)).collect()
            } else {
                match self.ids.get(s).copied() {
                    Some(i) => {
                        if self.facts[i].index.is_none() {
                            self.warn("R031", &at.at, format!("the rule `{s}` is not enabled"), "it gives no alerts", None);
                        }
                        vec![i]
                    }
                    None => {
                        self.no_rule(s, &at.at);
                        continue;
                    }
                }
            };
            if hits.is_empty() {
                let what = s.replace("tag:", "the tag ").replace("tactic:", "the tactic ");
                self.warn("R015", &at.at, format!("no rule has {}", what.escape_debug()), "matches nothing", None);
            }
            for i in hits {
                if let Some(index) = self.facts[i].index {
                    out.entry(index).or_insert_with(|| at.at.clone());
                }
            }
        }
        let after = self.said.iter().filter(|d| d.level == Level::Error).count();
        (before == after).then(|| out.into_iter().collect())
    }

    // The graph.

    pub(super) fn levels(&mut self, drafts: &mut [Draft]) {
        let count = drafts.len();
        let mut done = vec![false; count];
        let mut order = Vec::with_capacity(count);
        loop {
            let ready: Vec<usize> =
                (0..count).filter(|&i| !done[i] && drafts[i].refs.iter().all(|(r, _)| done.get(*r).copied().unwrap_or(true))).collect();
            if ready.is_empty() {
                break;
            }
            for i in ready {
                done[i] = true;
                let level = drafts[i].refs.iter().filter_map(|(r, _)| drafts.get(*r)).map(|d| d.rule.level).max().unwrap_or(0);
                drafts[i].rule.level = level.saturating_add(1);
                order.push(i);
            }
        }
        let mut told: BTreeSet<usize> = BTreeSet::new();
        for start in 0..count {
            if done[start] || told.contains(&start) {
                continue;
            }
            // Every rule that is left leads to another that is left, so the walk comes back to where it has been.
            let mut path = vec![start];
            let round = loop {
                let last = path[path.len() - 1];
                let Some(next) = drafts[last].refs.iter().map(|(r, _)| *r).find(|r| !done[*r]) else { break path.len() };
                if let Some(i) = path.iter().position(|p| *p == next) {
                    break i;
                }
                path.push(next);
            };
            let cycle = path.get(round..).unwrap_or_default();
            if cycle.is_empty() || cycle.iter().any(|i| told.contains(i)) {
                continue;
            }
            told.extend(cycle);
            let names: Vec<String> = cycle.iter().chain(cycle.first()).map(|i| format!("`{}`", drafts[*i].rule.id)).collect();
            let (first, second) = (cycle[0], cycle.get(1).copied().unwrap_or(cycle[0]));
            if let Some((_, at)) = drafts[first].refs.iter().find(|(r, _)| *r == second).cloned() {
                self.error("R016", &at, "rules listen to each other in a circle", names.join(" → "), Some("one of them must not".into()));
            }
        }
        for i in order {
            let meaning = self.meaning(&drafts[i].rule, drafts);
            drafts[i].rule.meaning = meaning;
        }
    }

    pub(super) fn meaning(&self, r: &Rule, drafts: &[Draft]) -> [u8; 16] {
        use std::fmt::Write as _;
        let name = |f: &Field| self.schema.name(*f).to_owned();
        let names = |all: &[Field]| all.iter().map(name).collect::<Vec<_>>().join(",");
        let when = |w: &When| {
            let mut s = String::new();
            if let Some(e) = &w.where_ {
                let _ = write!(s, "where {};", expr::render(e, &self.schema));
            }
            if let Some(all) = &w.rules {
                s.push_str("rule");
                for d in all.iter().filter_map(|i| drafts.get(*i)) {
                    let _ = write!(s, " {}:", d.rule.id);
                    for b in d.rule.meaning {
                        let _ = write!(s, "{b:02x}");
                    }
                }
                s.push(';');
            }
            s
        };
        let steps = |all: &[Step]| {
            all.iter()
                .map(|s| format!("step {} by {} required {};", when(&s.when), s.by.as_deref().map(names).unwrap_or_default(), s.required))
                .collect::<String>()
        };
        let mut s = format!("{}by {};per {};null {};", when(&r.when), names(&r.by), r.per.as_ref().map(name).unwrap_or_default(), r.missing_null);
        let _ = match &r.kind {
            Kind::Single => write!(s, "single;"),
            Kind::Count { at_least, within } => write!(s, "count {at_least} {};", within.0),
            Kind::Distinct { fields, at_least, within } => write!(s, "distinct {} {at_least} {};", names(fields), within.0),
            Kind::Sum { field, at_least, within } => write!(s, "sum {} {at_least} {};", name(field), within.0),
            Kind::Sequence { within, steps: all } => write!(s, "sequence {} {}", within.0, steps(all)),
            Kind::AllOf { within, at_least, steps: all } => write!(s, "all_of {} {at_least} {}", within.0, steps(all)),
        };
        let _ = match &r.rearm {
            Rearm::Every => write!(s, "every;"),
            Rearm::Reset => write!(s, "reset;"),
            Rearm::Cooldown { time, by } => write!(s, "cooldown {} {};", time.0, by.as_deref().map_or("-".to_owned(), names)),
            Rearm::Below(n) => write!(s, "below {n};"),
        };
        let _ = write!(s, "carry {};max {};keys {:?};skew {};alert {}", names(&r.carry), r.max_alerts, r.keys, r.skew.0, r.alert);
        let mut out = [0; 16];
        out.copy_from_slice(&blake3::hash(s.as_bytes()).as_bytes()[..16]);
        out
    }
}
