//! `check`: everything that can be known without asking anybody.

use millstream_core::SinkPlan;

use crate::args::FileArgs;
use crate::load::load;
use crate::{Outcome, output};

pub(super) fn run(args: &FileArgs) -> Outcome {
    let loaded = load(args)?;
    let plan = &loaded.plan;
    eprint!("{}", plan.warnings.render(output::has_colours()));
    for flow in &plan.flows {
        let to = match &flow.target.plan {
            SinkPlan::Topic { topic, .. } => format!("topic {topic}"),
            SinkPlan::Table(table) => format!("table {table}"),
        };
        let from = match &flow.origin.plan.topic {
            Some(topic) => format!("topic {topic}"),
            None => flow.origin.plan.address.clone(),
        };
        let columns = flow.query.schema().fields().len();
        eprintln!("{}: {from} → {columns} columns → {to}", flow.name);
    }
    let flows = plan.flows.len();
    let tests = plan.pipeline.tests.len();
    eprintln!("{} is fine: {flows} flow(s), {tests} test(s)", args.file.display());
    Ok(())
}
