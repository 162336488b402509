//! The pipelines that one process shows.

use std::sync::Arc;

use millstream_core::{Error, Result};
use millstream_engine::{PipelineView, Supervisor};

use crate::desk::{Desk, LetterFilter, Replayed};
use crate::page::Rendered;

/// Everything that is shown.
#[derive(Clone, Default)]
pub struct House {
    /// Pipelines at work for good.
    pub rooms: Vec<Room>,
    /// Files that are no pipelines.
    pub broken: Vec<Broken>,
    /// A single flow, where this process is a worker: it has metrics and no page.
    pub worker: Option<Arc<dyn Worker>>,
}

/// One pipeline at work.
#[derive(Clone)]
pub struct Room {
    /// What it does.
    pub supervisor: Arc<Supervisor>,
    /// Who answers what is asked of its data.
    pub desk: Arc<dyn Desk>,
    pub(crate) rendered: Arc<Rendered>,
}

impl Room {
    /// A pipeline that `supervisor` has at work, and whose data `desk` knows.
    pub fn new(supervisor: Arc<Supervisor>, desk: Arc<dyn Desk>) -> Self {
        Self { supervisor, desk, rendered: Arc::default() }
    }

    /// Sends dead letters through their flows again.
    pub(crate) async fn replay(&self, filter: LetterFilter) -> Result<Replayed> {
        let desk = self.desk.clone();
        to_its_end(async move { desk.replay(&filter).await }).await
    }

    /// Gives dead letters up.
    pub(crate) async fn purge(&self, filter: LetterFilter) -> Result<u64> {
        let desk = self.desk.clone();
        to_its_end(async move { desk.purge(&filter).await }).await
    }
}

/// Does `work`, also where whoever has asked for it does not wait for it to end.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|ended| match ended.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(ended) => Err(Error::passing(format!("the work was not done: {ended}"))),
    })
}

/// A file that is no pipeline.
#[derive(Debug, Clone)]
pub struct Broken {
    /// Which.
    pub path: String,
    /// What is wrong with it, every mistake with its place.
    pub report: String,
}

/// A worker that can be looked at.
pub trait Worker: Send + Sync {
    /// What it does now.
    fn view(&self) -> PipelineView;
}

impl House {
    /// The pipeline of that name.
    pub fn room(&self, name: &str) -> Option<&Room> {
        self.rooms.iter().find(|room| room.supervisor.plan().pipeline.name == name)
    }

    /// Everything at work, as it is now.
    pub(crate) fn views(&self) -> Vec<PipelineView> {
        let worker = self.worker.iter().map(|worker| worker.view());
        self.rooms.iter().map(|room| room.supervisor.view()).chain(worker).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_is_done_also_where_nobody_waits_for_it() {
        let (begin, begun) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let asked = tokio::spawn(to_its_end(async move {
            begun.await.expect("begins");
            done.send(()).expect("somebody looks");
            Ok(())
        }));
        tokio::task::yield_now().await;
        asked.abort();
        assert!(asked.await.expect_err("nobody waits").is_cancelled());
        begin.send(()).expect("it is still at work");
        is_done.await.expect("it is done");
    }
}
