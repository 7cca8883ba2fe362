//! `POST /hooks/{name}` of the shipped binary: who is believed, and what becomes of what they send.

use crate::daemon::{Answer, Daemon, refused};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const SECRET: &str = "correct horse battery staple";

/// One alert for each event of these datasets.
fn rules() -> String {
    let rule = |(id, dataset): (&str, &str)| {
        format!("[[rule]]\nid = \"{id}\"\ntitle = \"A hook\"\nseverity = \"low\"\nwhere = 'event.dataset == \"{dataset}\"'\n")
    };
    [("push", "github.push"), ("image", "harbor.push"), ("rollout", "argocd.notification")].map(rule).concat()
}

fn config(dir: &std::path::Path) -> String {
    let secret = dir.join("secret");
    fs::write(&secret, format!("{SECRET}\n")).expect("written");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("ours");
    let file = format!("{{ file = \"{}\" }}", secret.display());
    format!(
        "[[source]]\nkind = \"hook\"\nlateness = \"200ms\"\nformat = \"github\"\nsecret = {file}\n\
         [[source]]\nkind = \"hook\"\nlateness = \"200ms\"\nformat = \"harbor\"\nsecret = {file}\n\
         [[source]]\nkind = \"hook\"\nlateness = \"200ms\"\nname = \"cd\"\nformat = \"argocd\"\nsecret = {file}\nheader = \"X-Token\"\n\
         [[source]]\nkind = \"hook\"\nlateness = \"200ms\"\nname = \"falco\"\nsignature = \"none\"\n\
         [[source]]\nkind = \"hook\"\nlateness = \"200ms\"\nname = \"sonar\"\nsecret = {file}\nsignature = \"hmac-sha256\"\nheader = \"X-Sonar-Webhook-HMAC-SHA256\"\n\
         [[source]]\nkind = \"hook\"\nlateness = \"200ms\"\nname = \"far\"\nsecret = {file}\nallow = [\"192.0.2.0/24\"]\n"
    )
}

fn start() -> (Daemon, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("rules.toml"), rules()).expect("written");
    (Daemon::start(&config(dir.path()), &["--rules", &path("rules.toml"), "--alerts", &path("alerts.json")]), dir)
}

/// Waits until so many events of a kind have made an alert.
fn fired(d: &mut Daemon, dir: &tempfile::TempDir, rule: &str, n: usize) {
    let is = |v: serde_json::Value| v["rule"]["id"] == rule && v["alert"]["step"] == "opened";
    d.wait(&format!("{rule} has fired {n} times"), |_| {
        let text = fs::read_to_string(dir.path().join("alerts.json")).unwrap_or_default();
        text.lines().filter_map(|l| serde_json::from_str(l).ok()).filter(|v: &serde_json::Value| is(v.clone())).count() == n
    });
}

fn hmac(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

/// Sends a hook without the administrator's token.
fn post(d: &Daemon, name: &str, headers: &str, body: &[u8]) -> Answer {
    d.ask(&format!("POST /hooks/{name} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len()), body)
}

fn records(d: &Daemon, source: &str) -> f64 {
    d.metric(&format!("vigild_records_total{{source=\"{source}\"}}"))
}

fn not_believed(d: &Daemon, source: &str) -> f64 {
    d.metric(&format!("vigild_refused_total{{source=\"{source}\"}}"))
}

const PUSH: &str = "{\n  \"ref\": \"refs/heads/main\",\n  \"before\": \"6113728f27ae82c7b1a177c8d03f9e96e0adf246\",\n  \
                    \"after\": \"0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c\",\n  \"repository\": {\"full_name\": \"example/react-app\"},\n  \
                    \"pusher\": {\"name\": \"alice\"}\n}\n";

#[test]
fn github_is_believed_by_its_signature_and_heard_once() {
    let (mut d, dir) = start();
    let signed = |body: &str, delivery: &str| {
        format!("x-github-event: push\r\nx-github-delivery: {delivery}\r\nx-hub-signature-256: sha256={}\r\n", hmac(body.as_bytes()))
    };
    let a = post(&d, "github", &signed(PUSH, "72d3162e-cc78-11e3-81ab-4c9367dc0958"), PUSH.as_bytes());
    assert_eq!((a.status, a.body.as_str()), (200, "{\"accepted\":1,\"first\":1,\"last\":1}"));
    fired(&mut d, &dir, "push", 1);
    let again = post(&d, "github", &signed(PUSH, "72d3162e-cc78-11e3-81ab-4c9367dc0958"), PUSH.as_bytes());
    assert_eq!((again.status, again.body), (200, a.body), "delivered again");
    let form: String = form_urlencoded::Serializer::new(String::new()).append_pair("payload", PUSH).finish();
    let headers = format!("{}content-type: application/x-www-form-urlencoded\r\n", signed(&form, "2"));
    assert_eq!(post(&d, "github", &headers, form.as_bytes()).status, 200);
    fired(&mut d, &dir, "push", 2);

    let hex = hmac(PUSH.as_bytes());
    for wrong in [
        String::new(),
        format!("x-hub-signature-256: {hex}\r\n"),
        format!("x-hub-signature-256: sha256={}\r\n", &hex[1..]),
        format!("x-hub-signature-256: sha256={}0\r\n", if hex.ends_with('0') { "1" } else { &hex[..63] }),
        format!("x-hub-signature: sha1={hex}\r\n"),
        format!("x-hub-signature-256: sha256={}\r\n", hmac(b"another body")),
        format!("authorization: Bearer {SECRET}\r\n"),
    ] {
        let a = post(&d, "github", &format!("x-github-delivery: 3\r\n{wrong}"), PUSH.as_bytes());
        assert_eq!((a.status, a.head.contains("problem+json")), (401, true), "{wrong}");
    }
    assert_eq!((not_believed(&d, "github"), records(&d, "github")), (7.0, 2.0));
    assert_eq!(post(&d, "github", &signed(PUSH, "3"), PUSH.as_bytes()).status, 200, "who was not believed used up no key");
    assert_eq!(post(&d, "github", &format!("{}content-encoding: gzip\r\n", signed(PUSH, "4")), PUSH.as_bytes()).status, 415);
}

#[test]
fn a_token_is_found_in_its_header() {
    let (mut d, dir) = start();
    let push = "{\"type\":\"PUSH_ARTIFACT\",\"occur_at\":1795413700,\"operator\":\"robot$deploy\",\"event_data\":{\"resources\":[],\
                \"repository\":{\"name\":\"react-app\",\"namespace\":\"prod\",\"repo_full_name\":\"prod/react-app\"}}}";
    // base64 of "vigild:" and the secret.
    let basic = "dmlnaWxkOmNvcnJlY3QgaG9yc2UgYmF0dGVyeSBzdGFwbGU=";
    for right in [SECRET.to_owned(), format!("Bearer {SECRET}"), format!("Basic {basic}")] {
        assert_eq!(post(&d, "harbor", &format!("authorization: {right}\r\n"), push.as_bytes()).status, 200, "{right}");
    }
    fired(&mut d, &dir, "image", 3);
    for wrong in ["", "authorization: correct horse\r\n", "authorization: Bearer\r\n", &format!("x-token: {SECRET}\r\n")] {
        assert_eq!(post(&d, "harbor", wrong, push.as_bytes()).status, 401, "{wrong}");
    }
    assert_eq!((not_believed(&d, "harbor"), records(&d, "harbor")), (4.0, 3.0));

    let app = "{\"argocd\":{\"trigger\":\"on-deployed\",\"app\":\"react-app\",\"sync\":\"Synced\",\"phase\":\"Succeeded\"}}";
    let both = format!("x-token: {SECRET}\r\nidempotency-key: 1\r\n");
    assert_eq!(post(&d, "cd", &both, app.as_bytes()).status, 200);
    assert_eq!(post(&d, "cd", &both, app.as_bytes()).body, post(&d, "cd", &both, app.as_bytes()).body);
    assert_eq!(post(&d, "cd", &both, b"{}").status, 422);
    assert_eq!(post(&d, "cd", &format!("authorization: Bearer {SECRET}\r\n"), app.as_bytes()).status, 401, "another header is meant");
    fired(&mut d, &dir, "rollout", 1);

    let sonar = "{\"status\":\"SUCCESS\"}";
    let header = format!("x-sonar-webhook-hmac-sha256: {}\r\n", hmac(sonar.as_bytes()));
    assert_eq!(post(&d, "sonar", &header, sonar.as_bytes()).status, 200);
    assert_eq!(post(&d, "sonar", &header, b"{\"status\":\"FAILED\"}").status, 401);
    assert_eq!(post(&d, "far", &format!("authorization: {SECRET}\r\n"), b"{}").status, 403, "from an address that is not on the list");
    assert_eq!((not_believed(&d, "far"), records(&d, "far")), (1.0, 0.0));
}

#[test]
fn falco_on_this_machine_needs_no_secret_and_a_browser_is_no_falco() {
    let (mut d, _dir) = start();
    let one = |rule: &str| {
        format!(
            "{{\"time\":\"2026-11-23T06:00:00.123456789Z\",\"rule\":\"{rule}\",\"priority\":\"Notice\",\"source\":\"syscall\",\"output\":\"x\",\
             \"output_fields\":{{\"proc.name\":\"sh\"}},\"hostname\":\"vm-prod\",\"tags\":[]}}"
        )
    };
    let batch = format!("[\n{},\n{}\n]", one("A"), one("B").replace(',', ",\n  "));
    assert_eq!(post(&d, "falco", "content-type: application/json\r\n", one("A").as_bytes()).body, "{\"accepted\":1,\"first\":1,\"last\":1}");
    assert_eq!(post(&d, "falco", "", batch.as_bytes()).body, "{\"accepted\":2,\"first\":2,\"last\":3}");
    d.wait("all are Falco's", |d| records(d, "falco") == 3.0 && d.metric("vigild_parse_errors_total{source=\"falco\"}") == 0.0);
    for header in ["origin: https://example.org\r\n", "sec-fetch-site: cross-site\r\n"] {
        assert_eq!(post(&d, "falco", header, one("A").as_bytes()).status, 403, "{header}");
    }
    assert_eq!(post(&d, "falco", "", b"  \n").body, "{\"accepted\":0}");
    assert_eq!(post(&d, "nobody", "", b"{}").status, 404);
    assert_eq!(d.get("/hooks/falco").status, 405);
    assert_eq!((not_believed(&d, "falco"), records(&d, "falco")), (2.0, 3.0));
    assert!(!d.log().contains(SECRET));
}

#[test]
fn a_secret_that_cannot_be_had_keeps_the_daemon_from_starting() {
    let hook = |secret: &str| refused(&format!("[[source]]\nkind = \"hook\"\nlateness = \"200ms\"\nname = \"cd\"\nsecret = {secret}\n"), &[]);
    let o = hook("{ file = \"/no/such/secret\" }");
    let err = String::from_utf8_lossy(&o.stderr).into_owned();
    assert!(o.status.code() == Some(4) && err.contains("source cd") && err.contains("/no/such/secret"), "{err}");
    let o = hook("{ env = \"VIGILD_NO_SUCH_VARIABLE\" }");
    assert_eq!(o.status.code(), Some(4));
    let o = hook("\"s3cret\"");
    let err = String::from_utf8_lossy(&o.stderr).into_owned();
    assert!(o.status.code() == Some(3) && err.contains("V010") && err.contains("file = "), "{err}");
}
