//! How Spark's Cassandra connector reaches the cluster: a pipeline's `cassandra:` in its words.

use millstream_core::{Error, Result, TableConnection};

/// The options of the connector.
pub(crate) fn options(connection: &TableConnection) -> Result<Vec<(String, String)>> {
    if connection.is_embedded() {
        return Err(Error::user("Spark does not reach the embedded table store")
            .help("set CASSANDRA_HOSTS, or run the flow natively"));
    }
    let mut ports = Vec::new();
    let mut hosts = Vec::new();
    for host in connection.hosts.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        match host.rsplit_once(':') {
            Some((name, port))
                if port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']')) =>
            {
                hosts.push(name);
                ports.push(port);
            }
            _ => hosts.push(host),
        }
    }
    ports.dedup();
    let mut options = vec![("spark.cassandra.connection.host".to_owned(), hosts.join(","))];
    match ports.as_slice() {
        [] => {}
        [port] => options.push(("spark.cassandra.connection.port".to_owned(), (*port).to_owned())),
        _ => {
            return Err(Error::user("Spark's Cassandra connector takes one port for all hosts")
                .help("write the hosts of `cassandra.hosts` with the same port"));
        }
    }
    let mut add = |key: &str, value: &Option<String>| {
        if let Some(value) = value {
            options.push((format!("spark.cassandra.{key}"), value.clone()));
        }
    };
    add("auth.username", &connection.username);
    add("auth.password", &connection.password);
    add("connection.localDC", &connection.data_center);
    if let Some(tls) = &connection.tls {
        if tls.certificate.is_some() || tls.ca.is_some() {
            return Err(Error::user(
                "Spark's Cassandra connector reads certificates from Java key stores on its own machines",
            )
            .help("put them into the stores of the Spark cluster and leave `cassandra.tls: {}` here"));
        }
        options.push(("spark.cassandra.connection.ssl.enabled".to_owned(), "true".to_owned()));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(hosts: &str) -> Result<Vec<(String, String)>> {
        options(&TableConnection { hosts: hosts.to_owned(), ..TableConnection::embedded() })
    }

    #[test]
    fn hosts_and_their_port_are_told_apart() {
        let told = |name: &str, value: &str| (format!("spark.cassandra.connection.{name}"), value.to_owned());
        assert_eq!(hosts("a:9142, b:9142").ok(), Some(vec![told("host", "a,b"), told("port", "9142")]));
        assert_eq!(hosts("a,b").ok(), Some(vec![told("host", "a,b")]));
        assert!(hosts("a:1,b:2").is_err());
        assert!(hosts("embedded").is_err());
    }
}
