//! `doctor`: asks the services whether the pipeline would run, a line for each thing looked at.

use millstream_connectors::cassandra;
use millstream_connectors::kafka::{self, Connection, TopicSourceSettings};
use millstream_core::{Error, Finding, Level, Result, RunValues, SinkPlan, cql, now_ms, settings};
use millstream_engine::{PlannedFlow, Runner, preview};
use tokio::task::block_in_place;

use crate::args::FileArgs;
use crate::load::{Loaded, load};
use crate::output::sayln;
use crate::{FAILED, Failure, Outcome, bind};

/// Oldest and newest messages of each partition that are tried against the schema.
const MESSAGES_TRIED: i64 = 100;

pub(super) async fn run(args: &FileArgs) -> Outcome {
    let loaded = load(args)?;
    sayln!("{} is a pipeline that `check` finds fine", args.file.display());
    let mut worst = Level::Fine;
    let mut say = |service: &str, findings: Vec<Finding>| {
        for finding in findings {
            worst = worst.max(finding.level);
            let mark = match finding.level {
                Level::Fine => "ok   ",
                Level::Doubtful => "note ",
                Level::Wrong => "WRONG",
            };
            let mask = |text: &str| loaded.plan.pipeline.secrets.mask(text);
            sayln!("{mark} {service}: {}", mask(&finding.what));
            if let Some(help) = &finding.help {
                sayln!("      → {}", mask(help));
            }
        }
    };
    say("kafka", found(examine_kafka(&loaded)));
    say("cassandra", found(examine_cassandra(&loaded).await));
    match bind::spark_of(&loaded.plan.pipeline) {
        Ok(None) => {}
        Ok(Some(spark)) => say("spark", millstream_spark::examine(&spark).await),
        Err(error) => say("spark", vec![error.into()]),
    }
    match worst {
        Level::Wrong => Err(Failure::Code(FAILED)),
        Level::Fine | Level::Doubtful => Ok(()),
    }
}

/// What was found, or why it could not be asked: that is something to say, and the rest is asked all the same.
fn found(asked: Result<impl IntoIterator<Item = Finding>>) -> Vec<Finding> {
    match asked {
        Ok(findings) => findings.into_iter().collect(),
        Err(error) => {
            let place: String = error.place.iter().map(|place| format!("{place}: ")).collect();
            vec![Finding { what: format!("{place}{}", error.message), ..error.into() }]
        }
    }
}

async fn examine_cassandra(loaded: &Loaded) -> Result<Vec<Finding>> {
    let tables = bind::tables_of(&loaded.plan.pipeline.services)?;
    if tables.is_embedded() {
        return Ok(vec![Finding::fine("embedded: nothing to ask")]);
    }
    let wanted: Vec<&cql::Table> = loaded.plan.flows.iter().filter_map(table_of).collect();
    Ok(cassandra::examine(&tables, &wanted, now_ms).await)
}

fn table_of(flow: &PlannedFlow) -> Option<&cql::Table> {
    match &flow.target.plan {
        SinkPlan::Table(table) => Some(table),
        SinkPlan::Topic { .. } | SinkPlan::Lines(_) => None,
    }
}

fn examine_kafka(loaded: &Loaded) -> Result<Vec<Finding>> {
    let pipeline = &loaded.plan.pipeline;
    if bind::broker_port(pipeline)?.is_some() {
        return Ok(vec![Finding::fine("embedded: nothing to ask")]);
    }
    let connection: Connection = settings::read(&pipeline.services["kafka"])?;
    Ok(block_in_place(|| {
        let mut all = kafka::examine_broker(&connection);
        if all.iter().any(|finding| finding.level == Level::Wrong) {
            return all;
        }
        for flow in &loaded.plan.flows {
            if let SinkPlan::Topic { topic, .. } = &flow.target.plan {
                let wanted = &flow.target.component.settings;
                all.extend(found(kafka::examine_topic(&connection, topic, Some(wanted))));
            }
        }
        for flow in &loaded.plan.flows {
            let Some(topic) = &flow.origin.plan.topic else { continue };
            if flow.upstream.is_empty() {
                all.extend(found(kafka::examine_topic(&connection, topic, None)));
            }
            let at_flow = |error: Error| error.at(format!("flow {}", flow.name));
            // On Spark it is the checkpoint that knows how far the flow has come.
            if flow.runner == Runner::Native {
                all.extend(found(examine_group(&connection, topic, loaded, flow).map_err(at_flow)));
            }
            // What a query makes of a message that only Spark answers is not known here.
            if flow.query.is_some() {
                all.extend(found(try_messages(&connection, topic, flow).map_err(at_flow)));
            }
        }
        all
    }))
}

/// How far the flow's group has come.
fn examine_group(
    connection: &Connection,
    topic: &str,
    loaded: &Loaded,
    flow: &PlannedFlow,
) -> Result<Vec<Finding>> {
    let source: TopicSourceSettings = settings::read(&flow.origin.component.settings)?;
    let group = source.group(&loaded.plan.pipeline.scope(&flow.name, &RunValues::default(), None));
    kafka::examine_group(connection, topic, &group)
}

/// What would become of the oldest and the newest messages.
fn try_messages(connection: &Connection, topic: &str, flow: &PlannedFlow) -> Result<Option<Finding>> {
    let records = kafka::sample(connection, topic, MESSAGES_TRIED)?;
    let values: Vec<Vec<u8>> = records.iter().filter_map(|record| record.value.map(<[u8]>::to_vec)).collect();
    if values.is_empty() {
        return Ok(None);
    }
    let tried = preview(flow, &values)?;
    let (dead, count) = (tried.dead.len(), values.len());
    Ok(Some(match tried.dead.first() {
        None => {
            Finding::fine(format!("flow {}: the {count} oldest and newest messages can be read", flow.name))
        }
        Some((_, reason, detail)) => Finding::doubtful(
            format!(
                "flow {}: of the {count} oldest and newest messages {dead} would be dead letters",
                flow.name
            ),
            format!("the first: {reason}: {detail}"),
        ),
    }))
}
