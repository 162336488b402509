//! A pipeline's broker for a command that looks at it: a real one where it is; an embedded one in the
//! process that has the state directory, or else one of our own for as long as the command takes.

use millstream_connectors::kafka::Connection;
use millstream_core::{Error, settings};
use serde_json::json;

use super::run::start;
use crate::bind::Services;
use crate::load::Loaded;
use crate::state::{State, live_owner};
use crate::{Outcome, bind};

/// A broker that can be asked. The plan's services have its address.
pub(super) struct Attached {
    pub(super) connection: Connection,
    /// What is ours to end.
    started: Option<(Services, State)>,
}

impl Attached {
    /// Finds the broker; an embedded one must be running, where something is to come.
    pub(super) async fn to_running(loaded: &mut Loaded) -> Outcome<Self> {
        if bind::broker_port(&loaded.plan.pipeline)?.is_some() && live_owner(&loaded.state).is_none() {
            return Err(Error::user(
                "nothing comes: the pipeline's broker is embedded and nobody is running it",
            )
            .help("start it in another window, or look at what is there with `preview`")
            .into());
        }
        Self::to(loaded).await
    }

    /// Finds the broker, or starts it. Whoever has the state directory has nothing to do with a real one.
    pub(super) async fn to(loaded: &mut Loaded) -> Outcome<Self> {
        if bind::broker_port(&loaded.plan.pipeline)?.is_none() {
            let connection = settings::read(&loaded.plan.pipeline.services["kafka"])?;
            return Ok(Self { connection, started: None });
        }
        if let Some(broker) = live_owner(&loaded.state).and_then(|owner| owner.broker) {
            let connection = bind::embedded_at(&loaded.plan.pipeline, &broker)?;
            loaded.plan.pipeline.services.insert("kafka".into(), json!(connection));
            return Ok(Self { connection, started: None });
        }
        let state = loaded.take_state()?;
        let services = start(loaded, &state).await?;
        let connection = settings::read(&services.settings["kafka"])?;
        Ok(Self { connection, started: Some((services, state)) })
    }

    /// Ends what was started.
    pub(super) async fn detach(self) -> Outcome {
        match self.started {
            Some((services, _state)) => Ok(services.stop().await?),
            None => Ok(()),
        }
    }
}
