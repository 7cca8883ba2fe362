//! A rule and its parts: what wakes it, its kind, its steps, what happens after firing, its metric.

use super::*;

impl Loader<'_> {
    /// `where` and `rule` of a rule or a step.
    pub(super) fn when(&mut self, n: &Node, own: usize, what: &str, refs: &mut Vec<(usize, Spot)>) -> Option<When> {
        let (w, r) = (n.get("where"), n.get("rule"));
        if w.is_none() && r.is_none() {
            if !self.broken.get(n.at.file).copied().unwrap_or(false) {
                let at = self.head(n).unwrap_or(n.at.clone());
                self.error("R017", &at, format!("{what} matches nothing"), "`where` or `rule` is missing", None);
            }
            return None;
        }
        let where_ = w.map(|w| self.condition(w, "where"));
        let rules = r.map(|r| self.listens(r, own));
        let where_ = match where_ {
            Some(e) => Some(e?),
            None => None,
        };
        let rules = match rules {
            Some(r) => {
                let r = r?;
                refs.extend(r.iter().cloned());
                Some(r.into_iter().map(|(i, _)| i).collect())
            }
            None => None,
        };
        if let (Some(e), Some(w), None) = (&where_, w, &rules)
            && !check::wakes(e)
        {
            let help = Some("add a condition such as `event.module == \"…\"`".to_owned());
            let too = if check::narrows(e) { "" } else { ", and a backtest reads every record" };
            self.warn("R054", &w.at, format!("{what} is tried on every event{too}"), "no literal that an event must have", help);
        }
        Some(When { where_, rules })
    }

    /// Whether the alerts of the rules named by `rule` have the key fields.
    pub(super) fn bound(&mut self, n: &Node, by: &[Field], step: bool) {
        let Some(r) = n.get("rule") else { return };
        let Val::Str(s) = &r.value else {
            return;
        };
        let Some(gives) = self.ids.get(s.as_str()).map(|i| self.facts[*i].gives.clone()) else { return };
        for f in by {
            let name = self.schema.name(*f).to_owned();
            let known = gives.contains(&name)
                || ["rule.", "alert.", "event.", "related.", "threat."].iter().any(|p| name.starts_with(p))
                || ["@timestamp", "message"].contains(&name.as_str());
            if !known {
                let level = if step { Level::Error } else { Level::Warning };
                let help = Some(format!("add it to `carry` of `{s}`, or give the step a `by` of its own"));
                self.say(level, "R019", &r.at, format!("an alert of `{s}` has no `{name}`, which is part of the key"), "never in a group", help);
            }
        }
    }

    pub(super) fn steps(&mut self, n: &Node, own: usize, by: &[Field], null: bool, all_of: bool, refs: &mut Vec<(usize, Spot)>) -> Option<Vec<Step>> {
        let kind = if all_of { "all_of" } else { "sequence" };
        let list = self.need(n, "step", &format!("`{kind}`"))?;
        let Val::Array(all) = &list.value else {
            let help = Some(format!("write `[[rule.{kind}.step]]`"));
            self.error("R004", &list.at, "`step` is a list of tables", format!("this is {}", list.kind()), help);
            return None;
        };
        if all.is_empty() || all.len() > MAX_STEPS {
            self.error("R009", &list.at, format!("`{kind}` has from 1 to {MAX_STEPS} steps"), format!("these are {}", all.len()), None);
            return None;
        }
        let mut out = Vec::new();
        let mut ok = true;
        for s in all {
            let known: &[&str] = if all_of { &["where", "rule", "by", "required", "absent"] } else { &["where", "rule", "by", "absent", "within"] };
            if !self.keys(s, known, "a step") {
                ok = false;
                continue;
            }
            if let Some(a) = s.get("absent") {
                if all_of {
                    self.error("R017", &a.at, "a step of an `all_of` cannot be absent", "only in a `sequence`", None);
                    ok = false;
                } else if self.bool(Some(a), "absent", false) {
                    self.later(&a.at, "absent steps");
                    ok = false;
                }
            }
            if let Some(w) = s.get("within")
                && s.get("absent").is_none()
            {
                self.error("R002", &w.at, "only an absent step has a `within`", "the rule's window holds", None);
                ok = false;
            }
            let own_by = s.get("by").map(|b| (b, self.fields(b, "by", MAX_BY)));
            let mut step_by = None;
            if let Some((b, fields)) = own_by {
                match fields {
                    Some(fields) if fields.len() != by.len() => {
                        let m = format!("the step has {} key fields, the rule {}", fields.len(), by.len());
                        self.error("R018", &b.at, m, "as many are needed, in the same order", None);
                        ok = false;
                    }
                    Some(fields) => {
                        for (f, r) in fields.iter().zip(by) {
                            let (a, c) = (self.schema.ty(*f), self.schema.ty(*r));
                            if a != c && a != Type::Any && c != Type::Any {
                                let (x, y) = (self.schema.name(*f).to_owned(), self.schema.name(*r).to_owned());
                                let m = format!("`{x}` is {}, `{y}` is {}", check::kind(a), check::kind(c));
                                self.error("R018", &b.at, m, "these are never the same key", None);
                                ok = false;
                            }
                        }
                        step_by = Some(fields);
                    }
                    None => ok = false,
                }
            }
            if !null {
                self.bound(s, step_by.as_deref().unwrap_or(by), true);
            }
            let required = self.bool(s.get("required"), "required", false);
            match self.when(s, own, "the step", refs) {
                Some(when) => {
                    let step = Step { when, by: step_by, required };
                    if all_of && out.iter().any(|o: &Step| overlap(&o.when, &step.when)) {
                        let at = self.head(s).unwrap_or(s.at.clone());
                        let help = Some("an event fills every step that it matches".to_owned());
                        self.warn("R053", &at, "whatever fills one of two steps fills the other too", "overlaps with a step before it", help);
                    }
                    out.push(step);
                }
                None => ok = false,
            }
        }
        ok.then_some(out)
    }

    pub(super) fn later(&mut self, at: &Spot, what: &str) {
        self.error("R010", at, format!("this version does not have {what} yet"), "comes later", None);
    }

    pub(super) fn kind(&mut self, n: &Node, own: usize, by: &[Field], null: bool, refs: &mut Vec<(usize, Spot)>) -> Option<Kind> {
        let Val::Table(t) = &n.value else { return None };
        let mut kinds = t.iter().filter(|(k, _)| KINDS.contains(&k.name.as_str()));
        let Some((key, v)) = kinds.next() else { return Some(Kind::Single) };
        if let Some((second, _)) = kinds.next() {
            let help = Some("make two rules; one may listen to the other by `rule`".to_owned());
            self.error("R011", &second.at, format!("a rule has one of {}", KINDS.join(", ")), format!("it has `{}` already", key.name), help);
            return None;
        }
        let what = format!("`{}`", key.name);
        let within = |l: &mut Self| l.need(v, "within", &what).and_then(|w| l.span(w, "within", false, MAX_WINDOW));
        match key.name.as_str() {
            "count" => {
                self.keys(v, &["at_least", "within"], &what);
                let at_least = self.need(v, "at_least", &what).and_then(|a| self.at_least(a));
                Some(Kind::Count { within: within(self)?, at_least: at_least? })
            }
            "distinct" => {
                self.keys(v, &["field", "at_least", "within"], &what);
                let fields = self.need(v, "field", &what).and_then(|f| match &f.value {
                    Val::Array(a) if a.is_empty() => {
                        self.error("R009", &f.at, "`distinct` needs a field", "an empty list", None);
                        None
                    }
                    Val::Array(_) => self.fields(f, "field", MAX_BY),
                    _ => self.field(f, "field").map(|f| vec![f]),
                });
                let at_least = self.need(v, "at_least", &what).and_then(|a| self.at_least(a).map(|n| (n, a)));
                if let (Some(fields), Some((n, a))) = (&fields, at_least) {
                    let only = fields.iter().all(|f| self.schema.ty(*f) == Type::Bool);
                    if only && n > 1 << fields.len().min(16) {
                        self.error("R030", &a.at, format!("there are never {n} different values"), "the fields are true or false", None);
                    }
                }
                Some(Kind::Distinct { within: within(self)?, fields: fields?, at_least: at_least?.0 })
            }
            "sum" => {
                self.keys(v, &["field", "at_least", "within"], &what);
                let f = self.need(v, "field", &what).and_then(|f| {
                    let id = self.field(f, "field")?;
                    if !matches!(self.schema.ty(id), Type::Int | Type::Float | Type::Any) {
                        let m = format!("`{}` is {}, which has no sum", self.schema.name(id), check::kind(self.schema.ty(id)));
                        self.error("C002", &f.at, m, "no number", None);
                        return None;
                    }
                    Some(id)
                });
                let at_least = self.need(v, "at_least", &what).and_then(|a| self.millionths(a, "at_least"));
                Some(Kind::Sum { within: within(self)?, field: f?, at_least: at_least? })
            }
            "sequence" => {
                self.keys(v, &["within", "step", "until"], &what);
                if let Some((k, _)) = if let Val::Table(t) = &v.value { t.iter().find(|(k, _)| k.name == "until") } else { None } {
                    self.later(&k.at, "`until`");
                }
                let steps = self.steps(v, own, by, null, false, refs);
                Some(Kind::Sequence { within: within(self)?, steps: steps? })
            }
            "all_of" => {
                self.keys(v, &["within", "step", "at_least"], &what);
                let steps = self.steps(v, own, by, null, true, refs);
                let count = v.get("step").map_or(0, |s| if let Val::Array(a) = &s.value { a.len() } else { 0 });
                let at_least = match v.get("at_least") {
                    None => Some(count as i128),
                    Some(a) => self.int(a, "at_least", 1..=MAX_AT_LEAST).and_then(|n| {
                        if n > count as i128 {
                            self.error("R030", &a.at, format!("there are {count} steps, never {n}"), "cannot be reached", None);
                            return None;
                        }
                        Some(n)
                    }),
                };
                Some(Kind::AllOf { within: within(self)?, at_least: at_least? as u32, steps: steps? })
            }
            other => {
                self.later(&key.at, &format!("`{other}`"));
                None
            }
        }
    }

    pub(super) fn at_least(&mut self, n: &Node) -> Option<u32> {
        match &n.value {
            Val::Int(i) if *i > MAX_AT_LEAST => {
                let m = format!("state holds at most {MAX_AT_LEAST} matches of a key");
                self.error("R030", &n.at, m, "cannot be reached", Some("count coarser, or add up with `sum`".into()));
                None
            }
            _ => self.int(n, "at_least", 1..=MAX_AT_LEAST).map(|n| n as u32),
        }
    }

    pub(super) fn rearm(&mut self, n: &Node, by: &[Field], kind: Option<&Kind>) -> Option<Rearm> {
        let Some(r) = n.get("rearm") else {
            return kind.map(|k| if k.within().is_some() { Rearm::Reset } else { Rearm::Every });
        };
        match &r.value {
            Val::Str(s) if s == "every" => Some(Rearm::Every),
            Val::Str(s) if s == "reset" => {
                if kind.is_some_and(|k| k.within().is_none()) {
                    let help = Some("write `rearm = { cooldown = \"30m\", by = [..] }`".to_owned());
                    self.error("R013", &r.at, "`reset` is for rules with `within`", "there is no window to clear", help);
                    return None;
                }
                Some(Rearm::Reset)
            }
            Val::Str(s) => {
                let help = check::near(s, ["every", "reset"]).map(|n| format!("did you mean `{n}`?"));
                let help = help.or_else(|| Some("`\"every\"`, `\"reset\"`, `{ cooldown = \"30m\" }` or `{ below = 3 }`".to_owned()));
                self.error("R007", &r.at, format!("`{}` is no way to re-arm", s.escape_debug()), "not known", help);
                None
            }
            Val::Table(_) => {
                self.keys(r, &["cooldown", "by", "below"], "`rearm`");
                match (r.get("cooldown"), r.get("below")) {
                    (Some(c), None) => {
                        let time = self.span(c, "cooldown", false, MAX_WINDOW);
                        let fields = match r.get("by") {
                            None => None,
                            Some(b) => {
                                let f = self.fields(b, "by", MAX_BY)?;
                                if !by.is_empty() {
                                    for x in f.iter().filter(|x| !by.contains(x)) {
                                        let m = format!("`{}` is not in the rule's `by`", self.schema.name(*x));
                                        self.error("R013", &b.at, m, "a quiet time is shared by fields of the key", None);
                                    }
                                }
                                Some(f)
                            }
                        };
                        Some(Rearm::Cooldown { time: time?, by: fields })
                    }
                    (None, Some(b)) => {
                        if let Some(by) = r.get("by") {
                            self.error("R013", &by.at, "`by` belongs to `cooldown`", "not to `below`", None);
                        }
                        match kind? {
                            Kind::Count { at_least, .. } | Kind::Distinct { at_least, .. } => {
                                let n = self.int(b, "below", i128::MIN..=i128::MAX)?;
                                if n < 2 || n > *at_least as i128 {
                                    let m = format!("`below` is from 2 to `at_least`, which is {at_least}");
                                    self.error("R013", &b.at, m, "out of range", None);
                                    return None;
                                }
                                Some(Rearm::Below(n))
                            }
                            Kind::Sum { at_least, .. } => {
                                let n = self.millionths(b, "below")?;
                                if n > *at_least {
                                    self.error("R013", &b.at, "`below` is at most `at_least`", "out of range", None);
                                    return None;
                                }
                                Some(Rearm::Below(n))
                            }
                            _ => {
                                self.error("R013", &b.at, "`below` is for `count`, `distinct` and `sum`", "nothing here can fall", None);
                                None
                            }
                        }
                    }
                    _ => {
                        self.error("R013", &r.at, "`rearm` has either `cooldown` or `below`", "one of the two", None);
                        None
                    }
                }
            }
            _ => {
                self.wrong(r, "rearm", "a string or a table");
                None
            }
        }
    }

    pub(super) fn metric(&mut self, n: &Node, title: &str) -> Option<Metric> {
        self.keys(n, &["name", "kind", "value", "labels", "label_fields", "max_series", "help"], "`metric`").then_some(())?;
        let before = self.said.len();
        let name = self.need(n, "name", "`metric`").and_then(|v| {
            let s = self.str(v, "name")?;
            let fits = |b: u8, first: bool| b.is_ascii_alphabetic() || b == b'_' || b == b':' || (!first && b.is_ascii_digit());
            if s.is_empty() || s.len() > 200 || !s.bytes().enumerate().all(|(i, b)| fits(b, i == 0)) {
                let help = Some("letters, digits, `_` and `:`, not beginning with a digit".to_owned());
                self.error("R024", &v.at, format!("`{}` is no name of a metric", s.escape_debug()), "not a name", help);
            }
            Some(s.to_owned())
        });
        let kind = self.need(n, "kind", "`metric`").and_then(|v| match self.str(v, "kind")? {
            "counter" => Some(MetricKind::Counter),
            "gauge" => Some(MetricKind::Gauge),
            s => {
                let help = check::near(s, ["counter", "gauge"]).map(|n| format!("did you mean `{n}`?"));
                self.error("R007", &v.at, format!("`{}` is no kind of metric", s.escape_debug()), "`counter` or `gauge`", help);
                None
            }
        });
        let value = n.get("value").and_then(|v| {
            let f = self.field(v, "value")?;
            if !matches!(self.schema.ty(f), Type::Int | Type::Float | Type::Any) {
                let m = format!("`{}` is {}, no number", self.schema.name(f), check::kind(self.schema.ty(f)));
                self.error("R024", &v.at, m, "a metric has numbers", None);
            }
            Some(f)
        });
        if kind == Some(MetricKind::Gauge) && n.get("value").is_none() {
            let at = self.head(n).unwrap_or(n.at.clone());
            self.error("R024", &at, "a gauge needs `value`", "nothing to set it to", None);
        }
        let mut labels = Vec::new();
        let mut label_fields = Vec::new();
        for what in ["labels", "label_fields"] {
            let Some(t) = n.get(what) else { continue };
            let Val::Table(all) = &t.value else {
                self.wrong(t, what, "a table");
                continue;
            };
            for (k, v) in all {
                let fits = |b: u8, first: bool| b.is_ascii_alphabetic() || b == b'_' || (!first && b.is_ascii_digit());
                if k.name.is_empty() || k.name.starts_with("__") || !k.name.bytes().enumerate().all(|(i, b)| fits(b, i == 0)) {
                    self.error("R024", &k.at, format!("`{}` is no name of a label", k.name.escape_debug()), "not a name", None);
                }
                if label_fields.iter().any(|(n, _): &(String, Template)| *n == k.name) || labels.iter().any(|(n, _): &(String, String)| *n == k.name)
                {
                    self.error("R024", &k.at, format!("the label `{}` stands twice", k.name.escape_debug()), "the second", None);
                }
                let Some(s) = self.str(v, what) else { continue };
                if what == "labels" {
                    labels.push((k.name.clone(), s.to_owned()));
                } else if s.contains('{') {
                    if let Some(t) = self.template(v, what) {
                        label_fields.push((k.name.clone(), t));
                    }
                } else if let Some(f) = self.field(v, what) {
                    label_fields.push((k.name.clone(), Template(vec![Part::Field(f)])));
                }
            }
        }
        let max_series = n.get("max_series").map_or(Some(100), |v| self.int(v, "max_series", 1..=10_000));
        let help = n.get("help").map_or(Some(title.to_owned()), |v| self.str(v, "help").map(str::to_owned));
        if self.said.len() > before {
            return None;
        }
        Some(Metric { name: name?, kind: kind?, value, labels, label_fields, max_series: max_series? as usize, help: help? })
    }

    pub(super) fn rule(&mut self, own: usize) -> Option<Draft> {
        let errors = |l: &Self| l.said.iter().filter(|d| d.level == Level::Error).count();
        let before = errors(self);
        let fact = self.facts[own].clone();
        let n = &fact.node;
        self.keys(n, &RULE, "a rule");
        let title = self.need(n, "title", "a rule").and_then(|v| self.str(v, "title").map(str::to_owned));
        let severity = self.need(n, "severity", "a rule").and_then(|v| {
            let s = self.str(v, "severity")?;
            let out = Severity::of(s);
            if out.is_none() {
                let all = ["informational", "low", "medium", "high", "critical"];
                let help = check::near(s, all).map(|n| format!("did you mean `{n}`?")).or_else(|| Some(all.join(", ")));
                self.error("R007", &v.at, format!("`{}` is no severity", s.escape_debug()), "not known", help);
            }
            out
        });
        for k in ["description", "reason"] {
            if let Some(v) = n.get(k) {
                self.str(v, k);
            }
        }
        for k in ["false_positives", "references", "runbook"] {
            match n.get(k) {
                Some(v) if matches!(v.value, Val::Str(_)) && k != "references" => {}
                v => {
                    self.strs(v, k);
                }
            }
        }
        let summary = n.get("summary").and_then(|v| self.template(v, "summary"));
        let signal = self.bool(n.get("signal"), "signal", false);
        let alert = self.bool(n.get("alert"), "alert", true);
        let by = n.get("by").map_or(Some(Vec::new()), |v| self.fields(v, "by", MAX_BY)).unwrap_or_default();
        let missing_null = match n.get("missing") {
            None => false,
            Some(v) => match self.str(v, "missing") {
                Some("null") => true,
                Some(s) => {
                    let m = format!("`{}` is nothing that `missing` can be", s.escape_debug());
                    self.error("R007", &v.at, m, "only \"null\"", None);
                    false
                }
                None => false,
            },
        };
        let mut refs = Vec::new();
        let kind = self.kind(n, own, &by, missing_null, &mut refs);
        let stepped = n.get("sequence").is_some() || n.get("all_of").is_some();
        let own_source = n.get("risk").is_some();
        let when = if stepped {
            for k in ["where", "rule"] {
                if let Some(v) = n.get(k) {
                    self.error("R017", &v.at, format!("a rule with steps has no `{k}` of its own"), "say it in the steps", None);
                }
            }
            Some(When::default())
        } else if own_source && n.get("where").is_none() && n.get("rule").is_none() {
            None
        } else {
            if !missing_null {
                self.bound(n, &by, false);
            }
            self.when(n, own, "the rule", &mut refs)
        };
        let per = n.get("per").and_then(|v| {
            if !["count", "distinct", "sum"].iter().any(|k| n.get(k).is_some()) {
                self.error("R018", &v.at, "`per` is for `count`, `distinct` and `sum`", "nothing is counted here", None);
            }
            self.field(v, "per")
        });
        let rearm = self.rearm(n, &by, kind.as_ref());
        let carry = match n.get("carry") {
            None => CARRY.to_vec(),
            Some(v) => self.fields(v, "carry", 64).unwrap_or_default(),
        };
        let max_alerts = n.get("max_alerts").map_or(Some(1000), |v| self.int(v, "max_alerts", 1..=1_000_000));
        let keys = match n.get("keys") {
            None => Some(None),
            Some(v) => self.int(v, "keys", 1..=10_000_000).map(Some),
        };
        let skew = n.get("skew").map_or(Some(Span(0)), |v| {
            if n.get("sequence").is_none() {
                self.error("R018", &v.at, "`skew` is for the order of steps of a `sequence`", "there is no order here", None);
            }
            self.span(v, "skew", true, MAX_SKEW)
        });
        let respond = self.strs(n.get("respond"), "respond").into_iter().map(|(s, _)| s.to_owned()).collect();
        let metric = n.get("metric").and_then(|m| self.metric(m, title.as_deref().unwrap_or_default()));
        let tests = self.tests(n);
        if errors(self) > before {
            return None;
        }
        let (kind, rearm, severity) = (kind?, rearm?, severity?);
        if kind == Kind::Single && n.get("rearm").is_none() && alert {
            let help = Some("name a cooldown: `rearm = { cooldown = \"30m\", by = [..] }`, or say `rearm = \"every\"`".to_owned());
            self.warn("R050", &fact.id_at, "each match of this rule is an alert", "a single-event rule without `rearm`", help);
        }
        if !alert && metric.is_none() {
            self.warn("R052", &fact.id_at, "the rule does nothing", "neither alerts nor a metric", None);
        }
        if severity >= Severity::High && alert {
            let due = |t: &RuleTest| match &t.body {
                Body::Timeline(rows) => rows.iter().any(|r| r.due),
                Body::Lines { alerts, .. } => !alerts.is_empty(),
            };
            let (yes, no) = (tests.iter().any(due), tests.iter().any(|t| !due(t)));
            if !yes || !no {
                let label = match (yes, no) {
                    (true, _) => "a test in which it stays quiet is missing",
                    (_, true) => "a test in which it fires is missing",
                    _ => "it has no tests",
                };
                self.warn("R051", &fact.id_at, format!("severity `{}` is worth two tests", severity.name()), label, None);
            }
        }
        refs.sort_by_key(|(i, _)| *i);
        refs.dedup_by_key(|(i, _)| *i);
        let rule = Rule {
            id: fact.id.as_str().into(),
            title: title?,
            summary,
            severity,
            attack: fact.attack,
            tactics: fact.tactics,
            tags: fact.tags,
            signal,
            alert,
            when: when?,
            by,
            per,
            missing_null,
            kind,
            rearm,
            carry,
            max_alerts: max_alerts? as u32,
            keys: keys?.map(|k| k as usize),
            skew: skew?,
            metric,
            respond,
            exceptions: Vec::new(),
            meaning: [0; 16],
            level: 1,
            file: self.files[n.at.file].0.clone(),
            tests,
        };
        Some(Draft { rule, fact: own, refs })
    }
}
