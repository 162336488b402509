//! Sends dead letters through their flow again, dated as they were: what comes out of it is what
//! would have come out in the first place, and an old record never covers a newer one.

use std::sync::Arc;

use millstream_core::{Counts, Result, Source};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::flow::{Dating, FlowState, RunningFlow};
use crate::plan::{Plan, PlannedFlow};
use crate::registry::Registry;
use crate::retry::Patience;
use crate::run::{RunOptions, open_dead_letters, open_sink};

/// Runs `flow` over `letters` instead of over its own source. The records of a key are to come in the
/// order in which they were true.
pub async fn replay(
    plan: &Plan,
    registry: &Registry,
    flow: &str,
    letters: Box<dyn Source>,
    options: &RunOptions,
) -> Result<Counts> {
    // What dies again was judged when it died first.
    let planned = PlannedFlow { fail_above: None, ..plan.find_flow(flow)?.clone() };
    let scope = plan.pipeline.scope(flow, &options.values, None);
    let state = Arc::new(Mutex::new(FlowState::default()));
    let patience = Patience { at_most: options.patience, stop: options.stop.clone(), state: state.clone() };
    let failed = |error: millstream_core::Error| error.at(format!("flow {flow}"));
    let running = RunningFlow {
        sink: open_sink(&scope, &planned, &patience).await.map_err(failed)?,
        dead_letters: open_dead_letters(&scope, &planned, registry).await.map_err(failed)?,
        source: letters,
        planned,
        state,
        patience,
        secrets: plan.pipeline.secrets.clone(),
        clock: options.clock,
        dating: Dating::Original,
    };
    let (_, never) = oneshot::channel();
    running.run(options.stop.clone(), never).await.map_err(failed)
}
