//! `preview`: a few records through a flow's query, input and output side by side.

use millstream_connectors::kafka::read_all;
use millstream_core::RunValues;
use tokio::task::block_in_place;

use super::attached::Attached;
use crate::args::FileArgs;
use crate::load::{Loaded, load};
use crate::output::sayln;
use crate::{Outcome, output};

pub(super) async fn run(args: &FileArgs, flow: Option<&str>, count: usize, values: &RunValues) -> Outcome {
    let mut loaded = load(args)?;
    let name = match flow {
        Some(name) => name.to_owned(),
        None => loaded.plan.flows[0].name.clone(),
    };
    let planned = loaded.plan.find_flow(&name)?.clone();
    let values = match planned.origin.plan.topic.clone() {
        Some(topic) => from_topic(&mut loaded, &topic, count).await?,
        None => {
            let scope = loaded.plan.pipeline.scope(&name, values, None);
            let opened = planned.origin.kind.open(&planned.origin.component.settings, &scope).await;
            let mut source = loaded.hide(opened)?;
            let page = loaded.hide(source.next().await)?.unwrap_or_default();
            page.iter().take(count).filter_map(|record| record.value.map(<[u8]>::to_vec)).collect()
        }
    };
    let preview = loaded.hide(millstream_engine::preview(&planned, &values))?;
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        out.push_str(&format!("in   {}\n", String::from_utf8_lossy(value)));
        let row = preview.rows.iter().find(|(place, _)| *place == at);
        let dead = preview.dead.iter().find(|(place, ..)| *place == at);
        out.push_str(&match (row, dead) {
            (Some((_, row)), _) => format!("out  {}\n", serde_json::to_string(row).expect("a row is JSON")),
            (None, Some((_, reason, detail))) => format!("dead {reason}: {detail}\n"),
            (None, None) => "     filtered\n".to_owned(),
        });
    }
    output::results(&out)?;
    sayln!("{} record(s) of {name}, nothing was written", values.len());
    Ok(())
}

async fn from_topic(loaded: &mut Loaded, topic: &str, count: usize) -> Outcome<Vec<Vec<u8>>> {
    let attached = Attached::to(loaded).await?;
    let mut values = Vec::new();
    let read = block_in_place(|| {
        read_all(&attached.connection, topic, |records| {
            values.extend(records.iter().filter_map(|record| record.value.map(<[u8]>::to_vec)));
            Ok(values.len() < count)
        })
    });
    attached.detach().await?;
    loaded.hide(read)?;
    values.truncate(count);
    Ok(values)
}
