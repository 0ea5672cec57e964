//! `sslmode` means what libpq means by it, towards a server that has a certificate.

use crate::{
    cluster::{Cluster, cluster},
    postgres::settings,
};
use engine::{Engine as _, EngineUrl, postgres::Postgres};
use std::path::PathBuf;

/// For `localhost` and 127.0.0.1, from an authority of its own; and another authority.
fn certificate(name: &str) -> PathBuf {
    let certificates = concat!(env!("CARGO_MANIFEST_DIR"), "/../net/tests/it");
    PathBuf::from(certificates).join(name)
}

#[test]
fn a_server_is_believed_as_far_as_its_mode_says() {
    if cluster().is_none() {
        return;
    }
    let files = [certificate("edge/certs/server.pem"), certificate("edge/certs/server.key")];
    let [cert, key] = &files;
    let ssl = ["ssl = on", "ssl_cert_file = 'server.pem'", "ssl_key_file = 'server.key'"];
    let cluster = Cluster::start(&ssl, &[cert, key]).unwrap();
    let (ca, other) = (certificate("edge/certs/ca.pem"), certificate("certs/other-ca.pem"));
    let (ca, other) = (ca.display(), other.display());
    let port = cluster.port;
    // The name that the certificate has not, the address that it has.
    let (name, address) = ("ip6-localhost", "127.0.0.1");
    let cases = [
        (address, "sslmode=disable".to_owned(), Some("f")),
        (address, String::new(), Some("t")),
        (address, "sslmode=require".to_owned(), Some("t")),
        (address, format!("sslmode=require&sslrootcert={other}"), None),
        (address, format!("sslmode=verify-ca&sslrootcert={ca}"), Some("t")),
        (address, format!("sslmode=verify-ca&sslrootcert={other}"), None),
        (address, format!("sslmode=verify-full&sslrootcert={ca}"), Some("t")),
        (address, format!("sslmode=verify-full&sslrootcert={other}"), None),
        (name, format!("sslmode=verify-ca&sslrootcert={ca}&hostaddr=127.0.0.1"), Some("t")),
        (name, format!("sslmode=verify-full&sslrootcert={ca}&hostaddr=127.0.0.1"), None),
    ];
    for (host, parameters, expected) in cases {
        let url = format!("postgres://postgres@{host}:{port}/postgres?{parameters}");
        let Ok(EngineUrl::Postgres(url)) = EngineUrl::parse(&url) else { panic!("{url}") };
        let opened = Postgres::open(&url, &settings("a-1", 1));
        match (opened, expected) {
            (Ok(engine), Some(expected)) => {
                let mut registry = engine.registry().unwrap();
                registry.survey().unwrap();
                let select = format!(
                    "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                     WHERE application_name LIKE 'tollgate {:016x}%'",
                    registry.me().0
                );
                assert_eq!(cluster.psql("postgres", &select), expected, "{url}");
            }
            (Err(_), None) => (),
            (opened, expected) => panic!("{url}: {opened:?}, expected {expected:?}"),
        }
    }
}
