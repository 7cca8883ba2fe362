//! Falco's JSON output, as versions from 0.37 on write it; about 840 bytes a record.
//!
//! Source: falco `userspace/engine/formats.cpp`; the rules are those of falcosecurity/rules.

use super::Scene;
use super::pen::Pen;

/// What a record tells.
pub struct Finding {
    /// The rule's name.
    pub rule: &'static str,
    /// Its priority.
    pub priority: &'static str,
    /// Its technique and tactic, as tags.
    pub tags: [&'static str; 2],
    /// The system call.
    pub call: &'static str,
    /// The file that is worked on.
    pub file: String,
    /// The process, its parent and its command line.
    pub process: [&'static str; 3],
    /// The namespace of the pod.
    pub namespace: &'static str,
}

/// One record of ordinary life: administration, start-ups and the odd script.
pub fn ordinary(p: &mut Pen<'_>, s: &mut Scene<'_>) {
    let (rule, priority, tags, call, file, process, namespace) = s.random.pick(&[
        (
            "Read sensitive file untrusted",
            "Warning",
            ["T1555", "mitre_credential_access"],
            "openat",
            "/etc/shadow",
            ["cat", "sh", "cat /etc/shadow"],
            "shop",
        ),
        (
            "Launch Package Management Process in Container",
            "Error",
            ["T1505", "mitre_persistence"],
            "execve",
            "/usr/bin/apt-get",
            ["apt-get", "bash", "apt-get update"],
            "build",
        ),
        (
            "Contact K8S API Server From Container",
            "Notice",
            ["T1565", "mitre_discovery"],
            "connect",
            "/usr/bin/curl",
            ["curl", "entrypoint.sh", "curl https://kubernetes.default.svc"],
            "monitoring",
        ),
        // An administrator at the cluster's own pods.
        (
            "Terminal shell in container",
            "Notice",
            ["T1059", "mitre_execution"],
            "execve",
            "/bin/sh",
            ["sh", "runc", "sh -c kubectl get pods"],
            "kube-system",
        ),
    ]);
    record(p, s, None, &Finding { rule, priority, tags, call, file: file.to_owned(), process, namespace });
}

/// A record. Without a container named, it is any.
pub fn record(p: &mut Pen<'_>, s: &mut Scene<'_>, container: Option<&str>, f: &Finding) {
    let mut any = Vec::with_capacity(12);
    let id = container.unwrap_or_else(|| {
        Pen(&mut any).hex(s.random, 12);
        std::str::from_utf8(&any).unwrap_or_default()
    });
    let mut pod = Vec::with_capacity(20);
    Pen(&mut pod).s("web-").hex(s.random, 9).s("-").hex(s.random, 5);
    let pod = std::str::from_utf8(&pod).unwrap_or_default();
    let [process, parent, command] = f.process;
    let nanos = u64::from(s.times.nanos);
    p.s(r#"{"hostname":"node-"#).n(1 + s.random.below(s.hosts)).s(r#"","output":""#).s(&s.times.iso).s(".").pad(nanos, 9).s("+0000: ");
    p.s(f.priority).s(" ").s(f.rule).s(" | file=").s(&f.file).s(" evt_type=").s(f.call).s(" user=root user_uid=0 user_loginuid=-1 process=");
    p.s(process).s(" proc_exepath=/bin/busybox parent=").s(parent).s(" command=").s(command).s(" terminal=34816 container_id=").s(id);
    p.s(" container_name=web k8s_pod_name=").s(pod).s(" k8s_ns_name=").s(f.namespace).s(r#"","output_fields":{"container.id":""#).s(id);
    p.s(r#"","container.image.repository":"registry.example.com/shop/web","container.image.tag":"1."#).n(s.random.below(30));
    p.s(r#".0","container.name":"web","evt.num":"#).n(s.number).s(r#","evt.time.iso8601":"#).n(s.times.epoch()).pad(nanos, 9);
    p.s(r#","evt.type":""#).s(f.call).s(r#"","fd.name":""#).s(&f.file).s(r#"","k8s.ns.name":""#).s(f.namespace).s(r#"","k8s.pod.name":""#).s(pod);
    p.s(r#"","proc.cmdline":""#).s(command).s(r#"","proc.exepath":"/bin/busybox","proc.name":""#).s(process).s(r#"","proc.pname":""#).s(parent);
    p.s(r#"","proc.tty":34816,"user.loginuid":-1,"user.name":"root","user.uid":0},"priority":""#).s(f.priority).s(r#"","rule":""#).s(f.rule);
    p.s(r#"","source":"syscall","tags":[""#).s(f.tags[0]).s(r#"","container","filesystem","maturity_stable",""#).s(f.tags[1]);
    p.s(r#""],"time":""#).s(&s.times.iso).s(".").pad(nanos, 9).s(r#"Z"}"#);
}
