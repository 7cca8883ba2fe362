//! Harmless events of an ordinary evening, always the same: visitors, name look-ups, cron, configuration management, and
//! the odd stranger at the door.

use super::shift;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A generator of numbers that look random: xorshift64*.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.roll(all.len() as u64) as usize]
    }
}

const PAGES: [&str; 8] = ["/", "/cart", "/item?id=17", "/item?id=204", "/static/app.3f9c.js", "/static/app.3f9c.css", "/api/v1/prices", "/login"];
const NAMES: [&str; 6] = ["api.example.net", "deb.example.org", "github.com", "harbor.example.net", "time.example.org", "shop.example.net"];
const HOSTS: [(&str, &str); 5] = [
    ("vm-prod", "192.0.2.10"),
    ("vm-staging", "192.0.2.11"),
    ("vm-monitor", "192.0.2.12"),
    ("vm-security", "192.0.2.13"),
    ("vm-devops", "192.0.2.14"),
];
/// The sources that speak seldom; each has its turn every 45 s.
const RARE: [&str; 9] = ["argocd", "clamav", "fail2ban", "falco", "github", "harbor", "modsecurity", "suricata", "vault"];
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// The harmless events between two instants, second by second: formats and records.
pub fn between(from: i64, to: i64) -> Vec<(&'static str, String)> {
    let mut dice = Dice(0x5eed_0000_2026_1120);
    let mut all = Vec::new();
    let mut n = 0;
    for at in from..to {
        // Quiet seconds and busy ones.
        for _ in 0..dice.roll(3) {
            n += 1;
            all.push(event(at, n, &mut dice));
        }
        // Each of the rarer sources says something often enough that nobody waits for it.
        if let Some(turn) = RARE.get((at % 45) as usize / 5).filter(|_| at % 5 == 0) {
            n += 1;
            all.push((*turn, rare(turn, at, n, &mut dice)));
        }
    }
    all
}

fn written(at: i64, format: &str) -> String {
    Timestamp::from_second(at).map(|t| t.to_zoned(TimeZone::UTC).strftime(format).to_string()).unwrap_or_default()
}

fn event(at: i64, n: u64, dice: &mut Dice) -> (&'static str, String) {
    let iso = written(at, "%Y-%m-%dT%H:%M:%S");
    let bsd = written(at, "%b %e %H:%M:%S");
    let us = dice.roll(1_000_000);
    let visitor = format!("198.51.100.{}", 1 + dice.roll(200));
    let (host, ip) = HOSTS[dice.roll(5) as usize];
    let port = 32_768 + dice.roll(28_000);
    let pid = 1000 + dice.roll(30_000);
    let eve = |kind: &str, src: &str, dst: &str, dport: u16, proto: &str, rest: String| {
        format!(
            r#"{{"timestamp":"{iso}.{us:06}+0000","flow_id":{},"in_iface":"ens18","event_type":"{kind}","src_ip":"{src}","src_port":{port},"dest_ip":"{dst}","dest_port":{dport},"proto":"{proto}",{rest}}}"#,
            1_200_000_000_000_000 + n
        )
    };
    match dice.roll(940) {
        0..300 => {
            let (page, bytes) = (dice.of(&PAGES), 200 + dice.roll(40_000));
            let status = dice.of(&["200", "200", "200", "304"]);
            let clf = written(at, "%d/%b/%Y:%H:%M:%S");
            let line = format!(
                r#"<190>{bsd} vm-prod nginx: {visitor} - - [{clf} +0000] "GET {page} HTTP/1.1" {status} {bytes} "https://shop.example.net/" "{BROWSER}""#
            );
            ("syslog", line)
        }
        300..500 => {
            let (up, down) = (400 + dice.roll(2000), 1000 + dice.roll(60_000));
            let rest = format!(
                r#""app_proto":"tls","flow":{{"pkts_toserver":12,"pkts_toclient":14,"bytes_toserver":{up},"bytes_toclient":{down},"start":"{iso}.000000+0000","end":"{iso}.{us:06}+0000","age":0,"state":"closed","reason":"timeout","alerted":false}}"#
            );
            ("suricata", eve("flow", &visitor, "192.0.2.10", 443, "TCP", rest))
        }
        500..650 => {
            let name = dice.of(&NAMES);
            let rest = format!(r#""dns":{{"type":"query","id":{},"rrname":"{name}","rrtype":"A","tx_id":0,"opcode":0}}"#, dice.roll(65_536));
            ("suricata", eve("dns", ip, "192.0.2.1", 53, "UDP", rest))
        }
        650..780 => {
            let rest = format!(
                r#""tx_id":0,"http":{{"hostname":"shop.example.net","url":"{}","http_user_agent":"{BROWSER}","http_refer":"https://shop.example.net/","http_method":"GET","protocol":"HTTP/1.1","status":200,"length":{}}}"#,
                dice.of(&PAGES),
                dice.roll(40_000)
            );
            ("suricata", eve("http", &visitor, "192.0.2.10", 80, "TCP", rest))
        }
        780..850 => ("syslog", format!("<78>{bsd} {host} CRON[{pid}]: (root) CMD (test -x /usr/sbin/anacron || run-parts /etc/cron.hourly)")),
        850..880 => ("syslog", format!("<30>{bsd} {host} systemd[1]: Finished sysstat-collect.service - system activity accounting tool.")),
        880..910 => {
            let line = format!(
                "Accepted publickey for ansible from 192.0.2.14 port {port} ssh2: ED25519 SHA256:Zk1mQx0p7TQd3n0pL0Yt6w0V3c5bq8fWmYyF8o1xZ2c"
            );
            ("syslog", format!("<38>{bsd} {host} sshd[{pid}]: {line}"))
        }
        _ => {
            let ossec = written(at, "%Y %b %d %H:%M:%S");
            let text = format!(
                "** Alert {at}.{n}: - pam,syslog,\n{ossec} ({host}) {ip}->/var/log/auth.log\nRule: 5502 (level 3) -> 'Login session closed.'\n{bsd} {host} sshd[{pid}]: pam_unix(sshd:session): session closed for user ansible\n"
            );
            ("ossec", text)
        }
    }
}

/// A harmless record of a source that speaks seldom.
fn rare(format: &str, at: i64, n: u64, dice: &mut Dice) -> String {
    let iso = written(at, "%Y-%m-%dT%H:%M:%S");
    let us = dice.roll(1_000_000);
    let port = 32_768 + dice.roll(28_000);
    let (host, _) = HOSTS[dice.roll(5) as usize];
    match format {
        "argocd" => format!(
            r#"{{"argocd":{{"trigger":"on-sync-succeeded","app":"docs","project":"prod","revision":"1c09e0b2f1d8e9a1a4d27d2f2f0f3d5f7f1b2a33","sync":"Synced","health":"Healthy","phase":"Succeeded","message":"successfully synced (no more tasks)","startedAt":"{iso}Z","finishedAt":"{iso}Z","initiatedBy":null,"repo":"https://github.com/shop/deploy.git","namespace":"docs","server":"https://kubernetes.default.svc","images":["harbor.example.net/prod/docs:v1.4.0"]}}}}"#
        ),
        "clamav" => format!("{} -> /srv/upload/order-{n}.pdf: OK", written(at, "%a %b %e %H:%M:%S %Y")),
        // One try by one of many addresses, as on every day.
        "fail2ban" => format!(
            "<30>{} {host} fail2ban.filter[811]: INFO [sshd] Found 203.0.113.{} - {}",
            written(at, "%b %e %H:%M:%S"),
            100 + n % 150,
            written(at, "%Y-%m-%d %H:%M:%S")
        ),
        "falco" => format!(
            r#"{{"hostname":"{host}","output":"{}.{us:06}000: Informational Falco metrics snapshot","output_fields":{{"falco.num_evts":{},"falco.n_drops":0}},"priority":"Informational","rule":"Falco internal: metrics snapshot","source":"internal","time":"{iso}.{us:06}000Z"}}"#,
            &iso[11..],
            n * 900
        ),
        "github" => format!(
            r#"{{"action":"completed","workflow_run":{{"id":{},"name":"link check","event":"schedule","status":"completed","conclusion":"success","head_branch":"main","head_sha":"1c09e0b2f1d8e9a1a4d27d2f2f0f3d5f7f1b2a33","created_at":"{iso}Z","run_started_at":"{iso}Z","updated_at":"{iso}Z","html_url":"https://github.com/shop/docs/actions","actor":{{"login":"dana"}},"head_repository":{{"full_name":"shop/docs"}}}},"repository":{{"full_name":"shop/docs"}},"sender":{{"login":"dana"}}}}"#,
            289_000_000 + n
        ),
        "harbor" => format!(
            r#"{{"type":"PULL_ARTIFACT","occur_at":{at},"operator":"robot$monitor","event_data":{{"resources":[{{"digest":"sha256:0d4a2f5c0a8be2d2c86e1c76f1d4b9a3e7c5d8f0a1b2c3d4e5f60718293a4b5c","tag":"v1.4.0","resource_url":"harbor.example.net/prod/docs:v1.4.0"}}],"repository":{{"name":"docs","namespace":"prod","repo_full_name":"prod/docs","repo_type":"private"}}}}}}"#
        ),
        "modsecurity" => format!(
            r#"{{"transaction":{{"client_ip":"198.51.100.{}","time_stamp":"{}","server_id":"2ce124b0c5d02b433a9392782ff8b313286c1942","client_port":{port},"host_ip":"192.0.2.10","host_port":443,"unique_id":"1602{n:08}.{us:06}","request":{{"method":"GET","http_version":1.1,"uri":"/","body":"","headers":{{"Host":"192.0.2.10","User-Agent":"{BROWSER}"}}}},"response":{{"body":"","http_code":200,"headers":{{"Server":"nginx/1.26.3"}}}},"producer":{{"modsecurity":"ModSecurity v3.0.14 (Linux)","connector":"ModSecurity-nginx v1.0.3","secrules_engine":"Enabled","components":["OWASP_CRS/3.3.7\""]}},"messages":[{{"message":"Host header is a numeric IP address","details":{{"match":"Matched \"Operator `Rx' with parameter `^[\\d.:]+$' against variable `REQUEST_HEADERS:Host' (Value: `192.0.2.10' )","reference":"o0,10v21,10","ruleId":"920350","file":"/usr/share/modsecurity-crs/rules/REQUEST-920-PROTOCOL-ENFORCEMENT.conf","lineNumber":"718","data":"192.0.2.10","severity":"4","ver":"OWASP_CRS/3.3.7","rev":"","tags":["application-multi","attack-protocol","paranoia-level/1","OWASP_CRS"],"maturity":"0","accuracy":"0"}}}}]}}}}"#,
            1 + dice.roll(200),
            written(at, "%a %b %e %H:%M:%S %Y")
        ),
        "suricata" => format!(
            r#"{{"timestamp":"{iso}.{us:06}+0000","event_type":"stats","stats":{{"uptime":{},"capture":{{"kernel_packets":{},"kernel_drops":0}}}}}}"#,
            at % 1_000_000,
            n * 1000
        ),
        _ => format!(
            r#"{{"time":"{iso}.{us:06}Z","type":"response","auth":{{"client_token":"hmac-sha256:19ad0b","accessor":"hmac-sha256:77c0d2","display_name":"approle-monitor","policies":["default","monitoring"],"token_type":"service"}},"request":{{"id":"0b7a4c1e-0000-4000-8000-{n:012}","operation":"read","mount_type":"kv","path":"secret/data/monitoring/grafana","namespace":{{"id":"root"}},"remote_address":"192.0.2.12","remote_port":{port}}},"response":{{"mount_type":"kv"}}}}"#
        ),
    }
}

/// The harmless events of the whole night, from its begin to its end.
pub fn night() -> Vec<(&'static str, String)> {
    match (shift::at(super::night::BEGIN), shift::at(super::night::END)) {
        (Some(from), Some(to)) => between(from, to),
        _ => Vec::new(),
    }
}
