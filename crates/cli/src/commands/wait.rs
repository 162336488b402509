//! `wait`: until the workers of a flow have done what is in its topic now. It only looks, and is no
//! member of their group.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use millstream_connectors::kafka::{Awaited, Standing, TopicSourceSettings};
use millstream_core::{Error, Result, RunValues, settings};
use millstream_engine::{Backends, FlowSummary, Runner, Secrets, Status};
use tokio::task::block_in_place;

use super::attached::Attached;
use super::run::Began;
use crate::args::{FileArgs, SummaryFormat};
use crate::load::load;
use crate::output::sayln;
use crate::stop::Stop;
use crate::{Failure, Outcome, output};

/// How often the group is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(
    args: &FileArgs,
    flow: &str,
    patience: Duration,
    stop_at_eof: bool,
    format: Option<SummaryFormat>,
) -> Outcome {
    let mut loaded = load(args)?;
    let flow = loaded.plan.find_flow(flow)?.clone();
    let Some(topic) = flow.origin.plan.topic.clone() else {
        return Err(Error::user(format!("flow {} reads no topic: it has no workers", flow.name))
            .help(format!("`run FILE --flow {}` runs it", flow.name))
            .into());
    };
    if flow.runner == Runner::Spark {
        let what = format!("{} runs on Spark, which keeps how far it is in its checkpoint", flow.name);
        return Err(Error::user(what)
            .help(format!("`run FILE --flow {}` ends when Spark has done what is in the topic", flow.name))
            .into());
    }
    let stop = Stop::listen();
    if stop_at_eof {
        stop.also_at_eof();
    }
    let began = Began::now();
    let scope = loaded.plan.pipeline.scope(&flow.name, &RunValues::default(), None);
    let source: TopicSourceSettings = settings::read(&flow.origin.component.settings)?;
    let group = source.group(&scope);
    let attached = Attached::to_running(&mut loaded).await?;
    let mut open: Option<Awaited<'_>> = None;
    let look = || {
        block_in_place(|| match &mut open {
            Some(awaited) => awaited.look(),
            None => open.insert(Awaited::open(&attached.connection, &topic, &group)?).look(),
        })
    };
    let secrets = &loaded.plan.pipeline.secrets;
    let waited = until_done(look, &flow.name, &group, secrets, patience, &stop).await;
    drop(open);
    let backends = Backends::from([("kafka".to_owned(), secrets.mask(&attached.connection.brokers))]);
    attached.detach().await?;
    let Some(standing) = loaded.hide(waited)? else {
        return Err(Failure::Code(stop.code().unwrap_or_default()));
    };
    let counts = FlowSummary { counts: standing.counts, error: None };
    let flows = [(flow.name, counts)];
    output::counts(&flows);
    let json = format.map_or(!std::io::stdout().is_terminal(), |format| format == SummaryFormat::Json);
    if json {
        output::summary(&began.summary(&loaded, Status::Success, backends, flows))?;
    }
    Ok(())
}

/// Looks again and again: until nothing is left, or nobody is there who would do it. `None` where it
/// was stopped.
async fn until_done(
    mut look: impl FnMut() -> Result<Standing>,
    flow: &str,
    group: &str,
    secrets: &Secrets,
    patience: Duration,
    stop: &Stop,
) -> Result<Option<Standing>> {
    let mut answered = Instant::now();
    let mut said = String::new();
    loop {
        let waiting = match look() {
            Ok(standing) if standing.behind == 0 => return Ok(Some(standing)),
            Ok(standing) if standing.members == 0 => {
                let what =
                    format!("{} message(s) are left, and nobody reads as group {group}", standing.behind);
                return Err(Error::lasting(what)
                    .help(format!("start a worker: `up FILE --flow {flow}`"))
                    .at(format!("flow {flow}")));
            }
            Ok(standing) => {
                answered = Instant::now();
                format!("{} message(s) are left", standing.behind)
            }
            Err(error) if error.is_passing() && answered.elapsed() < patience => error.to_string(),
            Err(error) => return Err(error.at(format!("flow {flow}"))),
        };
        if said != waiting {
            sayln!("waiting: {flow}: {}", secrets.mask(&waiting));
            said = waiting;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.token.cancelled() => return Ok(None),
        }
    }
}
