//! The real rsyslog of the distribution, sending over UDP and TCP into the daemon: every line is counted.

use crate::daemon::Daemon;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const LINES: usize = 2000;

/// A process of ours, killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn rsyslog_sends_over_udp_and_tcp_and_every_line_is_counted() {
    if std::env::var("VIGILD_SKIP").is_ok_and(|s| s.split(',').any(|w| w == "rsyslog")) {
        return;
    }
    let program = ["/usr/sbin/rsyslogd", "/usr/bin/rsyslogd", "/sbin/rsyslogd"].into_iter().find(|p| fs::exists(p).unwrap_or(false));
    let program = program.expect("rsyslogd is not there: apt-get install rsyslog, or leave the test out with VIGILD_SKIP=rsyslog");
    let config = "[[source]]\nname = \"udp\"\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"udp\"]\n\
                  [[source]]\nname = \"lines\"\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"tcp\"]\n\
                  [[source]]\nname = \"octets\"\nkind = \"syslog\"\nlisten = \"127.0.0.1:0\"\ntransport = [\"tcp\"]\n";
    let mut d = Daemon::start(config, &[]);
    let port = |source: &str, what: &str| {
        let log = d.log();
        let line = log.lines().find(|l| l.contains(&format!("source={source} "))).unwrap_or_else(|| panic!("{log}")).to_owned();
        line.split_once(&format!("{what}=127.0.0.1:")).and_then(|(_, p)| p.trim().parse::<u16>().ok()).expect("a port")
    };
    let dir = d.dir.path().display().to_string();
    let input = format!("{dir}/input.log");
    let text: String = (0..LINES)
        .map(|i| format!("Failed password for invalid user u{i} from 192.0.2.{} port {} ssh2 — «ü» 100%\n", i % 250 + 1, 40_000 + i))
        .collect();
    fs::write(&input, text).expect("written");
    let forward = |port: u16, protocol: &str, more: &str| {
        format!(
            "action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" protocol=\"{protocol}\" {more}\n\
             queue.type=\"LinkedList\" queue.size=\"10000\" queue.timeoutEnqueue=\"10000\")\n"
        )
    };
    let rules = [
        forward(port("udp", "udp"), "udp", "template=\"RSYSLOG_TraditionalForwardFormat\""),
        forward(port("lines", "tcp"), "tcp", "template=\"RSYSLOG_ForwardFormat\""),
        forward(port("octets", "tcp"), "tcp", "template=\"RSYSLOG_SyslogProtocol23Format\" TCP_Framing=\"octet-counted\""),
    ];
    let text = format!(
        "global(workDirectory=\"{dir}\")\nmodule(load=\"imfile\" mode=\"polling\" pollingInterval=\"1\")\n\
         input(type=\"imfile\" file=\"{input}\" tag=\"sshd[4711]:\" facility=\"auth\" severity=\"info\" ruleset=\"out\")\n\
         ruleset(name=\"out\") {{\n{}}}\n",
        rules.concat()
    );
    let file = format!("{dir}/rsyslog.conf");
    fs::write(&file, text).expect("written");
    let mut c = Command::new(program);
    c.args(["-n", "-f", &file, "-i", &format!("{dir}/rsyslog.pid")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let rsyslog = Process(c.spawn().expect("rsyslogd starts"));

    let n = LINES as f64;
    for source in ["lines", "octets"] {
        let records = format!("vigild_records_total{{source=\"{source}\"}}");
        d.wait(&records, |d| d.metric(&records) >= n);
    }
    // Of UDP, what the kernel had to drop counts too.
    let udp = |d: &Daemon| {
        let dropped = |r: &str| d.metric(&format!("vigild_records_dropped_total{{source=\"udp\",reason=\"{r}\"}}"));
        d.metric("vigild_records_total{source=\"udp\"}") + dropped("kernel") + dropped("queue")
    };
    d.wait("UDP: stored + dropped = sent", |d| udp(d) >= n);
    std::thread::sleep(Duration::from_millis(300));
    for source in ["lines", "octets"] {
        assert_eq!(d.metric(&format!("vigild_records_total{{source=\"{source}\"}}")), n, "{source}: none twice");
        assert_eq!(d.metric(&format!("vigild_records_truncated_total{{source=\"{source}\"}}")), 0.0);
    }
    assert_eq!(udp(&d), n);
    drop(rsyslog);
    assert_eq!(d.stop().0.code(), Some(0));
}
