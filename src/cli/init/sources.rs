//! Which logs are there: the usual places of the tools that vigild reads.

use std::path::Path;

/// A `[[source]]` that suggests itself.
pub struct Found {
    pub name: &'static str,
    pub kind: &'static str,
    pub format: Option<&'static str>,
    pub paths: Vec<String>,
}

/// Name, format, and the places where its logs stand; one `*` may begin a file's name.
const LOGS: &[(&str, &str, &[&str])] = &[
    ("suricata", "suricata", &["/var/log/suricata/eve.json"]),
    ("falco", "falco", &["/var/log/falco/falco.json", "/var/log/falco/events.json", "/var/log/falco.log"]),
    ("fail2ban", "fail2ban", &["/var/log/fail2ban.log"]),
    (
        "modsecurity",
        "modsecurity",
        &[
            "/var/log/modsec_audit.log",
            "/var/log/modsecurity/audit.log",
            "/var/log/nginx/modsec_audit.log",
            "/var/log/apache2/modsec_audit.log",
            "/var/log/httpd/modsec_audit.log",
        ],
    ),
    ("nginx", "nginx", &["/var/log/nginx/*access.log", "/var/log/nginx/*error.log"]),
    ("apache", "apache", &["/var/log/apache2/*access.log", "/var/log/apache2/*error.log", "/var/log/httpd/*access_log", "/var/log/httpd/*error_log"]),
    ("haproxy", "haproxy", &["/var/log/haproxy.log"]),
    ("clamav", "clamav", &["/var/log/clamav/clamav.log", "/var/log/clamav/freshclam.log"]),
    ("vault", "vault", &["/var/log/vault/audit.json", "/var/log/vault/*audit.log", "/var/log/openbao/audit.json"]),
    ("auth", "syslog", &["/var/log/auth.log", "/var/log/secure"]),
];

/// The logs that are there under `root`, in the order of the table.
pub fn look(root: &Path) -> Vec<Found> {
    let there = |path: &str| exists(root, path);
    let mut found = Vec::new();
    // OSSEC and Wazuh write to the same place; the program tells which it is.
    let manager = if there("/var/ossec/bin/wazuh-control") { "wazuh" } else { "ossec" };
    let alerts = ["/var/ossec/logs/alerts/alerts.json", "/var/ossec/logs/alerts/alerts.log"];
    if let Some(path) = alerts.into_iter().find(|p| there(p)) {
        found.push(Found { name: manager, kind: "file", format: Some(manager), paths: vec![path.to_owned()] });
    }
    for (name, format, places) in LOGS {
        let paths: Vec<String> = places.iter().filter(|p| there(p)).map(|p| (*p).to_owned()).collect();
        if !paths.is_empty() {
            found.push(Found { name, kind: "file", format: Some(format), paths });
        }
    }
    // Where logins go to a file too, the journal would tell them a second time.
    if !found.iter().any(|f| f.name == "auth") && root.join("run/systemd/journal").is_dir() {
        found.push(Found { name: "journald", kind: "journald", format: None, paths: Vec::new() });
    }
    found
}

/// Whether there is a file at an absolute path, of which the name may begin with `*`.
fn exists(root: &Path, path: &str) -> bool {
    let path = path.trim_start_matches('/');
    let Some((folder, end)) = path.split_once("/*") else { return root.join(path).is_file() };
    let Ok(entries) = std::fs::read_dir(root.join(folder)) else { return false };
    entries.flatten().any(|e| e.file_name().to_string_lossy().ends_with(end) && e.path().is_file())
}

/// The formats that the table names.
#[cfg(test)]
pub fn formats() -> impl Iterator<Item = &'static str> {
    LOGS.iter().map(|l| l.1).chain(["ossec", "wazuh"])
}
