//! A search as it is written: text in, a condition with the names of today's rules and formats out, or what is wrong and where.

use crate::diag::{Diagnostic, Level};
use crate::event::{Field, Schema, Type, field};
use crate::pipeline::bundle::Loaded;
use crate::rule::check::{Finding, PREFIXES, Scope, near};
use crate::rule::compile::Phrase;
use crate::rule::expr::{self, Ast, At, Rhs};
use crate::rule::{Expr, Op, Test};
use std::ops::Range;

/// A longer query is not read.
pub const MAX_QUERY: usize = 8 << 10;
/// The name under which complaints draw the query.
pub const FILE: &str = "query";

/// What is asked of each event.
#[derive(Clone, Debug)]
pub struct Query {
    text: String,
    /// None asks nothing: every event is an answer.
    expr: Option<Expr>,
    schema: Schema,
}

impl Query {
    /// Reads a query as the rules, formats, tables and inventory that are in force understand it; text of blanks alone asks
    /// nothing. Errors are complaints about the file [`FILE`], whose text is the query.
    pub fn new(text: &str, today: &Loaded) -> Result<Query, Vec<Diagnostic>> {
        let mut q = Query { text: text.to_owned(), expr: None, schema: today.rules.schema.clone() };
        if text.len() > MAX_QUERY {
            let long = Finding {
                code: "C010",
                warning: false,
                message: format!("the query is longer than {MAX_QUERY} bytes"),
                span: MAX_QUERY..text.len(),
                label: "too long".into(),
                help: Some("long lists belong in a `[table.NAME]`".into()),
            };
            return Err(vec![told(long)]);
        }
        if text.trim().is_empty() {
            return Ok(q);
        }
        let ast = expr::parse(text).map_err(|c| {
            let code = if c.deep { "C010" } else { "C001" };
            vec![told(Finding { code, warning: false, message: c.message, span: c.span, label: String::new(), help: c.help })]
        })?;
        let mut scope = Scope {
            schema: &mut q.schema,
            tables: &today.rules.tables,
            conditions: &today.rules.conditions,
            estate: &today.estate,
            found: Vec::new(),
            nodes: 0,
        };
        let e = scope.resolve(&ast);
        let mut said: Vec<Diagnostic> = scope.found.into_iter().filter(|f| !f.warning).map(told).collect();
        unknown(&ast, &mut said);
        if e.is_none() && said.is_empty() {
            // A named condition that has an error of its own.
            said.push(told(Finding {
                code: "C007",
                warning: false,
                message: "a condition that this names has an error".into(),
                span: ast.span.clone(),
                label: "cannot be asked".into(),
                help: Some("`vigild check` says which".into()),
            }));
        }
        if !said.is_empty() {
            return Err(said);
        }
        q.expr = e;
        Ok(q)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The condition; none asks nothing.
    pub fn expr(&self) -> Option<&Expr> {
        self.expr.as_ref()
    }

    /// The names of its fields.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// A field that an answer is to be made of, such as the top values. The error says what is wrong with the name.
    pub fn field(&mut self, name: &str) -> Result<Field, String> {
        let (tables, conditions, estate) = Default::default();
        let mut scope = Scope { schema: &mut self.schema, tables: &tables, conditions: &conditions, estate: &estate, found: Vec::new(), nodes: 0 };
        match scope.field(name, &(0..name.len())) {
            Some(f) => Ok(f),
            None => Err(scope.found.pop().map_or_else(String::new, |f| match f.help {
                Some(h) => format!("{}; {h}", f.message),
                None => f.message,
            })),
        }
    }

    /// Whether events can have a field of that name, or fields below it. The error says what is wrong with the name.
    pub fn shows(&mut self, name: &str) -> Result<(), String> {
        let groups = || self.schema.fields().flat_map(|f| above(self.schema.name(f))).chain(PREFIXES);
        if groups().any(|g| g == name) {
            return Ok(());
        }
        let group = near(name, groups()).map(str::to_owned);
        self.field(name).map(|_| ()).map_err(|why| match group {
            Some(g) if !why.contains("did you mean") => format!("the field `{name}` is not known; did you mean `{g}`?"),
            _ => why,
        })
    }

    /// The words that an answer has, not those that it must not have.
    pub fn phrases(&self) -> Vec<Phrase> {
        let mut all = Vec::new();
        if let Some(e) = &self.expr {
            phrases(e, true, &mut all);
        }
        all
    }

    /// The condition with its fields as another schema numbers them; what that one does not know is added to it.
    pub fn under(&self, schema: &mut Schema) -> Option<Expr> {
        self.expr.as_ref().map(|e| translate(e, &self.schema, schema))
    }
}

/// The names above a dotted name: of `a.b.c` these are `a` and `a.b`.
fn above(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(i, _)| &name[..i])
}

fn told(f: Finding) -> Diagnostic {
    let level = if f.warning { Level::Warning } else { Level::Error };
    Diagnostic { code: f.code, level, message: f.message, file: FILE.into(), span: f.span, label: f.label, help: f.help }
}

/// What the engine alone knows of an event is in no record.
fn unknown(ast: &At<Ast>, said: &mut Vec<Diagnostic>) {
    let mut late = |name: &str, span: &Range<usize>| {
        if name == "event.late" {
            said.push(told(Finding {
                code: "C016",
                warning: false,
                message: "`event.late` is known to the engine alone, while an event passes".into(),
                span: span.clone(),
                label: "not kept".into(),
                help: Some("rules can ask for it".into()),
            }));
        }
    };
    match &ast.node {
        Ast::And(all) | Ast::Or(all) => all.iter().for_each(|a| unknown(a, said)),
        Ast::Not(a) => unknown(a, said),
        Ast::Is(_) | Ast::Text { .. } => {}
        Ast::Test(f, rhs) => {
            late(&f.node, &f.span);
            if let Rhs::Field(_, other) = rhs {
                late(&other.node, &other.span);
            }
        }
    }
}

fn phrases(e: &Expr, wanted: bool, out: &mut Vec<Phrase>) {
    match e {
        Expr::And(all) | Expr::Or(all) => all.iter().for_each(|e| phrases(e, wanted, out)),
        Expr::Not(e) => phrases(e, !wanted, out),
        Expr::Test(Test { op: Op::Words(w), .. }) if wanted => out.push(Phrase::new(w)),
        Expr::Test(_) => {}
    }
}

fn translate(e: &Expr, from: &Schema, to: &mut Schema) -> Expr {
    let mut all = |list: &[Expr]| list.iter().map(|e| translate(e, from, to)).collect();
    match e {
        Expr::And(list) => Expr::And(all(list)),
        Expr::Or(list) => Expr::Or(all(list)),
        Expr::Not(e) => Expr::Not(Box::new(translate(e, from, to))),
        Expr::Test(t) => {
            let op = match &t.op {
                Op::Field(c, f) => same(*f, from, to).map(|f| Op::Field(*c, f)),
                op => Some(op.clone()),
            };
            // A field for which there is no room is in no event: the test fails, which is an `or` of nothing.
            let test = same(t.field, from, to).zip(op).map(|(field, op)| Expr::Test(Test { field, op }));
            test.unwrap_or(Expr::Or(Vec::new()))
        }
    }
}

/// The field of the same name in another schema; `None` where that is full.
pub(super) fn same(f: Field, from: &Schema, to: &mut Schema) -> Option<Field> {
    if usize::from(f.0) < field::TABLE.len() {
        return Some(f);
    }
    let name = from.name(f);
    to.get(name).or_else(|| to.intern(name, Type::Any, from.many(f)))
}
