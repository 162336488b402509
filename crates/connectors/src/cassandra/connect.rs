//! A session with a cluster.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream_core::settings::Tls;
use millstream_core::{Consistency, Error, Result, TableConnection};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::BuilderVerifierExt;
use scylla::client::Compression;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement;

use super::errors;

/// How long a node may take for one request; its own patience is 2 s by default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take to say hello.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the nodes may take to agree on a new table.
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// Where Cassandra listens when no port is named.
const PORT: u16 = 9042;

/// Connects. What is asked takes `LOCAL_QUORUM`, unless a statement says otherwise. The tables of the schema have one
/// copy, each node its own: more than half of one is one, while `TWO` could never be had.
pub(super) async fn connect(connection: &TableConnection) -> Result<Session> {
    let profile = ExecutionProfile::builder()
        .consistency(statement::Consistency::LocalQuorum)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .build();
    let hosts = connection.hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).map(with_port);
    let mut builder = SessionBuilder::new()
        .known_nodes(hosts.collect::<Vec<_>>())
        .default_execution_profile_handle(profile.into_handle())
        .compression(Some(Compression::Lz4))
        .connection_timeout(CONNECT_TIMEOUT)
        .schema_agreement_timeout(AGREEMENT_TIMEOUT)
        .schema_agreement_interval(Duration::from_millis(50));
    if let Some(username) = &connection.username {
        builder = builder.user(username, connection.password.clone().unwrap_or_default());
    }
    if let Some(data_center) = &connection.data_center {
        builder = builder.prefer_datacenter(data_center.clone());
    }
    if let Some(tls) = &connection.tls {
        builder = builder.tls_context(Some(Arc::new(encrypted(tls)?)));
    }
    let session = builder.build().await.map_err(|error| errors::of_connecting(connection, &error))?;
    if let Some(data_center) = &connection.data_center {
        let cluster = session.get_cluster_state();
        let nodes = cluster.get_nodes_info().iter();
        check_data_center(data_center, nodes.map(|node| node.datacenter.as_deref()))?;
    }
    Ok(session)
}

/// Refuses a data centre that no node is in: no request would ever be sent, which looks like nodes that are down.
/// Those are known all the same. While it is not known of a node where it is, it may be there.
fn check_data_center<'a>(wanted: &str, nodes: impl Iterator<Item = Option<&'a str>>) -> Result<()> {
    let Some(known) = nodes.collect::<Option<BTreeSet<_>>>() else { return Ok(()) };
    if known.is_empty() || known.contains(wanted) {
        return Ok(());
    }
    let names = known.into_iter().collect::<Vec<_>>().join(", ");
    Err(Error::user(format!("no node is in the data centre `{wanted}` of `cassandra.data_center`"))
        .help(format!("nodes are in {names}"))
        .at("data_center")
        .at("cassandra"))
}

fn with_port(host: &str) -> String {
    // An IPv6 address alone has colons too.
    let has_port = host.rsplit_once(':').is_some_and(|(before, port)| {
        port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']'))
    });
    if has_port { host.to_owned() } else { format!("{host}:{PORT}") }
}

/// A consistency as the driver calls it.
pub(super) fn named(consistency: Consistency) -> statement::Consistency {
    match consistency {
        Consistency::One => statement::Consistency::One,
        Consistency::Two => statement::Consistency::Two,
        Consistency::Three => statement::Consistency::Three,
        Consistency::Quorum => statement::Consistency::Quorum,
        Consistency::All => statement::Consistency::All,
        Consistency::LocalQuorum => statement::Consistency::LocalQuorum,
        Consistency::EachQuorum => statement::Consistency::EachQuorum,
        Consistency::LocalOne => statement::Consistency::LocalOne,
    }
}

fn encrypted(tls: &Tls) -> Result<ClientConfig> {
    let failed =
        |e: rustls::Error| Error::user(format!("no TLS for cassandra: {e}")).at("tls").at("cassandra");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let builder = match &tls.ca {
        None => builder.with_platform_verifier().map_err(failed)?,
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(failed)?;
            }
            builder.with_root_certificates(roots)
        }
    };
    match (&tls.certificate, &tls.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let key_of = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
            builder.with_client_auth_cert(certificates(certificate)?, key_of).map_err(failed)
        }
        _ => Err(Error::user("a certificate and its key go together").at("tls").at("cassandra")),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|e| unreadable(path, &e))?;
    if found.is_empty() {
        return Err(Error::user(format!("there is no certificate in {}", path.display())));
    }
    Ok(found)
}

fn unreadable(path: &Path, error: &rustls::pki_types::pem::Error) -> Error {
    Error::user(format!("cannot read {}: {error:?}", path.display())).help("it must be a PEM file")
}

#[cfg(test)]
mod tests {
    use millstream_core::Fault;

    use super::{check_data_center, with_port};

    #[test]
    fn a_host_without_a_port_gets_cassandras() {
        for (host, whole) in [
            ("localhost", "localhost:9042"),
            ("localhost:9142", "localhost:9142"),
            ("10.0.0.1", "10.0.0.1:9042"),
            ("[::1]:9142", "[::1]:9142"),
            ("[::1]", "[::1]:9042"),
        ] {
            assert_eq!(with_port(host), whole);
        }
    }

    #[test]
    fn a_data_centre_that_no_node_is_in_is_not_waited_for() {
        let check = |nodes: &[Option<&str>]| check_data_center("dc1", nodes.iter().copied());
        let error = check(&[Some("dc2"), Some("DC1"), Some("dc2")]).expect_err("is in neither");
        assert_eq!(error.fault, Fault::User);
        assert_eq!(
            error.to_string(),
            "cassandra: data_center: no node is in the data centre `dc1` of `cassandra.data_center` \
             (nodes are in DC1, dc2)"
        );
        check(&[Some("dc2"), Some("dc1")]).expect("is there, also where all its nodes are down");
        check(&[Some("dc2"), None]).expect("may be there");
        check(&[]).expect("may be there");
    }
}
