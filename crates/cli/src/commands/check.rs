//! `check`: everything that can be known without asking anybody.

use millstream_core::SinkPlan;
use millstream_engine::PlannedFlow;

use crate::args::FileArgs;
use crate::load::load;
use crate::output::{say, sayln};
use crate::{Outcome, output};

pub(super) fn run(args: &FileArgs) -> Outcome {
    let loaded = load(args)?;
    let plan = &loaded.plan;
    say!("{}", plan.warnings.render(output::has_colours()));
    for flow in &plan.flows {
        let to = match &flow.target.plan {
            SinkPlan::Topic { topic, .. } => format!("topic {topic}"),
            SinkPlan::Table(table) => format!("table {table}"),
            SinkPlan::Lines(address) => address.clone(),
        };
        let from = match &flow.origin.plan.topic {
            Some(topic) => format!("topic {topic}"),
            None => flow.origin.plan.address.clone(),
        };
        let columns = match &flow.query {
            Some(query) => format!("{} columns", query.schema().fields().len()),
            None => "columns that only Spark knows".to_owned(),
        };
        let may_be_null = match &flow.target.plan {
            SinkPlan::Topic { key, .. } => key.as_slice(),
            SinkPlan::Table(_) | SinkPlan::Lines(_) => &[],
        };
        let may_be_null: Vec<_> =
            may_be_null.iter().filter(|name| is_nullable(flow, name)).cloned().collect();
        let what = plan.pipeline.secrets.mask(&format!("{from} → {columns} → {to}"));
        sayln!("{}: {what}", flow.name);
        if !may_be_null.is_empty() {
            sayln!("  its key {} may be null: such records become dead letters", may_be_null.join(", "));
        }
    }
    let flows = plan.flows.len();
    let tests = plan.pipeline.tests.len();
    sayln!("{} is fine: {flows} flow(s), {tests} test(s)", args.file.display());
    Ok(())
}

fn is_nullable(flow: &PlannedFlow, column: &str) -> bool {
    flow.query
        .as_ref()
        .is_some_and(|query| query.schema().field_with_name(column).is_ok_and(|field| field.is_nullable()))
}
