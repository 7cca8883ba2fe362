//! What is asked of a search, as a client writes it: pairs of a name and a value.

use super::histogram::MAX_BUCKETS;
use super::page::{Cursor, Order};
use super::parameters::{instant, one_of, parts, shown, unknown};
use super::query::MAX_QUERY;
use crate::event::Timestamp;

/// The most events on a page.
pub const MAX_LIMIT: usize = 10_000;
/// The most top values.
pub const MAX_VALUES: usize = 10_000;
/// The most fields that are chosen.
const MAX_FIELDS: usize = 256;
/// All parameters.
const PARAMETERS: [&str; 12] = ["q", "since", "until", "order", "limit", "fields", "cursor", "buckets", "top", "values", "distinct", "stats"];

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The query.
    pub query: String,
    /// Events from this instant on.
    pub since: Option<Timestamp>,
    /// Events before this instant.
    pub until: Option<Timestamp>,
    /// Which come first.
    pub order: Order,
    /// How many events at most.
    pub limit: usize,
    /// The fields that are shown; none means all.
    pub fields: Vec<String>,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
    /// A histogram of so many stretches at most.
    pub buckets: Option<usize>,
    /// The top values of a field.
    pub top: Option<String>,
    /// So many of them.
    pub values: usize,
    /// How many different values a field has.
    pub distinct: Option<String>,
    /// The least, the greatest, the sum of the numbers of a field.
    pub stats: Option<String>,
    /// A hash of what pages must have in common: query, times as written, order.
    pub asked: u64,
}

impl Request {
    /// Reads the pairs; `now` is what spans go back from. What is wrong is the error.
    pub fn of(pairs: &[(String, String)], now: Timestamp) -> Result<Request, String> {
        let mut r = Request {
            query: String::new(),
            since: None,
            until: None,
            order: Order::Newest,
            limit: 100,
            fields: Vec::new(),
            cursor: None,
            buckets: None,
            top: None,
            values: 10,
            distinct: None,
            stats: None,
            asked: 0,
        };
        if pairs.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() > 2 * MAX_QUERY {
            return Err(format!("the request is longer than {} characters", 2 * MAX_QUERY));
        }
        let mut seen: Vec<&str> = Vec::new();
        let number = |name: &str, text: &str, least: usize, most: usize| {
            let n = text.parse().ok().filter(|n| (least..=most).contains(n));
            n.ok_or_else(|| format!("`{name}` is a whole number from {least} to {most}"))
        };
        let field = |text: &str| if text.is_empty() { Err("a field is missing its name".to_owned()) } else { Ok(Some(text.to_owned())) };
        for (name, text) in pairs {
            if seen.contains(&name.as_str()) {
                return Err(format!("`{}` is given twice", shown(name)));
            }
            seen.push(name);
            match name.as_str() {
                "q" => r.query = text.clone(),
                "since" => r.since = Some(instant("since", text, now)?),
                "until" => r.until = Some(instant("until", text, now)?),
                "order" => r.order = one_of("order", text, [("asc", Order::Oldest), ("desc", Order::Newest)])?,
                "limit" => r.limit = number("limit", text, 0, MAX_LIMIT)?,
                "fields" => {
                    r.fields = parts(text).map(str::to_owned).collect();
                    if r.fields.len() > MAX_FIELDS {
                        return Err(format!("`fields` names at most {MAX_FIELDS} fields"));
                    }
                }
                "cursor" => r.cursor = Some(Cursor::parse(text).ok_or("`cursor` is not one that an earlier answer gave as `next`")?),
                "buckets" => r.buckets = Some(number("buckets", text, 1, MAX_BUCKETS)?),
                "top" => r.top = field(text)?,
                "values" => r.values = number("values", text, 1, MAX_VALUES)?,
                "distinct" => r.distinct = field(text)?,
                "stats" => r.stats = field(text)?,
                _ => return Err(unknown("parameter", name, &PARAMETERS)),
            }
        }
        let written = |name: &str| pairs.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v);
        let asked = [r.query.as_str(), written("since"), written("until"), written("order")].map(|s| format!("{} {s}", s.len())).concat();
        r.asked = xxhash_rust::xxh3::xxh3_64(asked.as_bytes());
        if let Some(c) = &r.cursor {
            if c.asked != r.asked {
                return Err("`cursor` belongs to a search with another query, other times or another order".into());
            }
            (r.since, r.until) = (c.since, c.until);
        }
        Ok(r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Request, String> {
        let pairs: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Request::of(&pairs, Timestamp(1_000_000_000_000))
    }

    #[test]
    fn what_is_asked_is_read() {
        let r = of(&[("q", "a"), ("since", "1s"), ("order", "asc"), ("limit", "0"), ("fields", "source, user.name,"), ("top", "user.name")])
            .expect("it reads");
        assert_eq!((r.query.as_str(), r.since, r.until, r.order, r.limit), ("a", Some(Timestamp(999_000_000_000)), None, Order::Oldest, 0));
        assert_eq!((r.fields, r.top.as_deref(), r.values), (vec!["source".to_owned(), "user.name".to_owned()], Some("user.name"), 10));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (name, value, says) in [
            ("limit", "10001", "0 to 10000"),
            ("limit", "-1", "0 to 10000"),
            ("buckets", "0", "1 to"),
            ("since", "yesterday", "`since` is a time"),
            ("order", "up", "known: asc, desc"),
            ("cursor", "00", "an earlier answer"),
            ("stat", "x", "did you mean `stats`?"),
            ("top", "", "name"),
        ] {
            let why = of(&[(name, value)]).expect_err("it is wrong");
            assert!(why.contains(says), "{name}={value}: {why}");
        }
        assert!(of(&[("q", "a"), ("q", "b")]).is_err_and(|e| e.contains("twice")));
        assert!(of(&[("q", &"x".repeat(3 * MAX_QUERY))]).is_err());
    }

    #[test]
    fn a_cursor_goes_with_its_search_alone() {
        let ask = [("q", "a"), ("since", "1s")];
        let first = of(&ask).expect("it reads");
        let cursor = Cursor { last_lsn: 1, last_seq: 1, since: Some(Timestamp(5)), until: None, after: (Timestamp(7), 1), asked: first.asked };
        let text = cursor.to_string();
        let next = of(&[ask[0], ask[1], ("cursor", &text), ("limit", "7")]).expect("it goes on");
        assert_eq!((next.since, next.cursor), (Some(Timestamp(5)), Some(cursor)), "times are those of the first page");
        for other in [[("q", "b"), ("since", "1s")], [("q", "a"), ("since", "2s")]] {
            assert!(of(&[other[0], other[1], ("cursor", &text)]).is_err());
        }
        assert!(of(&[ask[0], ask[1], ("order", "asc"), ("cursor", &text)]).is_err());
    }
}
