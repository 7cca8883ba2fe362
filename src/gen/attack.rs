//! Attacks that the built-in rules find: each scenario fires one rule of severity medium or above, with its last record.
//!
//! The key of each attack is its own: its client, container or file is no other's, so that no attack is quiet for
//! another's sake.

use super::pen::Pen;
use super::{Form, Scene, fail2ban, falco, modsecurity, ossec, suricata};
use crate::parse::Native;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A kind of attack.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// The rule that fires.
    pub rule: &'static str,
    /// The tools that see it: its records are theirs in turn, the rest the last one's.
    pub tools: &'static [Native],
    /// How many records it has.
    pub steps: u64,
    /// The field that tells its attacks apart.
    pub field: &'static str,
    key: fn(u64) -> String,
    write: fn(&mut Act<'_, '_, '_>),
}

/// One record of an attack being written.
struct Act<'a, 'p, 's> {
    pen: &'a mut Pen<'p>,
    scene: &'a mut Scene<'s>,
    forms: &'a [Form],
    /// Which attack, of all.
    number: u64,
    /// Which of its records, from 0.
    step: u64,
}

/// All scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "port-scan",
        rule: "internal-scan",
        tools: &[Native::Suricata],
        steps: 20,
        field: "client.ip",
        key: inside,
        write: |a| {
            let e = suricata::Ends { client: own(a.number), client_port: 40_000, server: SERVER, server_port: 20 + a.step };
            suricata::flow(a.pen, a.scene, &e, 60);
        },
    },
    Scenario {
        name: "dns-tunnel",
        rule: "dns-tunnel",
        tools: &[Native::Suricata],
        steps: 100,
        field: "client.ip",
        key: inside,
        write: |a| {
            let e = suricata::Ends { client: own(a.number), client_port: 40_000, server: SERVER, server_port: 53 };
            let name = format!("{:020x}{:020x}.t.example.net", a.number, a.step);
            suricata::dns(a.pen, a.scene, &e, &name);
        },
    },
    Scenario {
        name: "upload",
        rule: "big-upload",
        tools: &[Native::Suricata],
        steps: 2,
        field: "client.ip",
        key: inside,
        write: |a| {
            let server = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 251));
            let e = suricata::Ends { client: own(a.number), client_port: 40_000 + a.step, server, server_port: 443 };
            suricata::flow(a.pen, a.scene, &e, 600_000_000);
        },
    },
    Scenario {
        name: "secrets-given-out",
        rule: "sensitive-path-probe-hit",
        tools: &[Native::Suricata],
        steps: 1,
        field: "client.ip",
        key: outside,
        write: |a| {
            let e = suricata::Ends { client: attacker(a.number), client_port: 40_000, server: SERVER, server_port: 80 };
            suricata::http(a.pen, a.scene, &e, "/.env", 200);
        },
    },
    Scenario {
        name: "shell-in-container",
        rule: "shell-in-prod-container",
        tools: &[Native::Falco],
        steps: 1,
        field: "container.id",
        key: container,
        write: |a| finding(a, "Terminal shell in container", "Notice", "/bin/sh", ["sh", "runc", "sh -c id"]),
    },
    Scenario {
        name: "shell-by-server",
        rule: "shell-spawned-by-server",
        tools: &[Native::Falco],
        steps: 1,
        field: "container.id",
        key: container,
        write: |a| finding(a, "Run shell untrusted", "Notice", "/bin/sh", ["sh", "nginx", "sh -c id"]),
    },
    Scenario {
        name: "reverse-shell",
        rule: "reverse-shell-in-container",
        tools: &[Native::Falco],
        steps: 1,
        field: "container.id",
        key: container,
        write: |a| {
            let rule = "Redirect STDOUT/STDIN to Network Connection in Container";
            finding(a, rule, "Notice", "/dev/tcp", ["perl", "containerd-shim", "perl -e connect"]);
        },
    },
    Scenario {
        name: "dropped-binary",
        rule: "dropped-binary-run",
        tools: &[Native::Falco],
        steps: 1,
        field: "container.id",
        key: container,
        write: |a| finding(a, "Drop and execute new binary in container", "Critical", "/tmp/x", ["x", "containerd-shim", "/tmp/x -d"]),
    },
    Scenario {
        name: "container-escape",
        rule: "container-escape",
        tools: &[Native::Falco],
        steps: 1,
        field: "container.id",
        key: container,
        write: |a| finding(a, "Change thread namespace", "Notice", "/proc/1/ns/mnt", ["nsenter", "containerd-shim", "nsenter -t 1 -m"]),
    },
    Scenario {
        name: "inside-guessing",
        rule: "internal-auth-bruteforce",
        tools: &[Native::Fail2ban],
        steps: 5,
        field: "client.ip",
        key: inside,
        write: |a| fail2ban::found(a.pen, a.scene, "sshd", own(a.number)),
    },
    Scenario {
        name: "guessed-password",
        rule: "login-after-bruteforce",
        tools: &[Native::Ossec],
        steps: 9,
        field: "client.ip",
        key: outside,
        write: |a| match (form(a, Native::Ossec), attacker(a.number)) {
            (f, ip) if a.step < 8 => ossec::failed_login(a.pen, a.scene, f, ip, "admin", false),
            (f, ip) => ossec::login(a.pen, a.scene, f, ip, "alice"),
        },
    },
    Scenario {
        name: "spray",
        rule: "password-spray-real-users",
        tools: &[Native::Ossec],
        steps: 6,
        field: "client.ip",
        key: outside,
        write: |a| {
            let user = ["alice", "bob", "carol", "dan", "erin", "frank"][(a.step % 6) as usize];
            let f = form(a, Native::Ossec);
            ossec::failed_login(a.pen, a.scene, f, attacker(a.number), user, true);
        },
    },
    Scenario {
        name: "service-login",
        rule: "root-or-service-login",
        tools: &[Native::Ossec],
        steps: 1,
        field: "client.ip",
        key: outside,
        write: |a| {
            let f = form(a, Native::Ossec);
            ossec::login(a.pen, a.scene, f, attacker(a.number), "www-data");
        },
    },
    Scenario {
        name: "changed-cron",
        rule: "persistence-file",
        tools: &[Native::Ossec],
        steps: 1,
        field: "file.path",
        key: |n| format!("/etc/cron.d/job-{n}"),
        write: |a| {
            let f = form(a, Native::Ossec);
            ossec::changed(a.pen, a.scene, f, &format!("/etc/cron.d/job-{}", a.number));
        },
    },
    Scenario {
        name: "waf-passed",
        rule: "waf-attack-not-blocked",
        tools: &[Native::Modsecurity],
        steps: 1,
        field: "client.ip",
        key: outside,
        write: |a| probe(a, 0, 10, false),
    },
    Scenario {
        name: "waf-probing",
        rule: "waf-multi-class-not-blocked",
        tools: &[Native::Modsecurity],
        steps: 3,
        field: "client.ip",
        key: outside,
        write: |a| probe(a, a.step as usize, 8, false),
    },
    Scenario {
        name: "seen-by-all",
        rule: "attacker-seen-by-three",
        tools: &[Native::Suricata, Native::Modsecurity, Native::Fail2ban, Native::Ossec],
        steps: 4,
        field: "client.ip",
        key: outside,
        write: |a| {
            let ip = attacker(a.number);
            match a.step {
                0 => {
                    let e = suricata::Ends { client: ip, client_port: 40_000, server: SERVER, server_port: 80 };
                    let s = suricata::Signature("ET WEB_SERVER PHP tags in HTTP POST", "Web Application Attack", 1, false);
                    suricata::alert(a.pen, a.scene, &e, &s);
                }
                1 => probe(a, 0, 8, true),
                2 => fail2ban::found(a.pen, a.scene, "nginx-http-auth", ip),
                _ => {
                    let f = form(a, Native::Ossec);
                    ossec::web_attack(a.pen, a.scene, f, ip);
                }
            }
        },
    },
];

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 240));

/// Addresses of attackers: no stranger of ordinary traffic has one of them.
fn attacker(n: u64) -> IpAddr {
    match n {
        0..250 => IpAddr::V4(Ipv4Addr::new(203, 0, 113, n as u8 + 1)),
        _ => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, (n >> 32) as u16, (n >> 16) as u16, n as u16)),
    }
}

/// Addresses of machines inside: private ones, since nothing is known of an inventory.
fn own(n: u64) -> IpAddr {
    let [.., b, c, d] = n.to_be_bytes();
    match n {
        0..0x100_0000 => IpAddr::V4(Ipv4Addr::new(10, b, c, d)),
        _ => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, (n >> 48) as u16, (n >> 32) as u16, (n >> 16) as u16, n as u16)),
    }
}

fn outside(n: u64) -> String {
    attacker(n).to_string()
}

fn inside(n: u64) -> String {
    own(n).to_string()
}

fn container(n: u64) -> String {
    format!("bad{n:09x}")
}

fn of(forms: &[Form], tool: Native) -> Form {
    forms.iter().copied().find(|f| f.tool() == tool).unwrap_or(Form::default_of(tool))
}

/// The form in which this tool writes here.
fn form(a: &Act<'_, '_, '_>, tool: Native) -> Form {
    of(a.forms, tool)
}

fn finding(a: &mut Act<'_, '_, '_>, rule: &'static str, priority: &'static str, file: &str, process: [&'static str; 3]) {
    let tags = ["T1059", "mitre_execution"];
    let f = falco::Finding { rule, priority, tags, call: "execve", file: file.to_owned(), process, namespace: "shop" };
    falco::record(a.pen, a.scene, Some(&container(a.number)), &f);
}

fn probe(a: &mut Act<'_, '_, '_>, class: usize, score: u64, stopped: bool) {
    let f = form(a, Native::Modsecurity);
    modsecurity::request(a.pen, a.scene, f, &modsecurity::Request { client: attacker(a.number), class, score, stopped });
}

/// An attack that is on: its scenario, which attack it is, and how many of its records are written.
#[derive(Clone)]
pub struct Attack {
    /// What it does.
    pub scenario: &'static Scenario,
    number: u64,
    written: u64,
}

impl Attack {
    /// The attack of a number; which scenario it plays follows from `turn`. None where no scenario fits the forms.
    pub fn new(scenarios: &[&'static Scenario], turn: u64, number: u64) -> Option<Attack> {
        let i = turn.checked_rem(scenarios.len() as u64)?;
        Some(Attack { scenario: scenarios[i as usize], number, written: 0 })
    }

    /// The form of its next record.
    pub fn form(&self, forms: &[Form]) -> Form {
        let tools = self.scenario.tools;
        of(forms, tools[(self.written as usize).min(tools.len() - 1)])
    }

    /// Writes its next record; whether that was its last.
    pub(super) fn step(&mut self, pen: &mut Pen<'_>, scene: &mut Scene<'_>, forms: &[Form]) -> bool {
        (self.scenario.write)(&mut Act { pen, scene, forms, number: self.number, step: self.written });
        self.written += 1;
        self.written == self.scenario.steps
    }

    /// What tells it from others of its scenario.
    pub fn key(&self) -> String {
        (self.scenario.key)(self.number)
    }
}
