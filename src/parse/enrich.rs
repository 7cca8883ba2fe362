//! What is the same for all formats once a record is parsed: the machine's name in the inventory, and `related.*`.
//!
//! Nothing is allocated: values are given from slot to slot, names of the inventory are copied to the arena.

use super::Estate;
use super::estate::Host;
use crate::event::{Field, Out, Slot, Value, field};

/// Addresses in the order in which the sensor vouches for them: what it saw, then what it was told.
const IPS: [Field; 8] = [
    field::SOURCE_IP,
    field::DESTINATION_IP,
    field::HOST_IP,
    field::SURICATA_ALERT_SOURCE_IP,
    field::SURICATA_ALERT_TARGET_IP,
    field::SERVER_IP,
    field::CLIENT_IP,
    field::DNS_RESOLVED_IP,
];

/// Names that may be those of machines; the last ones are what a client asked for.
const NAMES: [Field; 9] = [
    field::HOST_HOSTNAME,
    field::SOURCE_ADDRESS,
    field::DESTINATION_ADDRESS,
    field::CLIENT_ADDRESS,
    field::SERVER_ADDRESS,
    field::SOURCE_DOMAIN,
    field::DESTINATION_DOMAIN,
    field::TLS_CLIENT_SERVER_NAME,
    field::URL_DOMAIN,
];

const USERS: [Field; 4] = [field::USER_NAME, field::USER_EFFECTIVE_NAME, field::USER_TARGET_NAME, field::SOURCE_USER_NAME];

const HASHES: [Field; 10] = [
    field::FILE_HASH_MD5,
    field::FILE_HASH_SHA1,
    field::FILE_HASH_SHA256,
    field::OSSEC_SYSCHECK_MD5_BEFORE,
    field::OSSEC_SYSCHECK_SHA1_BEFORE,
    field::OSSEC_SYSCHECK_SHA256_BEFORE,
    field::TLS_SERVER_HASH_SHA1,
    field::TLS_CLIENT_JA3,
    field::TLS_SERVER_JA3S,
    field::CONTAINER_IMAGE_HASH_ALL,
];

/// The fields that enrichment reads to write `f`; a layout that has a slot for `f` needs them too.
fn inputs(f: Field) -> Vec<Field> {
    match f {
        field::HOST_NAME => vec![field::HOST_IP, field::HOST_HOSTNAME],
        field::HOST_HOSTNAME => vec![field::HOST_NAME],
        field::RELATED_IP => IPS.to_vec(),
        field::RELATED_HOSTS => [&[field::HOST_NAME, field::RELATED_IP], &IPS[..], &NAMES].concat(),
        field::RELATED_USER => USERS.to_vec(),
        field::RELATED_HASH => HASHES.to_vec(),
        _ => Vec::new(),
    }
}

/// These fields, and all that enrichment derives one of them from.
pub fn closed(mut all: Vec<Field>) -> Vec<Field> {
    let mut at = 0;
    while let Some(&f) = all.get(at) {
        at += 1;
        let more: Vec<Field> = inputs(f).into_iter().filter(|i| !all.contains(i)).collect();
        all.extend(more);
    }
    all
}

/// Fills in what follows from the parsed fields and the inventory.
pub fn enrich(estate: &Estate, out: &mut Out<'_>) {
    host(estate, out);
    related(field::RELATED_IP, &IPS, out);
    related(field::RELATED_USER, &USERS, out);
    related(field::RELATED_HASH, &HASHES, out);
    if out.wants(field::RELATED_HOSTS) && !estate.hosts().is_empty() {
        hosts(estate, out);
    }
}

/// The machine of a value: by name, alias or address.
fn machine<'e>(estate: &'e Estate, v: Value<'_>) -> Option<&'e Host> {
    match v {
        Value::Ip(ip) => estate.at(ip),
        Value::Str(s) => estate.named(s).or_else(|| crate::event::ip(s).and_then(|ip| estate.at(ip))),
        _ => None,
    }
}

fn host(estate: &Estate, out: &mut Out<'_>) {
    if !out.wants(field::HOST_NAME) && !out.wants(field::HOST_HOSTNAME) {
        return;
    }
    if !out.has(field::HOST_HOSTNAME) {
        out.copy(field::HOST_NAME, field::HOST_HOSTNAME);
    }
    if estate.hosts().is_empty() {
        return;
    }
    let found = machine(estate, out.get(field::HOST_NAME));
    // A name that the inventory does not know is not overruled by an address: the address may be a gateway's.
    let found = if out.has(field::HOST_NAME) { found } else { out.get(field::HOST_IP).each().find_map(|ip| machine(estate, ip)) };
    if let Some(h) = found {
        out.str(field::HOST_NAME, h.name.as_bytes());
    }
}

/// Gathers values into one list without repetition; what the parser has put there, a client's claims, goes last.
fn related(to: Field, from: &[Field], out: &mut Out<'_>) {
    if !out.wants(to) {
        return;
    }
    let claims = out.slot(to);
    out.clear(to);
    let add = |s: Slot, out: &mut Out<'_>| {
        let mut i = 0;
        while let Some(one) = out.nth(s, i) {
            out.add_once(to, one);
            i += 1;
        }
    };
    for &f in from {
        add(out.slot(f), out);
    }
    add(claims, out);
}

fn hosts(estate: &Estate, out: &mut Out<'_>) {
    let claims = out.slot(field::RELATED_HOSTS);
    out.clear(field::RELATED_HOSTS);
    let add = |s: Slot, out: &mut Out<'_>| {
        let mut i = 0;
        while let Some(one) = out.nth(s, i) {
            if let Some(h) = machine(estate, out.value(one))
                && !out.get(field::RELATED_HOSTS).each().any(|v| v == Value::Str(h.name.as_bytes()))
            {
                out.add(field::RELATED_HOSTS, h.name.as_bytes());
            }
            i += 1;
        }
    };
    for f in [field::HOST_NAME, field::RELATED_IP].into_iter().chain(IPS).chain(NAMES) {
        add(out.slot(f), out);
    }
    add(claims, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Arena, Layout, Schema};

    #[test]
    fn what_the_sensor_saw_comes_first_and_claims_last() {
        let schema = Schema::default();
        let layout = Layout::full(&schema);
        let (mut arena, mut slots) = (Arena::default(), vec![Slot::Missing; layout.len()]);
        let host = |name: &str, ip: &str| Host { name: name.into(), ip: ip.parse().into_iter().collect(), ..Host::default() };
        let estate = Estate::new(vec![host("claimed", "192.0.2.9"), host("sensor", "192.0.2.8"), host("web", "192.0.2.1")], Vec::new());
        let mut out = Out::new(b"", &mut arena, &mut slots, &layout, None);
        for claim in ["198.51.100.7", "203.0.113.5", "192.0.2.9"] {
            let s = crate::event::ip(claim.as_bytes()).map_or(Slot::Missing, |ip| out.address(ip));
            out.push(field::RELATED_IP, s);
        }
        out.ip_text(field::CLIENT_IP, b"198.51.100.7");
        out.ip_text(field::SOURCE_IP, b"203.0.113.5");
        out.ip_text(field::DESTINATION_IP, b"::ffff:192.0.2.1");
        out.word(field::OBSERVER_NAME, "sensor");
        out.word(field::URL_DOMAIN, "CLAIMED");
        out.word(field::USER_NAME, "root");
        out.word(field::USER_EFFECTIVE_NAME, "root");
        out.word(field::FILE_HASH_MD5, "ab");
        enrich(&estate, &mut out);
        let shown = |f: Field| out.get(f).each().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(field::RELATED_IP), "Ip(203.0.113.5) Ip(192.0.2.1) Ip(198.51.100.7) Ip(192.0.2.9)");
        let names: Vec<&[u8]> = out.get(field::RELATED_HOSTS).each().filter_map(|v| v.str()).collect();
        assert_eq!(names, [&b"web"[..], b"claimed"]);
        assert_eq!(out.get(field::RELATED_USER).each().count(), 1);
        assert_eq!(out.get(field::RELATED_HASH).each().count(), 1);
    }
}
