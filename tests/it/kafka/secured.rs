//! TLS and SASL to Apache's broker, where vigild is built with them.

#[cfg(not(feature = "kafka-tls"))]
pub fn listeners(_: &std::path::Path) -> (String, String, Vec<String>) {
    Default::default()
}

#[cfg(feature = "kafka-tls")]
pub use with::listeners;

#[cfg(feature = "kafka-tls")]
mod with {
    use crate::kafka::broker::broker;
    use crate::kafka::member::{Member, free_port};
    use crate::kafka::{producer, send, texts};
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use std::fs;
    use std::path::Path;
    use std::sync::OnceLock;

    /// Ports of SASL, TLS, and SASL over TLS.
    static PORTS: OnceLock<[u16; 3]> = OnceLock::new();

    /// What the broker listens on beside plaintext, the settings that go with it, and the users.
    pub fn listeners(dir: &Path) -> (String, String, Vec<String>) {
        let [sasl, tls, both] = *PORTS.get_or_init(|| [free_port(), free_port(), free_port()]);
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        // A certificate with the name of its issuer would pass for one that signs itself.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        for name in ["server", "client"] {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("parameters");
            params.distinguished_name.push(DnType::CommonName, name);
            let cert = params.signed_by(&key, &ca).expect("signed").pem();
            fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).expect("written");
            fs::write(dir.join(format!("{name}.pem")), &cert).expect("written");
            fs::write(dir.join(format!("{name}-chain.pem")), key.serialize_pem() + &cert + &ca.pem()).expect("written");
        }
        fs::write(dir.join("ca.pem"), ca.pem()).expect("written");
        let jaas = "org.apache.kafka.common.security";
        let dir = dir.display();
        let more = format!(
            "\nsasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
             listener.name.sasl.plain.sasl.jaas.config={jaas}.plain.PlainLoginModule required user_bob=\"bob-secret\";\n\
             listener.name.sasl.scram-sha-256.sasl.jaas.config={jaas}.scram.ScramLoginModule required;\n\
             listener.name.sasltls.scram-sha-512.sasl.jaas.config={jaas}.scram.ScramLoginModule required;\n\
             listener.name.sasltls.plain.sasl.jaas.config={jaas}.plain.PlainLoginModule required;\n\
             listener.name.sasl.scram-sha-512.sasl.jaas.config={jaas}.scram.ScramLoginModule required;\n\
             listener.name.sasltls.scram-sha-256.sasl.jaas.config={jaas}.scram.ScramLoginModule required;\n\
             listener.name.tls.ssl.client.auth=required\n\
             ssl.keystore.type=PEM\nssl.keystore.location={dir}/server-chain.pem\n\
             ssl.truststore.type=PEM\nssl.truststore.location={dir}/ca.pem\n"
        );
        let users = ["SCRAM-SHA-256=[name=alice,password=alice-secret]", "SCRAM-SHA-512=[name=carol,password=carol-secret]"];
        let format = users.iter().flat_map(|u| ["--add-scram".to_owned(), (*u).to_owned()]).collect();
        (format!(",SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls},SASLTLS://127.0.0.1:{both}"), more, format)
    }

    #[test]
    fn tls_and_sasl_are_spoken_and_a_wrong_password_or_authority_is_said() {
        let Some(b) = broker() else { return };
        b.create("secured", 1);
        send(&producer(&b.address(), &[]), "secured", 0, 0..50);
        let dir = tempfile::tempdir().expect("a folder");
        let [sasl, tls, both] = *PORTS.get().expect("the broker listens");
        let file = |f: &str| b.path(f);
        let secret = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        let user = |mechanism: &str, user: &str, password: &str| {
            format!("sasl = {{ mechanism = {mechanism:?}, user = {user:?}, password = {{ file = {password:?} }} }}\n")
        };
        let ca = format!("ca = {:?}\n", file("ca.pem"));
        let mutual = format!("{ca}certificate = {:?}\nkey = {:?}\n", file("client.pem"), file("client.key"));
        let [bob, alice, carol, wrong] = ["bob", "alice", "carol", "wrong"].map(|w| secret(w, &format!("{w}-secret\n")));
        let good = [
            ("plain", sasl, format!("security = \"sasl\"\n{}", user("PLAIN", "bob", &bob))),
            ("scram256", sasl, format!("security = \"sasl\"\n{}", user("SCRAM-SHA-256", "alice", &alice))),
            ("mutual", tls, format!("security = \"tls\"\n{mutual}")),
            ("both", both, format!("security = \"sasl_tls\"\n{ca}{}", user("SCRAM-SHA-512", "carol", &carol))),
        ];
        for (name, port, security) in good {
            let settings = format!("brokers = [\"127.0.0.1:{port}\"]\ntopics = [\"secured\"]\ngroup = {name:?}\n{security}");
            let mut m = Member::new(dir.path(), name, &settings);
            m.start();
            m.wait_metric("vigild_records_total", "", 50.0);
            m.stop();
            assert_eq!(m.stored()["k:secured/0"], texts(0..50), "{name}");
        }
        fs::write(dir.path().join("other.pem"), fs::read(file("client.pem")).expect("a certificate")).expect("written");
        let other = format!("ca = {:?}\n", dir.path().join("other.pem"));
        let bad = [
            ("password", sasl, format!("security = \"sasl\"\n{}", user("PLAIN", "bob", &wrong)), "Authentication"),
            ("authority", both, format!("security = \"sasl_tls\"\n{other}{}", user("SCRAM-SHA-512", "carol", &carol)), "SSL"),
        ];
        for (name, port, security, said) in bad {
            let settings = format!("brokers = [\"127.0.0.1:{port}\"]\ntopics = [\"secured\"]\ngroup = {name:?}\n{security}");
            let mut m = Member::new(dir.path(), name, &settings);
            m.start();
            m.wait("it says why", 20, |m| m.log().contains(said));
            assert!(!m.log().contains("-secret"), "{}", m.log());
            m.stop();
        }
    }
}
