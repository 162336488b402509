//! What a bench makes on real services: a topic, a keyspace with a table, groups. All of it is taken away
//! again, however the bench ends. Other topics and keyspaces are left alone.

use std::time::Duration;

use millstream_core::{Error, Result};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use scylla::client::session_builder::SessionBuilder;
use tokio::task::block_in_place;

use crate::load::EXAMPLE;
use crate::output::sayln;
use crate::stop::Stop;
use crate::{FAILED, Failure, Outcome, output};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The services of a bench, and the name of all that it makes there.
pub(super) struct Made {
    pub(super) brokers: String,
    pub(super) hosts: String,
    /// Of the topic and the keyspace, and what each group's name begins with.
    pub(super) name: String,
}

impl Made {
    /// For the bench `what` of this process.
    pub(super) fn on(brokers: String, hosts: String, what: &str) -> Self {
        Self { brokers, hosts, name: format!("{what}_{}", std::process::id()) }
    }

    /// The example with what is made here as its topic and its table, its flow a group of its own.
    pub(super) fn pipeline(&self, to: &str) -> String {
        let name = &self.name;
        EXAMPLE
            .replace("name: user_automation", &format!("name: {name}_{to}"))
            .replace("topic: users_created", &format!("topic: {name}"))
            .replace("spark_streams.created_users", &format!("{name}.users"))
    }

    /// Waits for the bench, or for a signal, and takes away what was made.
    pub(super) async fn during(&self, bench: impl Future<Output = Outcome>) -> Outcome {
        let stop = Stop::listen();
        let ended = tokio::select! {
            ended = bench => ended,
            () = stop.token.cancelled() => Err(Failure::Code(stop.code().unwrap_or(FAILED))),
        };
        for removed in [self.remove_topic().await, self.remove_keyspace().await] {
            if let Err(error) = removed {
                sayln!("{} is left behind:", self.name);
                output::error(&error);
            }
        }
        ended
    }

    async fn remove_topic(&self) -> Result<()> {
        let failed = |e: &dyn std::fmt::Display| Error::lasting(format!("removing topic {}: {e}", self.name));
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().map_err(|e| failed(&e))?;
        let options =
            AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT)).request_timeout(Some(ANSWER_TIMEOUT));
        let removed = admin.delete_topics(&[&self.name], &options).await.map_err(|e| failed(&e))?;
        for topic in removed {
            match topic {
                Ok(_)
                | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {}
                Err((_, code)) => return Err(failed(&code)),
            }
        }
        let groups = block_in_place(|| admin.inner().fetch_group_list(None, ANSWER_TIMEOUT));
        let groups = groups.map_err(|e| failed(&e))?;
        let names = groups.groups().iter().map(|group| group.name());
        let names: Vec<_> = names.filter(|name| name.starts_with(&self.name)).collect();
        if !names.is_empty() {
            // One that still has a member ends with it.
            admin.delete_groups(&names, &options).await.map_err(|e| failed(&e))?;
        }
        Ok(())
    }

    async fn remove_keyspace(&self) -> Result<()> {
        let failed =
            |e: &dyn std::fmt::Display| Error::lasting(format!("removing keyspace {}: {e}", self.name));
        let session = SessionBuilder::new().known_node(&self.hosts).build().await.map_err(|e| failed(&e))?;
        let drop = format!("DROP KEYSPACE IF EXISTS {}", self.name);
        session.query_unpaged(drop, ()).await.map(|_| ()).map_err(|e| failed(&e))
    }
}
