//! `airflow`: the pipeline as a DAG file, a task for each flow. It is written to be read: whoever
//! knows Airflow sees what runs when, and may change it. It has no addresses and no secrets; those
//! come from an Airflow connection, or from the environment of the tasks.

use std::collections::BTreeSet;

use millstream_core::{SinkPlan, cql};
use millstream_engine::{Plan, PlannedFlow};

use crate::args::FileArgs;
use crate::load::load;
use crate::{Outcome, output};

/// Names that a task's variable must not take: Python's keywords, and what the file itself uses.
const TAKEN: [&str; 44] = [
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
    "timedelta",
];

pub(super) fn run(args: &FileArgs, pipeline: Option<&str>, streaming: bool) -> Outcome {
    let loaded = load(args)?;
    let name = args.file.file_name().unwrap_or(args.file.as_os_str()).to_string_lossy();
    Ok(output::results(&dag(&loaded.plan, &name, pipeline, streaming))?)
}

/// The DAG file of a plan that was read from the file `name`, and that Airflow will find at `path`
/// from the DAG file's folder.
fn dag(plan: &Plan, name: &str, path: Option<&str>, streaming: bool) -> String {
    let mut command = format!("millstream airflow {name}");
    command.extend(path.map(|path| format!(" --pipeline {path}")));
    if streaming {
        command.push_str(" --streaming");
    }
    let (schedule, timetable) = schedule(plan);
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
    schedule={schedule},
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
        command = command.escape_default(),
        imports = imports(plan, timetable, streaming),
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

/// What stands behind `schedule=`, and the timetable that it needs.
fn schedule(plan: &Plan) -> (String, Option<&'static str>) {
    let Some(schedule) = &plan.pipeline.schedule else { return ("None".to_owned(), None) };
    let zone = plan.pipeline.timezone.as_deref();
    let timetable = match (plan.flows.iter().any(|flow| flow.origin.plan.needs_interval), zone) {
        // With a plain schedule, Airflow 3 gives its runs an interval of no length.
        (true, _) => "CronDataIntervalTimetable",
        (false, Some(_)) => "CronTriggerTimetable",
        (false, None) => return (text(schedule), None),
    };
    let zone = text(zone.unwrap_or("UTC"));
    (format!("{timetable}({}, timezone={zone})", text(schedule)), Some(timetable))
}

fn imports(plan: &Plan, timetable: Option<&str>, streaming: bool) -> String {
    let mut sdk = vec!["DAG"];
    if plan.flows.iter().any(|flow| table_of(flow).is_some()) {
        sdk.push("Asset");
    }
    sdk.extend(timetable);
    let mut lines = vec![
        "from datetime import timedelta".to_owned(),
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
