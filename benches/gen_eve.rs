//! Records of true shape and size for measurements, the same for the same seed.

#![allow(dead_code)]

use std::io::Write;

/// A small generator of random numbers (xorshift), so that measurements repeat.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
    fn hex(&mut self, n: usize) -> String {
        (0..n).map(|_| char::from(b"0123456789abcdef"[self.below(16) as usize])).collect()
    }
    fn base64(&mut self, n: usize) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        (0..n).map(|_| char::from(ALPHABET[self.below(64) as usize])).collect()
    }
}

const HOSTS: [&str; 6] =
    ["shop.example.com", "api.example.org", "cdn7.static.example.net", "login.example.co.uk", "git.example.com", "www.example.org"];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "curl/8.5.0",
    "python-requests/2.32.3",
];
const URLS: [&str; 5] =
    ["/", "/index.php?id=1%27%20OR%201=1--&lang=en", "/api/v2/orders/4711?expand=items,customer", "/static/js/app.3f9a1c.js", "/wp-login.php"];
const SIGNATURES: [(&str, &str, u8); 5] = [
    ("ET SCAN Suspicious inbound to PostgreSQL port 5432", "Potentially Bad Traffic", 2),
    ("ET WEB_SERVER SQL Injection Attempt (UNION SELECT)", "Web Application Attack", 1),
    ("ET POLICY curl User-Agent Outbound", "Attempted Information Leak", 2),
    ("ET MALWARE CobaltStrike Beacon Activity (GET)", "A Network Trojan was detected", 1),
    ("ET INFO Session Traversal Utilities for NAT (STUN Binding Request)", "Misc activity", 3),
];

/// `n` lines of EVE: 35 % alert, 35 % flow, 18 % http, 7 % dns, 5 % tls; about 900 bytes on average.
pub fn eve(n: usize, seed: u64) -> Vec<u8> {
    let mut r = Rng(seed | 1);
    let mut out = Vec::with_capacity(n * 920);
    for i in 0..n {
        let (s, us) = (i / 2000 % 86_400, r.below(1_000_000));
        let time = format!("2026-11-23T{:02}:{:02}:{:02}.{us:06}+0000", s / 3600, s / 60 % 60, s % 60);
        let flow_id = r.below(1 << 51);
        let src = format!("203.0.113.{}", r.below(254) + 1);
        let dest = format!("192.0.2.{}", r.below(30) + 1);
        let (sp, mut dp) = (1024 + r.below(64_000), [443, 80, 22, 5432, 8080][r.below(5) as usize]);
        let what = r.below(100);
        let (kind, proto) = match what {
            0..35 => ("alert", "TCP"),
            35..70 => ("flow", "TCP"),
            70..88 => ("http", "TCP"),
            88..95 => {
                dp = 53;
                ("dns", "UDP")
            }
            _ => ("tls", "TCP"),
        };
        let community = format!("1:{}=", r.base64(27));
        let head = format!(
            r#"{{"timestamp":"{time}","flow_id":{flow_id},"in_iface":"eth0","event_type":"{kind}","src_ip":"{src}","src_port":{sp},"dest_ip":"{dest}","dest_port":{dp},"proto":"{proto}""#
        );
        let (pu, pd, bu, bd) = (r.below(40) + 1, r.below(60), r.below(90_000) + 60, r.below(900_000));
        let http = format!(
            r#""http":{{"hostname":"{}","url":"{}","http_user_agent":"{}","http_content_type":"text/html","http_method":"{}","protocol":"HTTP/1.1","status":{},"length":{}"#,
            r.pick(&HOSTS),
            r.pick(&URLS),
            r.pick(&AGENTS),
            r.pick(&["GET", "GET", "POST"]),
            r.pick(&["200", "302", "403", "404"]),
            r.below(90_000)
        );
        let _ = match kind {
            "alert" => {
                let (name, class, severity) = SIGNATURES[r.below(5) as usize];
                let sid = 2_000_000 + r.below(60_000);
                let (rev, payload, packet) = (r.below(20) + 1, r.base64(60), r.base64(40));
                writeln!(
                    out,
                    r#"{head},"pkt_src":"wire/pcap","community_id":"{community}","tx_id":0,"alert":{{"action":"allowed","gid":1,"signature_id":{sid},"rev":{rev},"signature":"{name}","category":"{class}","severity":{severity},"metadata":{{"attack_target":["Server"],"created_at":["2019_07_26"],"signature_severity":["Major"],"updated_at":["2024_03_08"],"mitre_technique_id":["T1190"],"mitre_tactic_id":["TA0001"]}}}},{http}}},"app_proto":"http","direction":"to_server","flow":{{"pkts_toserver":{pu},"pkts_toclient":{pd},"bytes_toserver":{bu},"bytes_toclient":{bd},"start":"{time}","src_ip":"{src}","dest_ip":"{dest}","src_port":{sp},"dest_port":{dp}}},"payload":"{payload}","payload_printable":"GET / HTTP/1.1\r\nHost: {}\r\n","stream":0,"packet":"{packet}","packet_info":{{"linktype":1}}}}"#,
                    HOSTS[0]
                )
            }
            "flow" => writeln!(
                out,
                r#"{head},"ip_v":4,"app_proto":"{}","flow":{{"pkts_toserver":{pu},"pkts_toclient":{pd},"bytes_toserver":{bu},"bytes_toclient":{bd},"start":"{time}","end":"{time}","age":{},"state":"closed","reason":"timeout","alerted":false,"tx_cnt":2}},"ether":{{"dest_macs":["02:00:00:00:00:01"],"src_macs":["02:00:00:00:00:02"]}},"community_id":"{community}","metadata":{{"flowbits":["http.seen","tcp.established"]}},"tcp":{{"tcp_flags":"1b","tcp_flags_ts":"1b","tcp_flags_tc":"1b","syn":true,"fin":true,"psh":true,"ack":true,"state":"closed","ts_max_regions":1,"tc_max_regions":1}},"host":"sensor-1"}}"#,
                r.pick(&["http", "tls", "failed"]),
                r.below(300)
            ),
            "http" => writeln!(
                out,
                r#"{head},"pkt_src":"wire/pcap","community_id":"{community}","tx_id":{},{http},"request_headers":[{{"name":"Host","value":"{}"}},{{"name":"Accept","value":"*/*"}},{{"name":"Accept-Encoding","value":"gzip, deflate, br"}},{{"name":"Cookie","value":"session={}"}}],"response_headers":[{{"name":"Server","value":"nginx"}},{{"name":"Content-Type","value":"text/html; charset=utf-8"}},{{"name":"Cache-Control","value":"no-store"}}]}},"host":"sensor-1"}}"#,
                r.below(9),
                HOSTS[1],
                r.hex(32)
            ),
            "dns" => writeln!(
                out,
                r#"{head},"pkt_src":"wire/pcap","community_id":"{community}","dns":{{"version":2,"type":"answer","id":{},"flags":"8180","qr":true,"rd":true,"ra":true,"opcode":0,"rrname":"{}","rrtype":"A","rcode":"NOERROR","answers":[{{"rrname":"{}","rrtype":"A","ttl":300,"rdata":"198.51.100.{}"}},{{"rrname":"{}","rrtype":"A","ttl":300,"rdata":"198.51.100.{}"}}],"grouped":{{"A":["198.51.100.7","198.51.100.8"]}}}},"host":"sensor-1"}}"#,
                r.below(65_536),
                HOSTS[2],
                HOSTS[2],
                r.below(254),
                HOSTS[2],
                r.below(254)
            ),
            _ => writeln!(
                out,
                r#"{head},"pkt_src":"wire/pcap","community_id":"{community}","tls":{{"subject":"CN={}","issuerdn":"C=US, O=Example Trust, CN=Example R11","serial":"0{}","fingerprint":"{}","sni":"{}","version":"TLS 1.2","notbefore":"2026-09-01T00:00:00","notafter":"2026-12-01T00:00:00","ja3":{{"hash":"{}","string":"771,4865-4866-4867-49195-49199-49196-49200-52393-52392-49171-49172-156-157-47-53,0-23-65281-10-11-35-16-5-13-18-51-45-43-27,29-23-24,0"}},"ja3s":{{"hash":"{}","string":"771,49199,65281-0-11-16"}}}},"host":"sensor-1"}}"#,
                HOSTS[3],
                r.hex(31).to_uppercase(),
                r.hex(40),
                HOSTS[3],
                r.hex(32),
                r.hex(32)
            ),
        };
    }
    out
}

/// `n` alerts of Falco, about 840 bytes on average.
pub fn falco(n: usize, seed: u64) -> Vec<u8> {
    let mut r = Rng(seed | 1);
    let mut out = Vec::with_capacity(n * 860);
    for i in 0..n {
        let (s, ns) = (i / 1000 % 86_400, r.below(1_000_000_000));
        let time = format!("2026-11-23T{:02}:{:02}:{:02}.{ns:09}Z", s / 3600, s / 60 % 60, s % 60);
        let (id, pod) = (r.hex(12), format!("web-{}-{}", r.hex(9), r.hex(5)));
        let (rule, priority, tech, mitre) = [
            ("Terminal shell in container", "Notice", "T1059", "mitre_execution"),
            ("Read sensitive file untrusted", "Warning", "T1555", "mitre_credential_access"),
            ("Drop and execute new binary in container", "Critical", "TA0003", "mitre_persistence"),
        ][r.below(3) as usize];
        let file = r.pick(&["/etc/shadow", "/bin/sh", "/tmp/x"]);
        let _ = writeln!(
            out,
            r#"{{"hostname":"node-{}","output":"{time}: {priority} {rule} | file={file} evt_type=openat user=root user_uid=0 user_loginuid=-1 process=cat proc_exepath=/bin/busybox parent=sh command=cat {file} terminal=34816 container_id={id} container_name=web k8s_pod_name={pod} k8s_ns_name=shop","output_fields":{{"container.id":"{id}","container.image.repository":"registry.example.com/shop/web","container.image.tag":"1.{}.0","container.name":"web","evt.time.iso8601":17954{:05}{ns:09},"evt.type":"openat","fd.name":"{file}","k8s.ns.name":"shop","k8s.pod.name":"{pod}","proc.cmdline":"cat {file}","proc.exepath":"/bin/busybox","proc.name":"cat","proc.pname":"sh","proc.tty":34816,"user.loginuid":-1,"user.name":"root","user.uid":0}},"priority":"{priority}","rule":"{rule}","source":"syscall","tags":["{tech}","container","filesystem","maturity_stable","{mitre}"],"time":"{time}"}}"#,
            r.below(5),
            r.below(30),
            r.below(100_000)
        );
    }
    out
}
