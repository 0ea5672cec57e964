//! How HTTP clients reach a node: TLS, the PROXY protocol, and who is believed.

use super::{path, patience};
use crate::topology::{
    Front,
    reader::{Field, Section, Walk},
};
use net::edge::{Network, TlsFiles};
use std::path::{Path, PathBuf};

const TLS_KEYS: [&str; 3] = ["cert", "key", "client_ca"];

/// Reads `tls`, `proxy_protocol`, `trusted` and `patience` of a node; relative paths count from `base` later.
pub(in crate::topology) fn read<'a>(walk: &mut Walk<'a>, table: &Section<'a>) -> Front {
    let trusted = table.strings(walk, "trusted", parse_network);
    let trusted = trusted.good().map(|it| it.value.iter().map(|it| it.value).collect());
    Front {
        tls: read_tls(walk, table),
        proxy_protocol: table.boolean(walk, "proxy_protocol").value_or(false),
        trusted: trusted.unwrap_or_default(),
        patience: patience::read(walk, table),
    }
}

fn read_tls<'a>(walk: &mut Walk<'a>, table: &Section<'a>) -> Option<TlsFiles> {
    let tls = table.table(walk, "tls", &TLS_KEYS)?;
    let cert = tls.string(walk, "cert", path::parse_file);
    let key = tls.string(walk, "key", path::parse_file);
    let client_ca = tls.string(walk, "client_ca", path::parse_file);
    for (name, field) in [("cert", &cert), ("key", &key)] {
        if field.is_missing() {
            walk.complaints.missing(tls.line, &tls.key(name), "the path of a PEM file");
        }
    }
    let file = |field: &Field<PathBuf>| field.good().map(|it| it.value.clone());
    Some(TlsFiles { cert: file(&cert)?, key: file(&key)?, client_ca: file(&client_ca) })
}

/// The same with paths from `base`.
pub(in crate::topology) fn rooted(front: &Front, base: &Path) -> Front {
    let tls = front.tls.as_ref().map(|tls| TlsFiles {
        cert: base.join(&tls.cert),
        key: base.join(&tls.key),
        client_ca: tls.client_ca.as_ref().map(|path| base.join(path)),
    });
    Front { tls, ..front.clone() }
}

fn parse_network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|_| "addresses, as in \"10.0.0.0/8\" or \"::1\"".to_owned())
}
