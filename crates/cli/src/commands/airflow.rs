//! `airflow`: the pipeline as a DAG file, a task for each flow. It is written to be read: whoever
//! knows Airflow sees what runs when, and may change it. It has no addresses and no secrets; those
//! come from an Airflow connection, or from the environment of the tasks.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use millstream_core::{Error, Result, SinkPlan, cql};
use millstream_engine::{Plan, PlannedFlow, Runner};

use crate::args::FileArgs;
use crate::load::load;
use crate::{Outcome, output};

/// Names that a task's variable must not take: Python's keywords, and what the file itself uses.
const TAKEN: [&str; 46] = [
    "False",
    "None",
    "True",
    "and",
    "as",
    "assert",
    "async",
    "await",
    "break",
    "class",
    "continue",
    "def",
    "del",
    "elif",
    "else",
    "except",
    "finally",
    "for",
    "from",
    "global",
    "if",
    "import",
    "in",
    "is",
    "lambda",
    "nonlocal",
    "not",
    "or",
    "pass",
    "raise",
    "return",
    "try",
    "while",
    "with",
    "yield",
    "Asset",
    "CronDataIntervalTimetable",
    "CronTriggerTimetable",
    "DAG",
    "MillstreamOperator",
    "MillstreamSensor",
    "PIPELINE",
    "Path",
    "datetime",
    "timedelta",
    "timezone",
];

/// What the DAG file is to be like.
pub(super) struct Options {
    /// Where the pipeline file is, from the DAG file's folder.
    pub(super) pipeline: Option<String>,
    /// Whether the work of flows that read a topic is done elsewhere.
    pub(super) streaming: bool,
    /// The first day that runs are made up for.
    pub(super) start_date: Option<NaiveDate>,
}

pub(super) fn run(args: &FileArgs, options: &Options) -> Outcome {
    if let Some((flow, _)) = args.with.runner.first() {
        return Err(Error::user("--runner is for this once, and a DAG runs again and again")
            .help(format!("write `runner:` into the file, at the flow {flow}"))
            .into());
    }
    let loaded = load(args)?;
    let name = args.file.file_name().unwrap_or(args.file.as_os_str()).to_string_lossy();
    check(&loaded.plan, options)?;
    Ok(output::results(&dag(&loaded.plan, &name, options))?)
}

/// Refuses what Airflow would take, and never run or never see end.
fn check(plan: &Plan, options: &Options) -> Result<()> {
    let on_spark = |flow: &&PlannedFlow| waits(flow, options.streaming) && flow.runner == Runner::Spark;
    if let Some(flow) = plan.flows.iter().find(on_spark) {
        return Err(Error::user(format!(
            "flow {} runs on Spark, and how far it is there cannot be waited for",
            flow.name
        ))
        .help("take --streaming away: its task drains the topic on Spark"));
    }
    if plan.pipeline.runs.catchup && needs_interval(plan) && options.start_date.is_none() {
        return Err(Error::user(
            "with `catchup: true` and {interval.…} Airflow runs nothing that has no first day",
        )
        .help("say it: --start-date 2026-01-31"));
    }
    Ok(())
}

/// The DAG file of a plan that was read from the file `name`.
fn dag(plan: &Plan, name: &str, options: &Options) -> String {
    let (path, streaming) = (options.pipeline.as_deref(), options.streaming);
    let mut command = format!("millstream airflow {name}");
    command.extend(path.map(|path| format!(" --pipeline {path}")));
    if streaming {
        command.push_str(" --streaming");
    }
    command.extend(options.start_date.map(|day| format!(" --start-date {day}")));
    let (schedule, timetable) = schedule(plan);
    let start_date = options.start_date.map_or_else(String::new, |day| {
        format!("\n    start_date=datetime({}, tzinfo=timezone.utc),", day.format("%Y, %-m, %-d"))
    });
    let runs = &plan.pipeline.runs;
    let time_limit = runs.time_limit.map_or_else(String::new, |limit| {
        format!("\n        \"execution_timeout\": timedelta(seconds={}),", limit.0.as_secs_f64())
    });
    let variables = variables(&plan.flows);
    let tasks: Vec<_> = plan
        .flows
        .iter()
        .zip(&variables)
        .map(|(flow, variable)| task(flow, variable, waits(flow, streaming)))
        .collect();
    format!(
        r#""""The pipeline {dag_id}, a task for each flow.

Make it anew when the pipeline changes:
    {command}
"""

{imports}
PIPELINE = Path(__file__).parent / {path}

with DAG(
    dag_id={dag_id_text},
    schedule={schedule},{start_date}
    catchup={catchup},
    max_active_runs=1,
    default_args={{
        "retries": {retries},
        "retry_delay": timedelta(seconds={retry_seconds}),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(hours=1),{time_limit}
    }},
    tags=["millstream"],
):
{tasks}{order}"#,
        dag_id = plan.pipeline.name,
        command = docstring(&command),
        imports = imports(plan, timetable, options),
        path = text(path.unwrap_or(name)),
        dag_id_text = text(&plan.pipeline.name),
        catchup = if runs.catchup { "True" } else { "False" },
        retries = runs.retries,
        retry_seconds = runs.retry_delay.0.as_secs_f64(),
        tasks = tasks.join("\n"),
        order = order(&plan.flows, &variables),
    )
}

/// Whether a flow's work is done by workers elsewhere, so that its task only waits.
fn waits(flow: &PlannedFlow, streaming: bool) -> bool {
    streaming && flow.origin.plan.topic.is_some()
}

/// Whether a flow asks for what belongs to the time of its run.
fn needs_interval(plan: &Plan) -> bool {
    plan.flows.iter().any(|flow| flow.origin.plan.needs_interval)
}

/// What stands behind `schedule=`, and the timetable that it needs.
fn schedule(plan: &Plan) -> (String, Option<&'static str>) {
    let Some(schedule) = &plan.pipeline.schedule else { return ("None".to_owned(), None) };
    let zone = plan.pipeline.timezone.as_deref();
    let timetable = match (needs_interval(plan), zone) {
        // With a plain schedule, Airflow 3 gives its runs an interval of no length.
        (true, _) => "CronDataIntervalTimetable",
        (false, Some(_)) => "CronTriggerTimetable",
        (false, None) => return (text(schedule), None),
    };
    let zone = text(zone.unwrap_or("UTC"));
    (format!("{timetable}({}, timezone={zone})", text(schedule)), Some(timetable))
}

fn imports(plan: &Plan, timetable: Option<&str>, options: &Options) -> String {
    let streaming = options.streaming;
    let times = if options.start_date.is_some() { "datetime, timedelta, timezone" } else { "timedelta" };
    let mut sdk = vec!["DAG"];
    if plan.flows.iter().any(|flow| table_of(flow).is_some()) {
        sdk.push("Asset");
    }
    sdk.extend(timetable);
    let mut lines = vec![
        format!("from datetime import {times}"),
        "from pathlib import Path".to_owned(),
        String::new(),
        format!("from airflow.sdk import {}", sdk.join(", ")),
    ];
    if plan.flows.iter().any(|flow| !waits(flow, streaming)) {
        lines.push("from millstream_provider.operators import MillstreamOperator".to_owned());
    }
    if plan.flows.iter().any(|flow| waits(flow, streaming)) {
        lines.push("from millstream_provider.sensors import MillstreamSensor".to_owned());
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn task(flow: &PlannedFlow, variable: &str, waits: bool) -> String {
    let from = match &flow.origin.plan.topic {
        Some(topic) => format!("topic {topic}"),
        None => flow.origin.component.kind.clone(),
    };
    let to = match &flow.target.plan {
        SinkPlan::Topic { topic, .. } => format!("topic {topic}"),
        SinkPlan::Table(table) => format!("table {table}"),
        SinkPlan::Lines(_) => flow.target.component.kind.clone(),
    };
    let what = if waits { ": done by workers elsewhere, and waited for" } else { "" };
    let class = if waits { "MillstreamSensor" } else { "MillstreamOperator" };
    let name = text(&flow.name);
    let outlets = table_of(flow).map(outlets).unwrap_or_default();
    format!(
        r#"    # {from} → {to}{what}
    {variable} = {class}(
        task_id={name},
        pipeline=PIPELINE,
        flow={name},
{outlets}    )
"#
    )
}

fn table_of(flow: &PlannedFlow) -> Option<&cql::Table> {
    match &flow.target.plan {
        SinkPlan::Table(table) => Some(table),
        SinkPlan::Topic { .. } | SinkPlan::Lines(_) => None,
    }
}

/// A table as an asset, by a name that other DAGs can be scheduled on, wherever its cluster is.
fn outlets(table: &cql::Table) -> String {
    let name = table.to_string();
    format!(
        r#"        outlets=[
            Asset(
                {},
                uri={},
            ),
        ],
"#,
        text(&name),
        text(&format!("cassandra://{}", name.replace('.', "/"))),
    )
}

/// Which task comes after which: a topic's readers after its writers.
fn order(flows: &[PlannedFlow], variables: &[String]) -> String {
    let mut lines = String::new();
    for (flow, variable) in flows.iter().zip(variables) {
        let before: Vec<_> = flows
            .iter()
            .zip(variables)
            .filter(|(other, _)| other.name != flow.name && flow.upstream.contains(&other.name))
            .map(|(_, variable)| variable.as_str())
            .collect();
        match before.as_slice() {
            [] => {}
            [one] => lines.push_str(&format!("\n    {one} >> {variable}\n")),
            many => lines.push_str(&format!("\n    [{}] >> {variable}\n", many.join(", "))),
        }
    }
    lines
}

/// For each flow a variable that is like its name.
fn variables(flows: &[PlannedFlow]) -> Vec<String> {
    let mut taken: BTreeSet<String> = TAKEN.iter().map(|name| (*name).to_owned()).collect();
    let mut variable = |flow: &PlannedFlow| {
        let mut name: String =
            flow.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            name.insert(0, '_');
        }
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        name
    };
    flows.iter().map(&mut variable).collect()
}

/// A Python string: JSON's escapes are Python's too.
fn text(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

/// The same for a part of a docstring, whose quotes are there.
fn docstring(part: &str) -> String {
    let quoted = text(part);
    quoted[1..quoted.len() - 1].to_owned()
}
