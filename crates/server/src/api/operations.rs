//! The operations of the API, one after the other: what each is called, takes and answers, and what it does.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use futures::Stream;
use millstream_core::Fault;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::answer::{Asked, Body, InPath, Problem};
use super::model::{
    BrokenModel, PipelineModel, PipelinesModel, PurgedModel, RunModel, RunWithLogModel, RunsModel,
    SamplesModel,
};
use super::openapi::{Describe, of, openapi};
use crate::desk::{FoundLetter, FoundRecord, LetterFilter, Replayed, Rows};
use crate::house::Room;
use crate::serve::App;

/// How often an event stream says how a pipeline stands.
const EVENT_EVERY: Duration = Duration::from_secs(1);
/// How many runs, records, rows or letters one answer has at most, and where nothing is said.
const ITEMS_MAX: u32 = 1_000;
const ITEMS: u32 = 50;

/// One thing that can be asked.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: Option<Describe>,
    pub(super) body: Option<Describe>,
    pub(super) status: StatusCode,
    /// The type of the answer, and what it looks like.
    pub(super) answer: Option<(&'static str, Describe)>,
    handler: MethodRouter<App>,
}

impl Operation {
    fn get(path: &'static str, id: &'static str, summary: &'static str, handler: MethodRouter<App>) -> Self {
        Self {
            method: Method::GET,
            path,
            id,
            summary,
            query: None,
            body: None,
            status: StatusCode::OK,
            answer: None,
            handler,
        }
    }

    fn post(path: &'static str, id: &'static str, summary: &'static str, handler: MethodRouter<App>) -> Self {
        Self { method: Method::POST, ..Self::get(path, id, summary, handler) }
    }

    fn asks<T: JsonSchema>(self) -> Self {
        Self { query: Some(of::<T>), ..self }
    }

    fn takes<T: JsonSchema>(self) -> Self {
        Self { body: Some(of::<T>), ..self }
    }

    fn answers<T: JsonSchema>(self) -> Self {
        Self { answer: Some(("application/json", of::<T>)), ..self }
    }

    fn with(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

/// All of them.
pub(super) fn operations() -> Vec<Operation> {
    const PIPELINE: &str = "/api/v1/pipelines/{pipeline}";
    vec![
        Operation::get("/api/openapi.json", "openapi", "This document", get(document)).answers::<Value>(),
        Operation::get(
            "/api/v1/pipelines",
            "pipelines",
            "All pipelines, and files that are none",
            get(pipelines),
        )
        .answers::<PipelinesModel>(),
        Operation::get(PIPELINE, "pipeline", "How a pipeline stands", get(pipeline))
            .answers::<PipelineModel>(),
        Operation {
            answer: Some(("text/event-stream", of::<String>)),
            ..Operation::get(
                "/api/v1/pipelines/{pipeline}/events",
                "events",
                "How a pipeline stands, once a second: server-sent events, each with it as JSON",
                get(events),
            )
        },
        Operation::post(
            "/api/v1/pipelines/{pipeline}/pause",
            "pause",
            "Lets the schedule rest; flows that read topics work on",
            post(pause),
        )
        .answers::<PipelineModel>(),
        Operation::post(
            "/api/v1/pipelines/{pipeline}/unpause",
            "unpause",
            "Lets the schedule go on; what was due in between is made up for only with `catchup`",
            post(unpause),
        )
        .answers::<PipelineModel>(),
        Operation::get("/api/v1/pipelines/{pipeline}/runs", "runs", "Its runs, the newest first", get(runs))
            .asks::<RunsQuery>()
            .answers::<RunsModel>(),
        Operation::post("/api/v1/pipelines/{pipeline}/runs", "trigger", "Asks for a run", post(trigger))
            .with(StatusCode::ACCEPTED)
            .answers::<RunModel>(),
        Operation::get("/api/v1/pipelines/{pipeline}/runs/{run}", "run", "A run with its log", get(run))
            .answers::<RunWithLogModel>(),
        Operation::get(
            "/api/v1/pipelines/{pipeline}/flows/{flow}/samples",
            "samples",
            "What a flow did in the last quarter of an hour, second by second",
            get(samples),
        )
        .answers::<SamplesModel>(),
        Operation::get(
            "/api/v1/pipelines/{pipeline}/topics/{topic}/records",
            "records",
            "The newest messages of one of its topics, the newest first",
            get(records),
        )
        .asks::<CountQuery>()
        .answers::<Vec<FoundRecord>>(),
        Operation::get(
            "/api/v1/pipelines/{pipeline}/tables/{table}/rows",
            "rows",
            "Rows of one of its tables, or those whose column has a value",
            get(rows),
        )
        .asks::<RowsQuery>()
        .answers::<Rows>(),
        Operation::get(
            "/api/v1/pipelines/{pipeline}/dead-letters",
            "dead_letters",
            "Records that could not be processed",
            get(dead_letters),
        )
        .asks::<LettersQuery>()
        .answers::<Vec<FoundLetter>>(),
        Operation::post(
            "/api/v1/pipelines/{pipeline}/dead-letters/replay",
            "replay",
            "Sends dead letters through their flow again, with their original timestamps",
            post(replay),
        )
        .takes::<LetterFilter>()
        .answers::<Replayed>(),
        Operation::post(
            "/api/v1/pipelines/{pipeline}/dead-letters/purge",
            "purge",
            "Lays dead letters aside: they stay in their topic and are listed no more",
            post(purge),
        )
        .takes::<LetterFilter>()
        .answers::<PurgedModel>(),
    ]
}

pub(crate) fn router() -> Router<App> {
    let all = operations().into_iter();
    all.fold(Router::new(), |router, operation| router.route(operation.path, operation.handler))
        .route("/api/{*path}", axum::routing::any(unknown))
}

async fn unknown() -> Problem {
    Problem::not_found("the API has no such path").detail("GET /api/openapi.json says which there are")
}

type Answer<T> = Result<Json<T>, Problem>;

fn room<'a>(app: &'a App, name: &str) -> Result<&'a Room, Problem> {
    app.house.room(name).ok_or_else(|| Problem::not_found(format!("there is no pipeline `{name}`")))
}

async fn document() -> Json<Value> {
    Json(openapi())
}

async fn pipelines(State(app): State<App>) -> Json<PipelinesModel> {
    let pipelines = app.house.views().into_iter().map(PipelineModel::from).collect();
    Json(PipelinesModel { pipelines, broken: app.house.broken.iter().map(BrokenModel::from).collect() })
}

async fn pipeline(State(app): State<App>, InPath(name): InPath<String>) -> Answer<PipelineModel> {
    Ok(Json(room(&app, &name)?.supervisor.view().into()))
}

async fn events(
    State(app): State<App>,
    InPath(name): InPath<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let supervisor = room(&app, &name)?.supervisor.clone();
    let every = tokio::time::interval(EVENT_EVERY);
    let stop = app.stop.clone();
    let events =
        futures::stream::unfold((supervisor, every, stop), |(supervisor, mut every, stop)| async move {
            tokio::select! {
                () = stop.cancelled() => return None,
                _ = every.tick() => {}
            }
            let model = PipelineModel::from(supervisor.view());
            let event = Event::default().json_data(&model).expect("a pipeline is JSON");
            Some((Ok(event), (supervisor, every, stop)))
        });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

async fn pause(State(app): State<App>, InPath(name): InPath<String>) -> Answer<PipelineModel> {
    set_paused(&app, &name, true)
}

async fn unpause(State(app): State<App>, InPath(name): InPath<String>) -> Answer<PipelineModel> {
    set_paused(&app, &name, false)
}

fn set_paused(app: &App, name: &str, paused: bool) -> Answer<PipelineModel> {
    let supervisor = &room(app, name)?.supervisor;
    supervisor.set_paused(paused)?;
    Ok(Json(supervisor.view().into()))
}

/// Which runs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RunsQuery {
    /// How many at most; by default 50.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
    /// Only those before this run.
    before: Option<String>,
}

/// How many.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CountQuery {
    /// How many at most; by default 50.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
}

/// Which rows.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RowsQuery {
    /// How many at most; by default 50.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
    /// Only where this column …
    column: Option<String>,
    /// … is equal to this.
    value: Option<String>,
}

/// Which dead letters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LettersQuery {
    /// How many at most; by default 50.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u32>,
    /// Only of this flow.
    flow: Option<String>,
    /// Only with this reason.
    reason: Option<String>,
    /// Only those whose detail has this text in it.
    contains: Option<String>,
}

fn count(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(ITEMS) {
        count if (1..=ITEMS_MAX).contains(&count) => Ok(count),
        count => {
            Err(Problem::new(StatusCode::BAD_REQUEST, format!("limit is from 1 to {ITEMS_MAX}, not {count}")))
        }
    }
}

async fn runs(
    State(app): State<App>,
    InPath(name): InPath<String>,
    Asked(asked): Asked<RunsQuery>,
) -> Answer<RunsModel> {
    let supervisor = &room(&app, &name)?.supervisor;
    let runs = supervisor.history().runs(&name, count(asked.limit)?, asked.before.as_deref())?;
    let runs = runs.into_iter().map(|run| supervisor.with_counts(run).into()).collect();
    Ok(Json(RunsModel { runs }))
}

async fn trigger(
    State(app): State<App>,
    InPath(name): InPath<String>,
) -> Result<(StatusCode, Json<RunModel>), Problem> {
    let run = room(&app, &name)?.supervisor.trigger().map_err(|error| match error.fault {
        // Nothing is wrong with how it was asked, but with when, or whom.
        Fault::User => {
            let problem = Problem::new(StatusCode::CONFLICT, error.to_string());
            error.help.into_iter().fold(problem, Problem::detail)
        }
        _ => error.into(),
    })?;
    Ok((StatusCode::ACCEPTED, Json(run.into())))
}

async fn run(
    State(app): State<App>,
    InPath((name, id)): InPath<(String, String)>,
) -> Answer<RunWithLogModel> {
    let supervisor = &room(&app, &name)?.supervisor;
    let found = supervisor.history().run(&name, &id)?;
    let run = found.ok_or_else(|| Problem::not_found(format!("there is no run `{id}`")))?;
    let log = supervisor.history().lines(&name, &id)?.into_iter().map(Into::into).collect();
    Ok(Json(RunWithLogModel { run: supervisor.with_counts(run).into(), log }))
}

async fn samples(
    State(app): State<App>,
    InPath((name, flow)): InPath<(String, String)>,
) -> Answer<SamplesModel> {
    let supervisor = &room(&app, &name)?.supervisor;
    if supervisor.plan().flow(&flow).is_none() {
        return Err(Problem::not_found(format!("there is no flow `{flow}`")));
    }
    Ok(Json(SamplesModel { samples: supervisor.samples(&flow) }))
}

async fn records(
    State(app): State<App>,
    InPath((name, topic)): InPath<(String, String)>,
    Asked(asked): Asked<CountQuery>,
) -> Answer<Vec<FoundRecord>> {
    let room = room(&app, &name)?;
    if !room.supervisor.view().topics().contains(&topic.as_str()) {
        return Err(Problem::not_found(format!("no flow reads or writes a topic `{topic}`")));
    }
    Ok(Json(room.desk.records(&topic, count(asked.limit)? as usize).await?))
}

async fn rows(
    State(app): State<App>,
    InPath((name, table)): InPath<(String, String)>,
    Asked(asked): Asked<RowsQuery>,
) -> Answer<Rows> {
    let room = room(&app, &name)?;
    if room.supervisor.plan().table(Some(&table)).is_none() {
        return Err(Problem::not_found(format!("no flow writes a table `{table}`")));
    }
    let key: Vec<(String, String)> = asked.column.into_iter().zip(asked.value).collect();
    let rows = room.desk.rows(&table, &key, count(asked.limit)? as usize).await?;
    Ok(Json(rows.unwrap_or_default()))
}

async fn dead_letters(
    State(app): State<App>,
    InPath(name): InPath<String>,
    Asked(asked): Asked<LettersQuery>,
) -> Answer<Vec<FoundLetter>> {
    let count_max = count(asked.limit)? as usize;
    let filter =
        LetterFilter { places: Vec::new(), flow: asked.flow, reason: asked.reason, contains: asked.contains };
    Ok(Json(room(&app, &name)?.desk.dead_letters(&filter, count_max).await?.letters))
}

async fn replay(
    State(app): State<App>,
    InPath(name): InPath<String>,
    Body(filter): Body<LetterFilter>,
) -> Answer<Replayed> {
    Ok(Json(room(&app, &name)?.replay(filter).await?))
}

async fn purge(
    State(app): State<App>,
    InPath(name): InPath<String>,
    Body(filter): Body<LetterFilter>,
) -> Answer<PurgedModel> {
    Ok(Json(PurgedModel { purged: room(&app, &name)?.purge(filter).await? }))
}
