//! A report that holds many findings is cut into one record a finding and one that sums up.
//!
//! A finding becomes `{"finding":{…},"of":{…}}` and the summary `{"summary":{"count":3,"by":{"High":2,"Low":1}},"of":{…}}`,
//! where `of` holds what `inherit` names: of the report, and for a finding also of the elements that it stands in.

use super::json::{elements, member, members, plain};
use crate::event::ParseError;

/// How to cut a format's reports.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    /// Keys on the way to the findings; whether the value is an array to go through.
    pub each: Vec<(Vec<u8>, bool)>,
    /// What findings and summary get from around them: how many steps of `each` lead there, the keys from there, and
    /// the name under `of`.
    pub inherit: Vec<(usize, Vec<Vec<u8>>, String)>,
    /// The key of a finding by whose value the summary counts.
    pub by: Option<Vec<u8>>,
    /// Whether there is a summary.
    pub summary: bool,
}

/// The most findings that are cut from one report; the summary counts all.
pub(super) const MAX_FINDINGS: usize = 65_536;

/// The most different values that a summary counts apart.
const MAX_BY: usize = 64;

/// Takes a finding and the objects around it, the outermost first.
type Found<'f, 'r> = dyn FnMut(&'r [u8], &[&'r [u8]]) + 'f;

impl Document {
    /// Cuts a report.
    pub fn split(&self, record: &[u8], out: &mut Vec<Vec<u8>>) -> Result<(), ParseError> {
        let wrong = ParseError { expected: "a report as JSON", offset: 0 };
        members(record, |_, _| ()).ok_or(wrong)?;
        let mut by: Vec<(Vec<u8>, u64)> = Vec::new();
        let mut count = 0u64;
        let mut around = vec![record];
        self.walk(0, record, &mut around, &mut |finding, around| {
            count += 1;
            if let Some(v) = self.by.as_ref().and_then(|k| member(finding, k)) {
                match by.iter().position(|x| x.0 == plain(v)) {
                    Some(i) => by[i].1 += 1,
                    None if by.len() < MAX_BY => by.push((plain(v).to_vec(), 1)),
                    None => {}
                }
            }
            if count as usize <= MAX_FINDINGS {
                let mut r = b"{\"finding\":".to_vec();
                r.extend_from_slice(finding);
                self.of(around, &mut r);
                out.push(r);
            }
        });
        if self.summary {
            let mut r = format!("{{\"summary\":{{\"count\":{count},\"by\":{{").into_bytes();
            for (i, (k, n)) in by.iter().enumerate() {
                r.extend_from_slice(if i > 0 { b",\"" } else { b"\"" });
                r.extend_from_slice(k);
                r.extend_from_slice(format!("\":{n}").as_bytes());
            }
            r.extend_from_slice(b"}}");
            self.of(&[record], &mut r);
            out.push(r);
        }
        Ok(())
    }

    /// `around[i]` is the object that `i` steps of `each` lead to.
    fn walk<'r>(&self, step: usize, at: &'r [u8], around: &mut Vec<&'r [u8]>, f: &mut Found<'_, 'r>) {
        let Some((key, list)) = self.each.get(step) else {
            return f(at, &around[..around.len() - 1]);
        };
        let Some(v) = member(at, key) else { return };
        let mut go = |v: &'r [u8]| {
            if v.first() == Some(&b'{') {
                around.push(v);
                self.walk(step + 1, v, around, f);
                around.pop();
            }
        };
        if *list && v.first() == Some(&b'[') {
            elements(v, go);
        } else {
            go(v);
        }
    }

    fn of(&self, around: &[&[u8]], r: &mut Vec<u8>) {
        r.extend_from_slice(b",\"of\":{");
        let start = r.len();
        for (step, keys, name) in &self.inherit {
            let found = around.get(*step).and_then(|&o| keys.iter().try_fold(o, |v, k| member(v, k)));
            if let Some(v) = found {
                if r.len() > start {
                    r.push(b',');
                }
                crate::event::json::string(name.as_bytes(), r);
                r.push(b':');
                r.extend_from_slice(v);
            }
        }
        r.extend_from_slice(b"}}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_a_finding_and_one_that_sums_up() {
        let key = |s: &str| s.as_bytes().to_vec();
        let d = Document {
            each: vec![(key("Results"), true), (key("Vulnerabilities"), true)],
            inherit: vec![(0, vec![key("ArtifactName")], "ArtifactName".into()), (1, vec![key("Target")], "Target".into())],
            by: Some(key("Severity")),
            summary: true,
        };
        let report = br#"{"ArtifactName":"a:1","Results":[{"Target":"t1","Vulnerabilities":[{"ID":1,"Severity":"High"},{"ID":2,"Severity":"Low"}]},
            {"Target":"t2"},{"Target":"t3","Vulnerabilities":[{"ID":3,"Severity":"High"}]}]}"#;
        let mut out = Vec::new();
        assert_eq!(d.split(report, &mut out), Ok(()));
        let got: Vec<_> = out.iter().map(|r| String::from_utf8_lossy(r).into_owned()).collect();
        assert_eq!(
            got,
            [
                r#"{"finding":{"ID":1,"Severity":"High"},"of":{"ArtifactName":"a:1","Target":"t1"}}"#,
                r#"{"finding":{"ID":2,"Severity":"Low"},"of":{"ArtifactName":"a:1","Target":"t1"}}"#,
                r#"{"finding":{"ID":3,"Severity":"High"},"of":{"ArtifactName":"a:1","Target":"t3"}}"#,
                r#"{"summary":{"count":3,"by":{"High":2,"Low":1}},"of":{"ArtifactName":"a:1"}}"#,
            ]
        );
        out.clear();
        assert_eq!(d.split(b"{}", &mut out), Ok(()));
        assert_eq!(out, [br#"{"summary":{"count":0,"by":{}},"of":{}}"#.to_vec()]);
        assert!(d.split(b"[", &mut out).is_err());
    }
}
