//! Cells of CSV (RFC 4180) that a spreadsheet shows and does not execute.

/// A cell as it stands.
pub fn quoted(s: &str) -> String {
    format!("\"{}\"", s.replace('"', "\"\""))
}

/// A cell of what came from outside. What a spreadsheet would take for a formula has an apostrophe before it, as OWASP
/// advises ("CSV Injection"); a number is none.
pub fn guarded(s: &str) -> String {
    if s.starts_with(FORMULA) && !number(s) { quoted(&format!("'{s}")) } else { quoted(s) }
}

/// What formulas begin with, or what is skipped before them; full-width signs mean the same to some spreadsheets.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Whether it is a number as JSON and people write it: no name, no infinity, nothing to be worked out.
fn number(s: &str) -> bool {
    s.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E')) && s.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_work_out_is_text() {
        for (cell, want) in [
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\""),
            ("+1-1", "\"'+1-1\""),
            ("-2+3", "\"'-2+3\""),
            ("-inf", "\"'-inf\""),
            ("-", "\"'-\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("\n=1", "\"'\n=1\""),
            ("＝1", "\"'＝1\""),
            ("", "\"\""),
            ("a=1", "\"a=1\""),
            (" =1", "\" =1\""),
            ("'=1", "\"'=1\""),
            ("-7", "\"-7\""),
            ("+49", "\"+49\""),
            ("-1.5e-3", "\"-1.5e-3\""),
            ("2026-11-23T05:00:00Z", "\"2026-11-23T05:00:00Z\""),
        ] {
            assert_eq!(guarded(cell), want, "{cell:?}");
        }
    }
}
