//! The pipelines that one process shows.

use std::sync::Arc;

use millstream_engine::{PipelineView, Supervisor};

use crate::desk::Desk;
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
