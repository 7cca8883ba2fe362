//! Conditions as they are written: text in, a tree with the place of every part out.
//!
//! This module knows the grammar alone. What a name or a literal means is settled by [`super::check`], where types and
//! tables are known. Positions are byte offsets in the expression's text.
//!
//! ```text
//! or      = and { "or" and }
//! and     = not { "and" not }
//! not     = "not" not | "(" or ")" | "is" "(" string ")" | test | text
//! test    = field ( compare ( literal | field ) | "in" set | word string | "matches" string | ":" ( string | strings ) | "exists" )
//! compare = "==" | "!=" | "<" | "<=" | ">" | ">="
//! set     = "[" [ literal { "," literal } ] "]" | ( "cidr" | "table" | "hosts" | "feed" | "schedule" ) "(" string { "," string } ")"
//! word    = "contains" | "startswith" | "endswith"
//! text    = string | bareword (no operator behind it)
//! ```

use super::{Compare, Expr, Literal, Op, Order, Place, Test};
use crate::event::Schema;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{char, digit1, one_of};
use nom::combinator::{map, opt, recognize, value};
use nom::multi::many0_count;
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};
use std::fmt::Write as _;
use std::ops::Range;

/// The deepest nesting of parentheses and `not`.
pub const MAX_DEPTH: usize = 128;

/// The most tokens in one expression.
pub const MAX_TOKENS: usize = 16_384;

/// Something and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct At<T> {
    /// The thing.
    pub node: T,
    /// Its bytes in the expression.
    pub span: Range<usize>,
}

/// A condition as written.
#[derive(Clone, Debug, PartialEq)]
pub enum Ast {
    /// All hold.
    And(Vec<At<Ast>>),
    /// One holds.
    Or(Vec<At<Ast>>),
    /// It does not hold.
    Not(Box<At<Ast>>),
    /// `is("NAME")`.
    Is(At<String>),
    /// A test of a field.
    Test(At<String>, Rhs),
    /// Words in the text of the event.
    Text {
        /// As written, not yet cut into words.
        text: String,
        /// Whether it stands without quotes, so that a field may have been meant.
        bare: bool,
    },
}

/// The operator and right side of a test.
#[derive(Clone, Debug, PartialEq)]
pub enum Rhs {
    /// `==` and its like, with a literal.
    Literal(Compare, At<Raw>),
    /// `==` and its like, with a field.
    Field(Compare, At<String>),
    /// `in [..]`.
    List(At<Vec<At<Raw>>>),
    /// `in cidr(..)` and its like: the name of the set and its arguments.
    Set(At<&'static str>, Vec<At<String>>),
    /// `contains` and its like.
    Text(Place, At<String>),
    /// `matches`, and where the pattern stands between its quotes.
    Matches(At<String>),
    /// `:`.
    Like(At<Vec<At<String>>>),
    /// `exists`.
    Exists,
}

/// A literal as written.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// In double quotes.
    Str(String),
    /// Digits, with a sign or not.
    Int(i128),
    /// With a point.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
}

/// Why an expression cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Complaint {
    /// Whether the nesting is the reason.
    pub deep: bool,
    /// What is wrong.
    pub message: String,
    /// The bytes it is about.
    pub span: Range<usize>,
    /// The way out.
    pub help: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Str(String),
    Int(i128),
    Float(f64),
    Sign(&'static str),
}

const SETS: [&str; 5] = ["cidr", "table", "hosts", "feed", "schedule"];

fn word(i: &str) -> IResult<&str, Token> {
    // `proc.aname[2]` is how Falco names an ancestor.
    let part = |i| -> IResult<&str, &str> {
        alt((take_while1(|c: char| c.is_ascii_alphanumeric() || "_@.-".contains(c)), recognize(delimited(char('['), digit1, char(']'))))).parse(i)
    };
    let first = |i| -> IResult<&str, char> { one_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_@").parse(i) };
    map(recognize((first, many0_count(part))), |w: &str| Token::Word(w.to_owned())).parse(i)
}

fn number(i: &str) -> IResult<&str, Token> {
    let (rest, text) = recognize((opt(char('-')), digit1, opt((char('.'), digit1)), opt((one_of("eE"), opt(one_of("+-")), digit1)))).parse(i)?;
    let token = match text.parse::<i128>() {
        Ok(n) => Token::Int(n),
        Err(_) => text.parse::<f64>().map(Token::Float).unwrap_or(Token::Float(f64::NAN)),
    };
    Ok((rest, token))
}

fn sign(i: &str) -> IResult<&str, Token> {
    let s = |t: &'static str| value(Token::Sign(t), tag(t));
    alt((s("=="), s("!="), s("<="), s(">="), s("<"), s(">"), s("("), s(")"), s("["), s("]"), s(","), s(":"))).parse(i)
}

fn blank(i: &str) -> IResult<&str, ()> {
    value((), take_while(|c: char| c.is_ascii_whitespace())).parse(i)
}

/// A string in double quotes. The error is the stretch that does not fit and what to do about it.
fn string(text: &str, at: usize) -> Result<(String, usize), Complaint> {
    let mut out = String::new();
    let mut chars = text[at..].char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((out, at + i + 1)),
            '\\' => match chars.next() {
                Some((_, e @ ('"' | '\\'))) => out.push(e),
                Some((j, e)) => {
                    return Err(Complaint {
                        deep: false,
                        message: format!("`\\{}` is no escape", e.escape_debug()),
                        span: at + i..at + j + e.len_utf8(),
                        help: Some(format!("only `\\\"` and `\\\\` are; for a backslash write `\\\\{}`", e.escape_debug())),
                    });
                }
                None => break,
            },
            c => out.push(c),
        }
    }
    Err(Complaint { deep: false, message: "the string has no end".into(), span: at..text.len(), help: Some("close it with `\"`".into()) })
}

fn tokens(text: &str) -> Result<Vec<At<Token>>, Complaint> {
    let mut all: Vec<At<Token>> = Vec::new();
    let mut at = 0;
    loop {
        if let Ok((rest, ())) = blank(&text[at..]) {
            at = text.len() - rest.len();
        }
        let Some(c) = text[at..].chars().next() else { return Ok(all) };
        if all.len() >= MAX_TOKENS {
            return Err(Complaint {
                deep: true,
                message: "the condition is too long".into(),
                span: at..text.len(),
                help: Some("long lists belong in a `[table.NAME]`".into()),
            });
        }
        if c == '"' {
            let (s, end) = string(text, at)?;
            all.push(At { node: Token::Str(s), span: at..end });
            at = end;
            continue;
        }
        match alt((word, number, sign)).parse(&text[at..]) {
            Ok((rest, t)) => {
                let end = text.len() - rest.len();
                all.push(At { node: t, span: at..end });
                at = end;
            }
            Err(_) => {
                let rest = &text[at..];
                let (what, help) = match c {
                    '=' => ("=", "equality is `==`"),
                    '&' => (if rest.starts_with("&&") { "&&" } else { "&" }, "write `and`"),
                    '|' => (if rest.starts_with("||") { "||" } else { "|" }, "write `or`"),
                    '!' => ("!", "write `not`"),
                    '\'' => ("'", "strings are in double quotes"),
                    '.' => (".", "addresses and versions are strings in double quotes"),
                    _ => ("", "fields, strings in double quotes, numbers, `and`, `or`, `not` and operators may stand here"),
                };
                let end = at + if what.is_empty() { c.len_utf8() } else { what.len() };
                return Err(Complaint {
                    deep: false,
                    message: format!("`{}` does not belong in a condition", text[at..end].escape_debug()),
                    span: at..end,
                    help: Some(help.into()),
                });
            }
        }
    }
}

struct Reader<'t> {
    tokens: &'t [At<Token>],
    at: usize,
    end: usize,
    depth: usize,
}

/// Reads a condition.
pub fn parse(text: &str) -> Result<At<Ast>, Complaint> {
    let tokens = tokens(text)?;
    let mut r = Reader { tokens: &tokens, at: 0, end: text.len(), depth: 0 };
    if tokens.is_empty() {
        return Err(r.expected("a condition", None));
    }
    let e = r.or()?;
    if r.at < tokens.len() {
        let help = match &tokens[r.at].node {
            Token::Word(w) if ["AND", "OR", "NOT"].contains(&w.as_str()) => Some(format!("write `{}`", w.to_ascii_lowercase())),
            Token::Sign(")") => Some("there is no `(` that it closes".into()),
            _ => None,
        };
        return Err(r.expected("`and`, `or` or the end", help));
    }
    Ok(e)
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|t| &t.node)
    }

    fn span(&self) -> Range<usize> {
        self.tokens.get(self.at).map_or(self.end..self.end, |t| t.span.clone())
    }

    fn expected(&self, what: &str, help: Option<String>) -> Complaint {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(Token::Word(w)) => format!("`{w}`"),
            Some(Token::Str(_)) => "a string".to_owned(),
            Some(Token::Int(_) | Token::Float(_)) => "a number".to_owned(),
            Some(Token::Sign(s)) => format!("`{s}`"),
        };
        Complaint { deep: false, message: format!("expected {what}, found {found}"), span: self.span(), help }
    }

    fn is_word(&self, w: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(x)) if x == w)
    }

    fn is_sign(&self, s: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(x)) if *x == s)
    }

    fn sign(&mut self, s: &str) -> Result<(), Complaint> {
        if !self.is_sign(s) {
            return Err(self.expected(&format!("`{s}`"), None));
        }
        self.at += 1;
        Ok(())
    }

    fn joined(&mut self, word: &str, next: fn(&mut Self) -> Result<At<Ast>, Complaint>, make: fn(Vec<At<Ast>>) -> Ast) -> Result<At<Ast>, Complaint> {
        let first = next(self)?;
        if !self.is_word(word) {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.is_word(word) {
            self.at += 1;
            all.push(next(self)?);
        }
        let span = all[0].span.start..all[all.len() - 1].span.end;
        Ok(At { node: make(all), span })
    }

    fn or(&mut self) -> Result<At<Ast>, Complaint> {
        self.joined("or", Self::and, Ast::Or)
    }

    fn and(&mut self) -> Result<At<Ast>, Complaint> {
        self.joined("and", Self::not, Ast::And)
    }

    fn not(&mut self) -> Result<At<Ast>, Complaint> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Complaint {
                deep: true,
                message: format!("the condition is nested deeper than {MAX_DEPTH}"),
                span: self.span(),
                help: Some("give a part of it a name with `[condition.NAME]`".into()),
            });
        }
        let start = self.span().start;
        let e = if self.is_word("not") {
            self.at += 1;
            let e = self.not()?;
            let span = start..e.span.end;
            At { node: Ast::Not(Box::new(e)), span }
        } else if self.is_sign("(") {
            self.at += 1;
            let e = self.or()?;
            let end = self.span().end;
            self.sign(")")?;
            At { node: e.node, span: start..end }
        } else if self.is_word("is") {
            self.at += 1;
            let args = self.arguments()?;
            let end = self.tokens[self.at - 1].span.end;
            match <[At<String>; 1]>::try_from(args) {
                Ok([name]) => At { node: Ast::Is(name), span: start..end },
                Err(_) => return Err(Complaint { deep: false, message: "`is` takes one name".into(), span: start..end, help: None }),
            }
        } else if let Some(At { node: Token::Str(s), span }) = self.tokens.get(self.at) {
            self.at += 1;
            if self.operator() {
                return Err(self.expected("`and`, `or` or the end", Some("a field is written without quotes".into())));
            }
            At { node: Ast::Text { text: s.clone(), bare: false }, span: span.clone() }
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(e)
    }

    fn arguments(&mut self) -> Result<Vec<At<String>>, Complaint> {
        self.sign("(")?;
        let mut all = vec![self.string("a string in double quotes")?];
        while self.is_sign(",") {
            self.at += 1;
            all.push(self.string("a string in double quotes")?);
        }
        self.sign(")")?;
        Ok(all)
    }

    fn string(&mut self, what: &str) -> Result<At<String>, Complaint> {
        match self.tokens.get(self.at) {
            Some(At { node: Token::Str(s), span }) => {
                self.at += 1;
                Ok(At { node: s.clone(), span: span.clone() })
            }
            _ => Err(self.expected(what, None)),
        }
    }

    fn literal(&mut self) -> Option<At<Raw>> {
        let t = self.tokens.get(self.at)?;
        let node = match &t.node {
            Token::Str(s) => Raw::Str(s.clone()),
            Token::Int(n) => Raw::Int(*n),
            Token::Float(n) => Raw::Float(*n),
            Token::Word(w) if w == "true" => Raw::Bool(true),
            Token::Word(w) if w == "false" => Raw::Bool(false),
            _ => return None,
        };
        self.at += 1;
        Some(At { node, span: t.span.clone() })
    }

    /// A list in square brackets; a comma may stand after the last.
    fn list<T>(&mut self, item: fn(&mut Self) -> Result<T, Complaint>) -> Result<At<Vec<T>>, Complaint> {
        let start = self.span().start;
        self.sign("[")?;
        let mut all = Vec::new();
        while !self.is_sign("]") {
            all.push(item(self)?);
            if !self.is_sign(",") {
                break;
            }
            self.at += 1;
        }
        let end = self.span().end;
        if !self.is_sign("]") {
            return Err(self.expected("`,` or `]`", None));
        }
        self.at += 1;
        Ok(At { node: all, span: start..end })
    }

    fn field(&mut self, what: &str) -> Result<At<String>, Complaint> {
        const RESERVED: [&str; 11] = ["and", "or", "not", "in", "is", "exists", "contains", "startswith", "endswith", "matches", "true"];
        match self.tokens.get(self.at) {
            Some(At { node: Token::Word(w), span }) if !RESERVED.contains(&w.as_str()) && w != "false" => {
                self.at += 1;
                Ok(At { node: w.clone(), span: span.clone() })
            }
            Some(At { node: Token::Int(_) | Token::Float(_), .. }) => {
                Err(self.expected(what, Some("what is searched for is written in quotes".into())))
            }
            _ => Err(self.expected(what, None)),
        }
    }

    /// Whether an operator stands next.
    fn operator(&self) -> bool {
        match self.peek() {
            Some(Token::Sign(s)) => ["==", "!=", "<", "<=", ">", ">=", ":"].contains(s),
            Some(Token::Word(w)) => ["in", "exists", "contains", "startswith", "endswith", "matches"].contains(&w.as_str()),
            _ => false,
        }
    }

    fn test(&mut self) -> Result<At<Ast>, Complaint> {
        let field = self.field("a field or a text")?;
        let alone = match self.peek() {
            None | Some(Token::Sign(")")) => true,
            Some(Token::Word(w)) => w == "and" || w == "or",
            Some(_) => false,
        };
        if alone {
            return Ok(At { node: Ast::Text { text: field.node, bare: true }, span: field.span });
        }
        let rhs = self.rhs(&field.node)?;
        let end = self.tokens[self.at - 1].span.end;
        let span = field.span.start..end;
        Ok(At { node: Ast::Test(field, rhs), span })
    }

    fn rhs(&mut self, field: &str) -> Result<Rhs, Complaint> {
        const OPERATOR: &str = "an operator";
        let op = match self.peek() {
            Some(Token::Sign(s)) => *s,
            Some(Token::Word(w)) => match w.as_str() {
                "in" => "in",
                "exists" => "exists",
                "contains" => "contains",
                "startswith" => "startswith",
                "endswith" => "endswith",
                "matches" => "matches",
                "not" => return Err(self.expected(OPERATOR, Some(format!("`not` stands before the field: `not {field} in [..]`")))),
                _ => {
                    let near = super::check::near(w, ["in", "exists", "contains", "startswith", "endswith", "matches"]);
                    let help = near.map(|n| format!("did you mean `{n}`?"));
                    return Err(
                        self.expected(OPERATOR, help.or_else(|| Some(format!("words one behind the other are written in quotes: \"{field} {w}\""))))
                    );
                }
            },
            _ => return Err(self.expected(OPERATOR, Some(format!("to ask whether it is there, write `{field} exists`")))),
        };
        let compare = match op {
            "==" => Some(Compare::Equal),
            "!=" => Some(Compare::NotEqual),
            "<" => Some(Compare::Order(Order::Less)),
            "<=" => Some(Compare::Order(Order::AtMost)),
            ">" => Some(Compare::Order(Order::Greater)),
            ">=" => Some(Compare::Order(Order::AtLeast)),
            _ => None,
        };
        if let Some(c) = compare {
            self.at += 1;
            if let Some(l) = self.literal() {
                return Ok(Rhs::Literal(c, l));
            }
            if self.is_sign("[") {
                return Err(self.expected("a value or a field", Some("to compare with several values, write `in [..]`".into())));
            }
            return Ok(Rhs::Field(c, self.field("a value or a field")?));
        }
        match op {
            "exists" => {
                self.at += 1;
                Ok(Rhs::Exists)
            }
            "in" => {
                self.at += 1;
                if self.is_sign("[") {
                    let one = |r: &mut Self| r.literal().ok_or_else(|| r.expected("a value or `]`", None));
                    return Ok(Rhs::List(self.list(one)?));
                }
                let set = match self.peek() {
                    Some(Token::Word(w)) => SETS.into_iter().find(|s| s == w),
                    _ => None,
                };
                match set {
                    Some(name) => {
                        let span = self.span();
                        self.at += 1;
                        Ok(Rhs::Set(At { node: name, span }, self.arguments()?))
                    }
                    None => {
                        let near = if let Some(Token::Word(w)) = self.peek() { super::check::near(w, SETS) } else { None };
                        let help = near.map(|n| format!("did you mean `{n}(..)`?"));
                        Err(self.expected("`[..]`, `cidr(..)`, `table(..)` or `hosts(..)`", help))
                    }
                }
            }
            "contains" | "startswith" | "endswith" => {
                self.at += 1;
                let place = match op {
                    "contains" => Place::Contains,
                    "startswith" => Place::Starts,
                    _ => Place::Ends,
                };
                if self.is_sign("[") {
                    return Err(self.expected("a string in double quotes", Some("a list stands behind `:`, as in `: [\"*a*\", \"*b*\"]`".into())));
                }
                Ok(Rhs::Text(place, self.string("a string in double quotes")?))
            }
            "matches" => {
                self.at += 1;
                Ok(Rhs::Matches(self.string("a regular expression in double quotes")?))
            }
            ":" => {
                self.at += 1;
                if self.is_sign("[") {
                    return Ok(Rhs::Like(self.list(|r| r.string("a string in double quotes or `]`"))?));
                }
                let s = self.string("a string or a list of strings")?;
                let span = s.span.clone();
                Ok(Rhs::Like(At { node: vec![s], span }))
            }
            _ => Err(self.expected(OPERATOR, None)),
        }
    }
}

/// Writes a resolved condition the one way in which its meaning is hashed and shown: names of fields, every group in
/// parentheses, tables by name.
pub fn render(e: &Expr, schema: &Schema) -> String {
    let mut out = String::new();
    write(e, schema, &mut out);
    out
}

fn write(e: &Expr, schema: &Schema, out: &mut String) {
    match e {
        Expr::And(all) | Expr::Or(all) => {
            let word = if matches!(e, Expr::And(_)) { " and " } else { " or " };
            out.push('(');
            for (i, e) in all.iter().enumerate() {
                if i > 0 {
                    out.push_str(word);
                }
                write(e, schema, out);
            }
            out.push(')');
        }
        Expr::Not(e) => {
            out.push_str("not (");
            write(e, schema, out);
            out.push(')');
        }
        Expr::Test(t) => test(t, schema, out),
    }
}

fn test(t: &Test, schema: &Schema, out: &mut String) {
    if let Op::Words(words) = &t.op {
        return quote(&words.join(" "), out);
    }
    out.push_str(schema.name(t.field));
    let compare = |c: Compare| match c {
        Compare::Equal => " == ",
        Compare::NotEqual => " != ",
        Compare::Order(Order::Less) => " < ",
        Compare::Order(Order::AtMost) => " <= ",
        Compare::Order(Order::Greater) => " > ",
        Compare::Order(Order::AtLeast) => " >= ",
    };
    match &t.op {
        Op::In(all) => {
            if let [one] = &all[..] {
                out.push_str(" == ");
                return literal(one, out);
            }
            out.push_str(" in [");
            for (i, l) in all.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                literal(l, out);
            }
            out.push(']');
        }
        Op::NotEqual(l) => {
            out.push_str(" != ");
            literal(l, out);
        }
        Op::Order(o, l) => {
            out.push_str(compare(Compare::Order(*o)));
            literal(l, out);
        }
        Op::Text(p, s) => {
            out.push_str(match p {
                Place::Contains => " contains ",
                Place::Starts => " startswith ",
                Place::Ends => " endswith ",
            });
            quote(s, out);
        }
        Op::Matches(p) => {
            out.push_str(" matches ");
            quote(p.0.as_str(), out);
        }
        Op::Like(all) => {
            out.push_str(" : ");
            if let [one] = &all[..] {
                return quote(one, out);
            }
            out.push('[');
            for (i, s) in all.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                quote(s, out);
            }
            out.push(']');
        }
        Op::Words(_) => {}
        Op::Exists => out.push_str(" exists"),
        Op::Cidr(nets) => {
            out.push_str(" in cidr(");
            for (i, n) in nets.iter().enumerate() {
                let _ = write!(out, "{}\"{n}\"", if i > 0 { ", " } else { "" });
            }
            out.push(')');
        }
        Op::Table(t) => match t.name.strip_prefix("hosts(").and_then(|n| n.strip_suffix(')')) {
            Some(tag) => {
                out.push_str(" in hosts(");
                quote(tag, out);
                out.push(')');
            }
            None => {
                out.push_str(" in table(");
                quote(&t.name, out);
                out.push(')');
            }
        },
        Op::Field(c, f) => {
            out.push_str(compare(*c));
            out.push_str(schema.name(*f));
        }
    }
}

fn literal(l: &Literal, out: &mut String) {
    let _ = match l {
        Literal::Str(s) => {
            quote(s, out);
            Ok(())
        }
        Literal::Int(n) => write!(out, "{n}"),
        Literal::Float(n) => write!(out, "{n:?}"),
        Literal::Bool(b) => write!(out, "{b}"),
        Literal::Ip(ip) => write!(out, "\"{ip}\""),
        Literal::Time(t) => write!(out, "\"{t}\""),
    };
}

fn quote(s: &str, out: &mut String) {
    out.push('"');
    for c in s.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// Reads a template: text with `{field}` in it, `{{` and `}}` for the braces themselves.
///
/// Out: text and field names in order, each with its place; or what is wrong and where.
pub fn template(text: &str) -> Result<Vec<TemplatePart>, Complaint> {
    let mut all = Vec::new();
    let mut plain = String::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            plain.push(c);
            at += 2;
        } else if c == '{' {
            let field =
                |i| -> IResult<&str, &str> { preceded(char('{'), take_while1(|c: char| !c.is_whitespace() && c != '{' && c != '}')).parse(i) };
            match field(rest) {
                Ok((after, name)) if after.starts_with('}') => {
                    if !plain.is_empty() {
                        all.push(TemplatePart::Text(std::mem::take(&mut plain)));
                    }
                    all.push(TemplatePart::Field(At { node: name.to_owned(), span: at + 1..at + 1 + name.len() }));
                    at += name.len() + 2;
                }
                _ => {
                    return Err(Complaint {
                        deep: false,
                        message: "`{` begins no field".into(),
                        span: at..at + 1,
                        help: Some("a field is written `{host.name}`, a brace `{{`".into()),
                    });
                }
            }
        } else {
            plain.push(c);
            at += c.len_utf8();
        }
    }
    if !plain.is_empty() {
        all.push(TemplatePart::Text(plain));
    }
    Ok(all)
}

/// A part of a template as written.
#[derive(Clone, Debug, PartialEq)]
pub enum TemplatePart {
    /// Text.
    Text(String),
    /// A field.
    Field(At<String>),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree with every group in parentheses.
    fn shape(a: &At<Ast>) -> String {
        let join = |all: &[At<Ast>], w: &str| format!("({})", all.iter().map(shape).collect::<Vec<_>>().join(w));
        match &a.node {
            Ast::And(all) => join(all, " and "),
            Ast::Or(all) => join(all, " or "),
            Ast::Not(a) => format!("not {}", shape(a)),
            Ast::Is(n) => format!("is {}", n.node),
            Ast::Test(f, _) => f.node.clone(),
            Ast::Text { text, bare } => {
                if *bare {
                    text.clone()
                } else {
                    format!("{text:?}")
                }
            }
        }
    }

    #[test]
    fn not_binds_before_and_and_and_before_or() {
        for (text, want) in [
            ("a.a exists", "a.a"),
            ("a exists and b exists or c exists", "((a and b) or c)"),
            ("a exists or b exists and c exists", "(a or (b and c))"),
            ("not a exists and b exists", "(not a and b)"),
            ("not (a exists or b exists) and not not c exists", "(not (a or b) and not not c)"),
            ("((a exists))", "a"),
            ("is(\"x\") and a==1or b==2", "((is x and a) or b)"),
            ("a", "a"),
            ("\"a b\" and not (c or ssh-login) or d exists", "((\"a b\" and not (c or ssh-login)) or d)"),
            ("@timestamp exists or proc.aname[2] exists\nand k8s.ns-name exists", "(@timestamp or (proc.aname[2] and k8s.ns-name))"),
        ] {
            assert_eq!(parse(text).map(|a| shape(&a)).map_err(|c| c.message), Ok(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn right_sides_are_literals_fields_lists_and_sets() {
        let rhs = |t: &str| match parse(t) {
            Ok(At { node: Ast::Test(_, r), .. }) => r,
            other => panic!("{t}: {other:?}"),
        };
        let lit = |t: &str| match rhs(t) {
            Rhs::Literal(c, l) => (c, l.node),
            other => panic!("{t}: {other:?}"),
        };
        assert_eq!(lit(r#"a == "q\"\\""#), (Compare::Equal, Raw::Str("q\"\\".into())));
        assert_eq!(lit("a >= -5"), (Compare::Order(Order::AtLeast), Raw::Int(-5)));
        assert_eq!(lit("a<1.5e3"), (Compare::Order(Order::Less), Raw::Float(1500.0)));
        assert_eq!(lit("a != false"), (Compare::NotEqual, Raw::Bool(false)));
        assert!(matches!(rhs("a > b.c"), Rhs::Field(Compare::Order(Order::Greater), f) if f.node == "b.c"));
        assert!(matches!(rhs("a in [1, \"x\", true,]"), Rhs::List(l) if l.node.len() == 3));
        assert!(matches!(rhs("a in []"), Rhs::List(l) if l.node.is_empty()));
        assert!(matches!(rhs("a in cidr(\"x\", \"y\")"), Rhs::Set(s, a) if s.node == "cidr" && a.len() == 2));
        assert!(matches!(rhs("a : [\"x\"]"), Rhs::Like(l) if l.node.len() == 1));
        assert!(matches!(rhs("a startswith \"x\""), Rhs::Text(Place::Starts, s) if s.node == "x"));
        assert!(matches!(rhs("a matches \"^\\\\d\""), Rhs::Matches(s) if s.node == "^\\d"));
    }

    #[test]
    fn what_does_not_read_is_marked_and_helped() {
        for (text, marked, help) in [
            ("a = 1", "=", "=="),
            ("a == 1 && b == 2", "&&", "and"),
            ("a == 'x'", "'", "double quotes"),
            ("a == \"\\d\"", "\\d", "\\\\d"),
            ("a == \"x", "\"x", "close it"),
            ("a not in [1]", "not", "not a in"),
            ("a == [1]", "[", "in [..]"),
            ("a containz \"x\"", "containz", "contains"),
            ("a in tabel(\"x\")", "tabel", "table"),
            ("a == 1 AND b == 2", "AND", "`and`"),
            ("a == 1)", ")", "no `("),
            ("a contains [\"x\"]", "[", "`:`"),
            ("\"user.name\" == \"x\"", "==", "without quotes"),
            ("203.0.113.9", ".", "double quotes"),
            ("404", "404", "in quotes"),
            ("sql injection", "injection", "\"sql injection\""),
        ] {
            let c = match parse(text) {
                Err(c) => c,
                Ok(a) => panic!("{text}: {a:?}"),
            };
            assert_eq!(text.get(c.span.clone()), Some(marked), "{text}: {c:?}");
            assert!(c.help.as_deref().is_some_and(|h| h.contains(help)), "{text}: {c:?}");
        }
        for text in [
            "",
            " ",
            "(",
            "a ==",
            "a in",
            "a in [1",
            "not",
            "is(",
            "is(\"a\", \"b\")",
            "a == 1 b == 2",
            "and",
            "a : 1",
            "a matches b",
            "404",
            "\"a\" \"b\"",
            "a \"b\"",
            "true",
            "or a",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nesting_ends_at_its_limit() {
        let nest = |open: &str, close: &str, n: usize| format!("{}a exists{}", open.repeat(n), close.repeat(n));
        for (open, close) in [("(", ")"), ("not ", ""), ("not (", ")")] {
            assert!(parse(&nest(open, close, 50)).is_ok(), "{open}");
            assert!(parse(&nest(open, close, 100_000)).is_err_and(|c| c.deep), "{open}");
        }
    }

    #[test]
    fn a_template_is_text_and_fields() {
        let parts = template("{{x}} on {host.name}!").map(|p| p.len());
        assert_eq!(parts, Ok(3));
        for bad in ["{", "{host.name", "{ x }", "{}", "{a{b}}"] {
            assert!(template(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([a-z.@\"\\\\ ()\\[\\]:=<>!,0-9é-]|and |or |not |in |is|cidr|==){0,60}") {
            let _ = template(&text);
            match parse(&text) {
                Ok(a) => assert!(a.span.end <= text.len()),
                Err(c) => assert!(text.get(c.span).is_some()),
            }
        }
    }
}
