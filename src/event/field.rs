//! The fields of an event: ECS names, and those under a tool's own prefix, as small integers.
//!
//! [`TABLE`] is the one list of names that the code itself writes; each line is a constant in code (`field::SOURCE_IP`)
//! and a name in rules (`source.ip`). A [`Schema`] adds, when rules and formats are loaded, the own-prefix names that
//! `parser.toml` files declare and rules ask for. A [`Layout`] says which fields have a slot in a row: all of them for
//! output, only those asked for on the hot path.

use std::collections::HashMap;

/// The type of a field. A value that cannot be read as its field's type is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Type {
    /// Text, UTF-8.
    Str,
    /// A whole number in the range of `i64` and `u64` together.
    Int,
    /// A 64-bit float.
    Float,
    /// `true` or `false`.
    Bool,
    /// An address; v4-mapped v6 addresses are v4 addresses.
    Ip,
    /// An instant, see [`super::Timestamp`].
    Time,
    /// An own-prefix field that no format declares: typed as the JSON that holds it.
    Any,
}

/// A field: an index into a [`Schema`]. The constants of this module are the same in every schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field(pub u16);

/// A row of the field table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Def {
    /// The dotted name.
    pub name: &'static str,
    /// The type of its values.
    pub ty: Type,
    /// Whether it is written as an array even with one value.
    pub many: bool,
}

macro_rules! table {
    ($($id:ident $name:literal $ty:ident $($many:ident)?;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u16)]
        enum Index { $($id),* }
        $(#[doc = concat!("`", $name, "`")] pub const $id: Field = Field(Index::$id as u16);)*
        /// Every field that the code itself writes, in the order in which they are written out.
        pub const TABLE: &[Def] = &[$(Def { name: $name, ty: Type::$ty, many: table!(@many $($many)?) }),*];
    };
    (@many many) => { true };
    (@many) => { false };
}

table! {
    TIMESTAMP "@timestamp" Time;
    EVENT_MODULE "event.module" Str;
    EVENT_DATASET "event.dataset" Str;
    EVENT_KIND "event.kind" Str;
    EVENT_CATEGORY "event.category" Str many;
    EVENT_TYPE "event.type" Str many;
    EVENT_ACTION "event.action" Str;
    EVENT_OUTCOME "event.outcome" Str;
    EVENT_SEVERITY "event.severity" Int;
    EVENT_ID "event.id" Str;
    EVENT_CODE "event.code" Str;
    EVENT_REASON "event.reason" Str;
    EVENT_PROVIDER "event.provider" Str;
    EVENT_START "event.start" Time;
    EVENT_END "event.end" Time;
    EVENT_DURATION "event.duration" Int;
    EVENT_CREATED "event.created" Time;
    EVENT_INGESTED "event.ingested" Time;
    EVENT_SEQUENCE "event.sequence" Int;
    EVENT_STREAM "event.stream" Str;
    EVENT_LATE "event.late" Bool;
    EVENT_AHEAD "event.ahead" Bool;
    EVENT_TRUNCATED "event.truncated" Bool;
    EVENT_ORIGINAL "event.original" Str;
    ERROR_MESSAGE "error.message" Str;
    MESSAGE "message" Str;
    TAGS "tags" Str many;
    LOG_LEVEL "log.level" Str;
    LOG_LOGGER "log.logger" Str;
    LOG_FILE_PATH "log.file.path" Str;
    LOG_SYSLOG_PRIORITY "log.syslog.priority" Int;
    LOG_SYSLOG_FACILITY_CODE "log.syslog.facility.code" Int;
    LOG_SYSLOG_SEVERITY_CODE "log.syslog.severity.code" Int;
    LOG_SYSLOG_APPNAME "log.syslog.appname" Str;
    LOG_SYSLOG_PROCID "log.syslog.procid" Str;
    LOG_SYSLOG_MSGID "log.syslog.msgid" Str;
    HOST_NAME "host.name" Str;
    HOST_HOSTNAME "host.hostname" Str;
    HOST_ID "host.id" Str;
    HOST_IP "host.ip" Ip many;
    AGENT_ID "agent.id" Str;
    AGENT_NAME "agent.name" Str;
    OBSERVER_NAME "observer.name" Str;
    OBSERVER_INGRESS_INTERFACE_NAME "observer.ingress.interface.name" Str;
    CLIENT_IP "client.ip" Ip;
    CLIENT_PORT "client.port" Int;
    CLIENT_ADDRESS "client.address" Str;
    SERVER_IP "server.ip" Ip;
    SERVER_PORT "server.port" Int;
    SERVER_ADDRESS "server.address" Str;
    SOURCE_IP "source.ip" Ip;
    SOURCE_PORT "source.port" Int;
    SOURCE_ADDRESS "source.address" Str;
    SOURCE_DOMAIN "source.domain" Str;
    SOURCE_MAC "source.mac" Str;
    SOURCE_BYTES "source.bytes" Int;
    SOURCE_PACKETS "source.packets" Int;
    SOURCE_USER_NAME "source.user.name" Str;
    SOURCE_GEO_COUNTRY_ISO_CODE "source.geo.country_iso_code" Str;
    SOURCE_AS_NUMBER "source.as.number" Int;
    DESTINATION_IP "destination.ip" Ip;
    DESTINATION_PORT "destination.port" Int;
    DESTINATION_ADDRESS "destination.address" Str;
    DESTINATION_DOMAIN "destination.domain" Str;
    DESTINATION_MAC "destination.mac" Str;
    DESTINATION_BYTES "destination.bytes" Int;
    DESTINATION_PACKETS "destination.packets" Int;
    DESTINATION_GEO_COUNTRY_ISO_CODE "destination.geo.country_iso_code" Str;
    DESTINATION_AS_NUMBER "destination.as.number" Int;
    RELATED_IP "related.ip" Ip many;
    RELATED_HOSTS "related.hosts" Str many;
    RELATED_USER "related.user" Str many;
    RELATED_HASH "related.hash" Str many;
    NETWORK_TRANSPORT "network.transport" Str;
    NETWORK_PROTOCOL "network.protocol" Str;
    NETWORK_DIRECTION "network.direction" Str;
    NETWORK_COMMUNITY_ID "network.community_id" Str;
    NETWORK_VLAN_ID "network.vlan.id" Str;
    NETWORK_BYTES "network.bytes" Int;
    NETWORK_PACKETS "network.packets" Int;
    RULE_ID "rule.id" Str;
    RULE_NAME "rule.name" Str;
    RULE_CATEGORY "rule.category" Str;
    RULE_VERSION "rule.version" Str;
    RULE_RULESET "rule.ruleset" Str;
    RULE_REFERENCE "rule.reference" Str;
    RULE_TACTIC "rule.tactic" Str many;
    ALERT_SEVERITY "alert.severity" Str;
    USER_NAME "user.name" Str;
    USER_ID "user.id" Str;
    USER_EMAIL "user.email" Str;
    USER_DOMAIN "user.domain" Str;
    USER_ROLES "user.roles" Str many;
    USER_AUDIT_ID "user.audit.id" Str;
    USER_EFFECTIVE_NAME "user.effective.name" Str;
    USER_TARGET_NAME "user.target.name" Str;
    GROUP_NAME "group.name" Str;
    PROCESS_NAME "process.name" Str;
    PROCESS_PID "process.pid" Int;
    PROCESS_EXECUTABLE "process.executable" Str;
    PROCESS_COMMAND_LINE "process.command_line" Str;
    PROCESS_WORKING_DIRECTORY "process.working_directory" Str;
    PROCESS_TTY "process.tty" Str;
    PROCESS_EXIT_CODE "process.exit_code" Int;
    PROCESS_PARENT_NAME "process.parent.name" Str;
    PROCESS_PARENT_PID "process.parent.pid" Int;
    PROCESS_PARENT_EXECUTABLE "process.parent.executable" Str;
    PROCESS_PARENT_COMMAND_LINE "process.parent.command_line" Str;
    FILE_PATH "file.path" Str;
    FILE_NAME "file.name" Str;
    FILE_SIZE "file.size" Int;
    FILE_TYPE "file.type" Str;
    FILE_MODE "file.mode" Str;
    FILE_UID "file.uid" Str;
    FILE_GID "file.gid" Str;
    FILE_MIME_TYPE "file.mime_type" Str;
    FILE_HASH_MD5 "file.hash.md5" Str;
    FILE_HASH_SHA1 "file.hash.sha1" Str;
    FILE_HASH_SHA256 "file.hash.sha256" Str;
    URL_ORIGINAL "url.original" Str;
    URL_DOMAIN "url.domain" Str;
    URL_PORT "url.port" Int;
    URL_SCHEME "url.scheme" Str;
    URL_PATH "url.path" Str;
    URL_QUERY "url.query" Str;
    HTTP_VERSION "http.version" Str;
    HTTP_REQUEST_ID "http.request.id" Str;
    HTTP_REQUEST_METHOD "http.request.method" Str;
    HTTP_REQUEST_REFERRER "http.request.referrer" Str;
    HTTP_REQUEST_BODY_BYTES "http.request.body.bytes" Int;
    HTTP_REQUEST_BYTES "http.request.bytes" Int;
    HTTP_RESPONSE_STATUS_CODE "http.response.status_code" Int;
    HTTP_RESPONSE_BODY_BYTES "http.response.body.bytes" Int;
    HTTP_RESPONSE_BYTES "http.response.bytes" Int;
    HTTP_RESPONSE_MIME_TYPE "http.response.mime_type" Str;
    USER_AGENT_ORIGINAL "user_agent.original" Str;
    DNS_ID "dns.id" Str;
    DNS_TYPE "dns.type" Str;
    DNS_QUESTION_NAME "dns.question.name" Str;
    DNS_QUESTION_TYPE "dns.question.type" Str;
    DNS_QUESTION_REGISTERED_DOMAIN "dns.question.registered_domain" Str;
    DNS_RESPONSE_CODE "dns.response_code" Str;
    DNS_ANSWERS_NAME "dns.answers.name" Str many;
    DNS_ANSWERS_TYPE "dns.answers.type" Str many;
    DNS_ANSWERS_DATA "dns.answers.data" Str many;
    DNS_RESOLVED_IP "dns.resolved_ip" Ip many;
    TLS_VERSION "tls.version" Str;
    TLS_VERSION_PROTOCOL "tls.version_protocol" Str;
    TLS_RESUMED "tls.resumed" Bool;
    TLS_CLIENT_SERVER_NAME "tls.client.server_name" Str;
    TLS_CLIENT_JA3 "tls.client.ja3" Str;
    TLS_CLIENT_JA4 "tls.client.ja4" Str;
    TLS_SERVER_JA3S "tls.server.ja3s" Str;
    TLS_SERVER_ISSUER "tls.server.issuer" Str;
    TLS_SERVER_SUBJECT "tls.server.subject" Str;
    TLS_SERVER_NOT_BEFORE "tls.server.not_before" Time;
    TLS_SERVER_NOT_AFTER "tls.server.not_after" Time;
    TLS_SERVER_HASH_SHA1 "tls.server.hash.sha1" Str;
    SERVICE_NAME "service.name" Str;
    SERVICE_TYPE "service.type" Str;
    CONTAINER_ID "container.id" Str;
    CONTAINER_NAME "container.name" Str;
    CONTAINER_RUNTIME "container.runtime" Str;
    CONTAINER_IMAGE_NAME "container.image.name" Str;
    CONTAINER_IMAGE_TAG "container.image.tag" Str many;
    CONTAINER_IMAGE_HASH_ALL "container.image.hash.all" Str many;
    ORCHESTRATOR_TYPE "orchestrator.type" Str;
    ORCHESTRATOR_CLUSTER_NAME "orchestrator.cluster.name" Str;
    ORCHESTRATOR_NAMESPACE "orchestrator.namespace" Str;
    ORCHESTRATOR_RESOURCE_TYPE "orchestrator.resource.type" Str;
    ORCHESTRATOR_RESOURCE_NAME "orchestrator.resource.name" Str;
    THREAT_TACTIC_ID "threat.tactic.id" Str many;
    THREAT_TACTIC_NAME "threat.tactic.name" Str many;
    THREAT_TECHNIQUE_ID "threat.technique.id" Str many;
    THREAT_TECHNIQUE_NAME "threat.technique.name" Str many;
    THREAT_INDICATOR_TYPE "threat.indicator.type" Str many;
    VULNERABILITY_ID "vulnerability.id" Str many;
    VULNERABILITY_SEVERITY "vulnerability.severity" Str;
    VULNERABILITY_SCORE_BASE "vulnerability.score.base" Float;
    PACKAGE_NAME "package.name" Str;
    PACKAGE_VERSION "package.version" Str;
    PACKAGE_FIXED_VERSION "package.fixed_version" Str;
    SURICATA_FLOW_ID "suricata.flow_id" Int;
    SURICATA_ALERT_ACTION "suricata.alert.action" Str;
    SURICATA_ALERT_SEVERITY "suricata.alert.severity" Int;
    SURICATA_ALERT_SOURCE_IP "suricata.alert.source.ip" Ip;
    SURICATA_ALERT_TARGET_IP "suricata.alert.target.ip" Ip;
    SURICATA_ALERT_SIGNATURE_SEVERITY "suricata.alert.signature_severity" Str many;
    SURICATA_FLOW_STATE "suricata.flow.state" Str;
    FALCO_PRIORITY "falco.priority" Str;
    FALCO_SOURCE "falco.source" Str;
    OSSEC_LEVEL "ossec.level" Int;
    OSSEC_LOCATION "ossec.location" Str;
    OSSEC_DECODER "ossec.decoder" Str;
    OSSEC_PROGRAM_NAME "ossec.program_name" Str;
    OSSEC_FULL_LOG "ossec.full_log" Str;
    OSSEC_SYSCHECK_MD5_BEFORE "ossec.syscheck.md5_before" Str;
    OSSEC_SYSCHECK_SHA1_BEFORE "ossec.syscheck.sha1_before" Str;
    OSSEC_SYSCHECK_SHA256_BEFORE "ossec.syscheck.sha256_before" Str;
    FAIL2BAN_RESTORED "fail2ban.restored" Bool;
    FAIL2BAN_BAN_COUNT "fail2ban.ban_count" Int;
    MODSECURITY_SEVERITY "modsecurity.severity" Str;
    MODSECURITY_ANOMALY_SCORE "modsecurity.anomaly_score" Int;
    MODSECURITY_ENGINE_MODE "modsecurity.engine_mode" Str;
    MODSECURITY_MATCHED_DATA "modsecurity.matched_data" Str many;
    MODSECURITY_RULE_FILE "modsecurity.rule_file" Str many;
    MODSECURITY_RULE_LINE "modsecurity.rule_line" Str many;
    MODSECURITY_AUDIT_FILE "modsecurity.audit_file" Str;
}

/// All fields known to one set of rules and formats: [`TABLE`], then the own-prefix fields added at load.
///
/// At most [`Schema::MAX`] fields; fields are never removed, so a [`Field`] stays valid.
#[derive(Clone, Debug)]
pub struct Schema {
    names: Vec<Box<str>>,
    types: Vec<Type>,
    many: Vec<bool>,
    index: HashMap<Box<str>, Field>,
}

impl Default for Schema {
    fn default() -> Self {
        let mut s = Schema { names: Vec::new(), types: Vec::new(), many: Vec::new(), index: HashMap::new() };
        for d in TABLE {
            s.push(d.name, d.ty, d.many);
        }
        s
    }
}

impl Schema {
    /// The most fields a schema holds, those of the table included.
    pub const MAX: usize = 4096;

    fn push(&mut self, name: &str, ty: Type, many: bool) -> Field {
        let f = Field(self.names.len() as u16);
        self.names.push(name.into());
        self.types.push(ty);
        self.many.push(many);
        self.index.insert(name.into(), f);
        f
    }

    /// Adds a field, or gives the one of that name. A declared type takes the place of [`Type::Any`].
    ///
    /// `None` when the schema is full.
    pub fn intern(&mut self, name: &str, ty: Type, many: bool) -> Option<Field> {
        if let Some(&f) = self.index.get(name) {
            let t = &mut self.types[f.0 as usize];
            if *t == Type::Any {
                *t = ty;
            }
            return Some(f);
        }
        (self.names.len() < Self::MAX).then(|| self.push(name, ty, many))
    }

    /// The field of that name, if it is known.
    pub fn get(&self, name: &str) -> Option<Field> {
        self.index.get(name).copied()
    }

    /// The dotted name.
    pub fn name(&self, f: Field) -> &str {
        &self.names[f.0 as usize]
    }

    /// The type of the field's values.
    pub fn ty(&self, f: Field) -> Type {
        self.types[f.0 as usize]
    }

    /// Whether the field is written as an array even with one value.
    pub fn many(&self, f: Field) -> bool {
        self.many[f.0 as usize]
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Never: a schema holds at least [`TABLE`].
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All fields in the order in which they are written out.
    pub fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        (0..self.names.len() as u16).map(Field)
    }
}

/// Which fields have a slot in a row, and where.
#[derive(Clone, Debug)]
pub struct Layout {
    slot: Vec<u16>,
    fields: Vec<Field>,
}

impl Layout {
    const NONE: u16 = u16::MAX;

    /// A slot for every field of the schema: for output.
    pub fn full(schema: &Schema) -> Layout {
        Layout::of(schema, schema.fields())
    }

    /// A slot for each of `fields` (repetitions count once): for the hot path.
    pub fn of(schema: &Schema, fields: impl IntoIterator<Item = Field>) -> Layout {
        let mut l = Layout { slot: vec![Self::NONE; schema.len()], fields: Vec::new() };
        for f in fields {
            if l.slot[f.0 as usize] == Self::NONE {
                l.slot[f.0 as usize] = l.fields.len() as u16;
                l.fields.push(f);
            }
        }
        l
    }

    /// The slot of a field, if it has one.
    #[inline]
    pub fn slot(&self, f: Field) -> Option<usize> {
        match self.slot.get(f.0 as usize) {
            Some(&s) if s != Self::NONE => Some(s as usize),
            _ => None,
        }
    }

    /// The fields in the order of their slots.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// How many slots a row has.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no slot at all.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_an_index() {
        let s = Schema::default();
        assert_eq!(s.len(), TABLE.len());
        for (i, d) in TABLE.iter().enumerate() {
            assert_eq!(s.get(d.name), Some(Field(i as u16)), "{} stands twice", d.name);
        }
        assert_eq!(s.name(SOURCE_IP), "source.ip");
        assert_eq!(s.ty(SOURCE_IP), Type::Ip);
    }

    #[test]
    fn a_full_schema_refuses_more() {
        let mut s = Schema::default();
        for i in s.len()..Schema::MAX {
            assert!(s.intern(&format!("own.f{i}"), Type::Any, false).is_some());
        }
        assert_eq!(s.intern("own.more", Type::Any, false), None);
        assert!(s.intern("own.f4000", Type::Int, false).is_some(), "a known name needs no room");
    }

    #[test]
    fn a_layout_gives_slots_only_to_what_was_asked_for() {
        let s = Schema::default();
        let l = Layout::of(&s, [SOURCE_IP, USER_NAME, SOURCE_IP]);
        assert_eq!(l.len(), 2);
        assert_eq!((l.slot(SOURCE_IP), l.slot(USER_NAME), l.slot(RULE_ID)), (Some(0), Some(1), None));
    }
}
