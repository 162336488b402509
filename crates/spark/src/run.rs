//! A flow at work on Spark: two queries over one plan, one that writes rows and one that writes dead
//! letters, started, counted and stopped as one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millstream_core::{
    Counts, Error, RemoteFlow, RemoteRun, RemoteUntil, Result, TableConnection, now_ms, settings,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use spark_connect_proto as proto;
use tokio::time::Instant;
use uuid::Uuid;

use crate::checkpoints::{Checkpoints, DEAD_LETTERS, ROWS};
use crate::connection::Connection;
use crate::query::{Progress, Query, Start};
use crate::session::{Session, counted, sql, stream};
use crate::statements::Carried;
use crate::text::digest;
use crate::{Reached, cassandra, errors, statements};

/// How often Spark is asked how far it is. Each question costs it ten milliseconds of CPU.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// The same of queries that drain the topic: that they have ended it says by itself.
const ASK_EVERY_DRAINING: Duration = Duration::from_secs(5);
/// Messages of one batch, where the file does not say: some seconds of work.
const BATCH_MESSAGES_MAX: u64 = 200_000;

/// How long the connector keeps a session to Cassandra that nobody uses.
const SESSION_KEPT_MS: u64 = 600_000;

/// By the name of a flow, which run of its rows' query was counted last, and up to which batch. It outlives a
/// connection: queries that are found again are counted on.
pub(crate) type Counted = Arc<Mutex<HashMap<String, (String, i64)>>>;

/// By the name of a flow, which start made the queries that this process had at work last.
pub(crate) type Had = Arc<Mutex<HashMap<String, String>>>;

/// A flow's two queries.
pub(crate) struct SparkRun {
    session: Session,
    rows: Query,
    dead: Query,
    /// Which start made the queries.
    mark: Mark,
    counted: Counted,
    topic: String,
    /// Messages behind the newest batch, by partition.
    lag: BTreeMap<i32, u64>,
    /// When Spark is asked next.
    next: Instant,
}

impl SparkRun {
    /// Starts the queries of a flow, or finds those that are at work.
    /// `again` counts what was started before.
    pub(crate) async fn start(
        flow: &RemoteFlow,
        reached: &Reached,
        until: RemoteUntil,
        again: u32,
        (counted, had): (Counted, Had),
    ) -> Result<Self> {
        let connection = Connection::of(flow)?;
        let name = format!("{}.{}", flow.pipeline, flow.flow);
        let session = Session::open(&connection, &name).await?;
        let active = Query::active(&session).await?;
        let find = |name: &str| active.iter().find(|query| query.name() == name).cloned();
        let names = [name.clone(), format!("{name} dead letters")];
        let found = names.each_ref().map(|name| find(name));
        let mut mark = Mark::new(flow, reached, until);
        let there = Mark::of(&session).await?;
        let active = found.iter().flatten().count();
        let before = had.lock().get(&name).cloned();
        let goes_on = there.as_ref().map_or(Ok(false), |there| mark.goes_on_with(there, active, before))?;
        let queries = match (found, there) {
            ([Some(rows), Some(dead)], Some(there)) if goes_on => {
                mark = there;
                [rows, dead]
            }
            (found, there) => {
                // One alone is left of a start that was cut off, one that streams never drains, and what
                // the file said before is not what it says now.
                let before_this = there.filter(|_| active == 0);
                mark.after = before_this.as_ref().map(|before| before.id.clone());
                session.set(MARK, &mark.to_string()).await?;
                let made = async {
                    for query in found.iter().flatten() {
                        query.stop(&session).await?;
                    }
                    let folder = folder(&connection, flow, reached)?;
                    let checkpoints = Checkpoints::find(&session, &folder, flow).await?;
                    // Another start may have begun in the same moment, or have taken this one for cut off.
                    mark.check_is_there(&session).await?;
                    let drains = until == RemoteUntil::Drained;
                    let plan = Planned { flow, connection: &connection, reached, checkpoints, drains, again };
                    plan.start(&session, &names).await
                };
                let made = made.await;
                if let Err(error) = mark.check_is_there(&session).await {
                    // What the other one makes has the same names.
                    for query in made.iter().flatten() {
                        query.stop(&session).await.ok();
                    }
                    return Err(made.err().unwrap_or(error));
                }
                mark.phase = Phase::AtWork;
                let left = match (&made, before_this) {
                    (Ok(_), _) => mark.to_string(),
                    // Whoever is to see that nobody has ended its queries still does.
                    (Err(_), before) => before.map_or_else(String::new, |before| before.to_string()),
                };
                session.set(MARK, &left).await.and(made)?
            }
        };
        had.lock().insert(name, mark.id.clone());
        let [rows, dead] = queries;
        let (topic, lag, next) = (flow.topic.clone(), BTreeMap::new(), Instant::now() + mark.pause());
        Ok(Self { session, rows, dead, mark, counted, topic, lag, next })
    }

    /// Whether no other start has taken the flow over since.
    async fn is_ours(&self) -> Result<bool> {
        Ok(Mark::of(&self.session).await?.as_ref() == Some(&self.mark))
    }

    /// Whether no other start has ended the queries.
    async fn have_ended_by_themselves(&self) -> Result<bool> {
        Ok(Mark::of(&self.session).await?.is_some_and(|there| there.has_left_alone(&self.mark)))
    }

    /// What became of records in batches that are not counted yet.
    async fn count(&mut self) -> Result<Counts> {
        let mut counts = Counts::default();
        let progress = self.rows.progress(&self.session).await?;
        let mut counted = self.counted.lock();
        let last = counted.get(self.rows.name()).filter(|(run, _)| run == self.rows.run());
        let mut last = last.map(|(_, batch)| *batch);
        for progress in progress {
            self.lag = progress.lag(&self.topic);
            if last.is_some_and(|last| progress.batch_id <= last) {
                continue;
            }
            counts += counts_of(&progress);
            // A batch that reads nothing is reported with the number of the next one.
            if progress.num_input_rows() > 0 {
                last = Some(progress.batch_id);
            }
        }
        if let Some(last) = last {
            counted.insert(self.rows.name().to_owned(), (self.rows.run().to_owned(), last));
        }
        Ok(counts)
    }

    /// Whether both queries have ended; an error where one could not go on.
    async fn have_ended(&self) -> Result<bool> {
        let active = Query::active(&self.session).await?;
        let mut ended = true;
        for query in [&self.rows, &self.dead] {
            if active.contains(query) {
                ended = false;
            } else if let Some(message) = query.exception(&self.session).await? {
                return Err(errors::of_query(&message));
            }
        }
        Ok(ended)
    }

    /// Waits until it is time to ask again, or a drain has ended.
    async fn wait(&self) {
        let has_ended = self.mark.drains && self.end_before(self.next).await.is_ok_and(|ended| ended);
        if !has_ended {
            tokio::time::sleep_until(self.next).await;
        }
    }

    /// Whether both queries end before that moment.
    async fn end_before(&self, until: Instant) -> Result<bool> {
        for query in [&self.rows, &self.dead] {
            let left = until.saturating_duration_since(Instant::now());
            if !query.ends_within(&self.session, left).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The setting of a session that says which start made its queries.
const MARK: &str = "millstream.queries";
/// One that was begun so long ago, and is under way still, was cut off.
const START_MS_MAX: i64 = 60_000;

/// A start of a flow's queries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    phase: Phase,
    /// Whether the queries end when they have read what was there.
    drains: bool,
    /// What they are made of, in short: where it differs, they are others.
    digest: String,
    /// Which start.
    id: String,
    /// Which start it has followed whose queries had all ended by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// In milliseconds since 1970.
    since: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    Starting,
    AtWork,
}

impl Mark {
    fn new(flow: &RemoteFlow, reached: &Reached, until: RemoteUntil) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let digest = digest(&format!("{version} {flow:?} {:?} {:?}", reached.kafka, reached.topic_id));
        let drains = until == RemoteUntil::Drained;
        let id = Uuid::new_v4().to_string();
        Self { phase: Phase::Starting, drains, digest, id, after: None, since: now_ms() }
    }

    /// Whether this start goes on with the queries of the one that is `there`, of which so many are `active`, instead of
    /// making others; an error where neither may be done now. `before` is the one whose queries we had last.
    fn goes_on_with(&self, there: &Self, active: usize, before: Option<String>) -> Result<bool> {
        if there.is_starting() {
            return Err(Error::passing("another start of the flow is under way on Spark")
                .help("this one goes on with what that one makes"));
        }
        if active == 2 && !self.drains && there.is_same_as(self) {
            return Ok(true);
        }
        if active > 0 && !self.drains && there.drains {
            return Err(Error::passing("a run drains the flow's topic on Spark")
                .help("this one goes on when that has ended"));
        }
        // Two that end each other's queries would go on with that for good.
        if active > 0
            && !self.drains
            && there.digest != self.digest
            && before.is_some_and(|before| before != there.id)
        {
            return Err(Error::passing(
                "somebody else has the flow's queries at work on Spark, with another file or other settings",
            )
            .help("stop one of both, or give one pipeline another name"));
        }
        Ok(false)
    }

    /// Whether the queries of `other` were not ended for this one.
    fn has_left_alone(&self, other: &Self) -> bool {
        self.id == other.id || self.after.as_ref() == Some(&other.id)
    }

    /// Whether it is still the one that was left in the session.
    async fn check_is_there(&self, session: &Session) -> Result<()> {
        match Self::of(session).await? {
            Some(there) if there.id == self.id => Ok(()),
            _ => Err(Error::passing("another start of the flow has come between on Spark")
                .help("this one goes on with what that one makes")),
        }
    }

    /// The one that was left in a session.
    async fn of(session: &Session) -> Result<Option<Self>> {
        Ok(session.setting(MARK).await?.and_then(|mark| serde_json::from_str(&mark).ok()))
    }

    fn is_starting(&self) -> bool {
        self.phase == Phase::Starting && now_ms().saturating_sub(self.since) < START_MS_MAX
    }

    /// How long its queries are left alone between two questions.
    fn pause(&self) -> Duration {
        if self.drains { ASK_EVERY_DRAINING } else { ASK_EVERY }
    }

    /// Whether its queries are at work and do what those of another start would.
    fn is_same_as(&self, other: &Self) -> bool {
        self.phase == Phase::AtWork && (self.drains, &self.digest) == (other.drains, &other.digest)
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// The names of what is counted.
const READ: &str = "millstream_read";
const CHECKED: &str = "millstream_checked";

/// What the query has no row for is filtered: unread messages are among its rows, or counted before it.
fn counts_of(progress: &Progress) -> Counts {
    let read = progress.num_input_rows();
    let rows = progress.metric(CHECKED, "rows") + progress.metric(READ, "unread");
    let passed = progress.metric(CHECKED, "passed");
    Counts {
        read,
        passed,
        filtered: read.saturating_sub(rows),
        dead: rows.saturating_sub(passed),
        written: passed,
    }
}

#[async_trait]
impl RemoteRun for SparkRun {
    async fn next(&mut self) -> Result<Option<Counts>> {
        self.wait().await;
        // Asked before the counts are: what a query does last is counted, too, and also where it fails.
        let ended = self.have_ended().await;
        let counts = self.count().await?;
        // What has ended is not waited for again.
        let pause = if matches!(ended, Ok(false)) { self.mark.pause() } else { Duration::ZERO };
        self.next = Instant::now() + pause;
        if counts != Counts::default() {
            return Ok(Some(counts));
        }
        if !ended? {
            return Ok(Some(counts));
        }
        match (self.mark.drains, self.have_ended_by_themselves().await?) {
            (true, true) => Ok(None),
            (true, false) => Err(Error::lasting("another start of the flow has taken it over on Spark")
                .help("that one goes on where this one was; one alone is enough")),
            (false, _) => Err(Error::passing("somebody has ended the flow's queries on Spark")
                .help("they are started again, where nobody else has the flow")),
        }
    }

    fn lag(&self) -> BTreeMap<i32, u64> {
        self.lag.clone()
    }

    async fn stop(&mut self) -> Result<Counts> {
        if self.is_ours().await? {
            self.session.set(MARK, "").await?;
        }
        let rows = self.rows.stop(&self.session).await;
        self.dead.stop(&self.session).await.and(rows)?;
        self.count().await
    }
}

/// What is started.
struct Planned<'a> {
    flow: &'a RemoteFlow,
    connection: &'a Connection,
    reached: &'a Reached,
    checkpoints: Checkpoints,
    drains: bool,
    again: u32,
}

/// The folder of everything that says how far the flow is in its topic.
fn folder(connection: &Connection, flow: &RemoteFlow, reached: &Reached) -> Result<String> {
    let id = reached.topic_id.as_ref().map_or_else(String::new, |id| format!("@{id}"));
    Ok(format!("{}/{}.{}/{}{id}", connection.checkpoints()?, flow.pipeline, flow.flow, flow.topic))
}

impl Planned<'_> {
    /// The views from the topic to the rows of the flow's query, on which is counted what becomes of messages;
    /// gives the columns of the query. A running query keeps what it was started with, so that the next one
    /// may have views of the same names.
    async fn make_views_of_rows(&self, session: &Session) -> Result<Vec<String>> {
        let carried = Carried::Time;
        session.make_view(statements::MESSAGES, stream("kafka", self.source(carried))).await?;
        let read = sql(statements::read(self.flow, carried));
        // Each count costs a copy of every row, so that this one is made only where the other does not see them.
        let read = match self.flow.sql_with_unread {
            Some(_) => read,
            None => counted(READ, read, &statements::read_metrics()),
        };
        session.make_view(statements::READ, read).await?;
        session.make_view(statements::INPUT, sql(statements::input(self.flow, carried))).await?;
        let columns = self.columns(session).await?;
        let checked = self.make_input_and_check(session, carried, &columns).await?;
        let checked = counted(CHECKED, checked, &statements::checked_metrics());
        session.make_view(statements::CHECKED, checked).await?;
        Ok(columns)
    }

    /// The views from the topic to what cannot be written, the topic read once where that is possible.
    async fn make_views_of_dead_letters(&self, session: &Session, columns: &[String]) -> Result<()> {
        let carried = Carried::Message;
        session.make_view(statements::MESSAGES, stream("kafka", self.source(carried))).await?;
        session.make_view(statements::READ, sql(statements::read(self.flow, carried))).await?;
        let checked = self.make_input_and_check(session, carried, columns).await?;
        session.make_view(statements::CHECKED, checked).await
    }

    /// The view that the flow's query reads, and the query's rows with what the table says of them; unread messages
    /// are among both where no query loses them.
    async fn make_input_and_check(
        &self,
        session: &Session,
        carried: Carried,
        columns: &[String],
    ) -> Result<proto::Relation> {
        let flow = self.flow;
        let (input, checked) = match &flow.sql_with_unread {
            Some(query) => (
                statements::input_with_unread(flow, carried),
                statements::checked_with_unread(flow, query, columns),
            ),
            None => (statements::input(flow, carried), statements::checked(flow, columns)),
        };
        session.make_view(statements::INPUT, sql(input)).await?;
        Ok(sql(checked))
    }

    /// Starts both queries, or none.
    async fn start(&self, session: &Session, [rows, dead]: &[String; 2]) -> Result<[Query; 2]> {
        let columns = self.make_views_of_rows(session).await?;
        let rows = Query::start(session, self.rows(rows, &columns)?).await?;
        match self.start_dead_letters(session, dead, &columns).await {
            Ok(dead) => Ok([rows, dead]),
            Err(error) => {
                rows.stop(session).await.ok();
                Err(error)
            }
        }
    }

    async fn start_dead_letters(&self, session: &Session, name: &str, columns: &[String]) -> Result<Query> {
        self.make_views_of_dead_letters(session, columns).await?;
        Query::start(session, self.dead_letters(name, columns)?).await
    }

    /// The columns of the flow's query, as Spark finds them, each of which the table must have.
    async fn columns(&self, session: &Session) -> Result<Vec<String>> {
        let columns = session.columns("checking the flow's query", sql(self.flow.sql.clone())).await?;
        let columns = statements::user_columns(columns);
        let table = &self.flow.table;
        if let Some(unknown) = columns.iter().find(|column| table.column(column).is_none()) {
            return Err(Error::user(format!("the query's column `{unknown}` is in no column of {table}")));
        }
        if let Some(key) = table.key().find(|key| !columns.contains(&key.name)) {
            return Err(Error::user(format!(
                "nothing fills `{}`, which is part of the primary key of {table}",
                key.name
            )));
        }
        Ok(columns)
    }

    /// The topic from where the flow's queries begin; one with a checkpoint goes on where it was.
    fn source(&self, carried: Carried) -> HashMap<String, String> {
        let batch = self.connection.batch_messages_max.unwrap_or(BATCH_MESSAGES_MAX);
        let mut options = self.kafka_options();
        let own = [
            ("subscribe", self.flow.topic.clone()),
            ("startingOffsets", self.checkpoints.starting_offsets(&self.flow.topic, self.reached.partitions)),
            ("includeHeaders", (carried == Carried::Message).to_string()),
            ("failOnDataLoss", "true".to_owned()),
            ("groupIdPrefix", format!("{}.{}", self.flow.pipeline, self.flow.flow)),
            ("maxOffsetsPerTrigger", batch.to_string()),
            ("kafka.isolation.level", "read_committed".to_owned()),
        ];
        options.extend(own.map(|(key, value)| (key.to_owned(), value)));
        options
    }

    fn kafka_options(&self) -> HashMap<String, String> {
        self.reached.kafka.iter().map(|(key, value)| (format!("kafka.{key}"), value.clone())).collect()
    }

    fn rows(&self, name: &str, columns: &[String]) -> Result<Start> {
        let mut options: HashMap<_, _> = cassandra::options(&tables_of(self.flow)?)?.into_iter().collect();
        options.extend(statements::table_options(self.flow)?);
        if self.again > 0 {
            // The connector keeps a session for each set of settings, and one that has seen Cassandra restart
            // may never learn of tables made since. Another number makes another session.
            let keep_alive_ms = SESSION_KEPT_MS + u64::from(self.again);
            options.insert("spark.cassandra.connection.keepAliveMS".to_owned(), keep_alive_ms.to_string());
        }
        options.insert("checkpointLocation".to_owned(), self.checkpoints.of(ROWS));
        Ok(Start {
            name: name.to_owned(),
            input: sql(statements::rows(self.flow, columns)),
            format: "org.apache.spark.sql.cassandra",
            options,
            drains: self.drains,
        })
    }

    fn dead_letters(&self, name: &str, columns: &[String]) -> Result<Start> {
        let mut options = self.kafka_options();
        options.insert("topic".to_owned(), self.flow.dead_letter_topic.clone());
        options.insert("kafka.acks".to_owned(), "all".to_owned());
        options.insert("kafka.max.request.size".to_owned(), DEAD_LETTER_BYTES_MAX.to_string());
        options.insert("checkpointLocation".to_owned(), self.checkpoints.of(DEAD_LETTERS));
        Ok(Start {
            name: name.to_owned(),
            input: sql(statements::dead_letters(self.flow, columns)),
            format: "kafka",
            options,
            drains: self.drains,
        })
    }
}

/// Where the flow's table lives.
pub(crate) fn tables_of(flow: &RemoteFlow) -> Result<TableConnection> {
    match flow.services.get("cassandra") {
        Some(set) if !set.is_null() => settings::read(set),
        _ => Ok(TableConnection::embedded()),
    }
}

/// The largest message that the topic of dead letters takes.
const DEAD_LETTER_BYTES_MAX: u32 = 20 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{Observed, ObservedField, ObservedSchema, SourceProgress};

    #[test]
    fn queries_are_found_again_by_who_would_make_the_same() {
        let since = now_ms();
        let ours = Mark {
            phase: Phase::Starting,
            drains: false,
            digest: "d".into(),
            id: Uuid::new_v4().to_string(),
            after: None,
            since,
        };
        let there = Mark { phase: Phase::AtWork, id: Uuid::new_v4().to_string(), since: 0, ..ours.clone() };
        assert!(there.is_same_as(&ours) && !there.is_starting());
        assert!(!Mark { drains: true, ..there.clone() }.is_same_as(&ours));
        assert!(!Mark { digest: "e".into(), ..there.clone() }.is_same_as(&ours));
        assert!(!Mark { phase: Phase::Starting, ..there }.is_same_as(&ours));
        assert!(ours.is_starting());
        assert!(!Mark { since: since - START_MS_MAX, ..ours.clone() }.is_starting(), "it was cut off");
    }

    #[test]
    fn two_starts_do_not_end_each_others_queries_for_good() {
        let mark = |id: &str, digest: &str, drains| Mark {
            phase: Phase::AtWork,
            drains,
            digest: digest.into(),
            id: id.into(),
            after: None,
            since: 0,
        };
        let (ours, there) = (mark("2", "new", false), mark("1", "old", false));
        let had = |id: &str| Some(id.to_owned());
        // What the file says now takes the place of what it said, and of what we had ourselves.
        assert_eq!(ours.goes_on_with(&there, 2, None).ok(), Some(false));
        assert_eq!(ours.goes_on_with(&there, 2, had("1")).ok(), Some(false));
        // Whoever was put aside waits as long as the other one is at work.
        assert!(ours.goes_on_with(&there, 1, had("0")).is_err_and(|error| error.is_passing()));
        assert_eq!(ours.goes_on_with(&there, 0, had("0")).ok(), Some(false));
        // A run takes over what streams.
        assert_eq!(mark("2", "new", true).goes_on_with(&there, 2, had("0")).ok(), Some(false));
        // The same is gone on with, whoever had it.
        assert_eq!(ours.goes_on_with(&mark("1", "new", false), 2, had("0")).ok(), Some(true));
        assert_eq!(ours.goes_on_with(&mark("1", "new", false), 1, None).ok(), Some(false));
        let starting = Mark { phase: Phase::Starting, since: now_ms(), ..there.clone() };
        assert!(ours.goes_on_with(&starting, 0, None).is_err());
        let drains = mark("1", "new", true);
        assert!(ours.goes_on_with(&drains, 1, None).is_err());
        assert_eq!(ours.goes_on_with(&drains, 0, None).ok(), Some(false));
        // A run whose queries had ended is not undone by who came after.
        assert!(Mark { after: had("1"), ..ours.clone() }.has_left_alone(&drains));
        assert!(!ours.has_left_alone(&drains));
    }

    #[test]
    fn the_counts_of_a_batch_add_up() {
        let metrics = |pairs: &[(&str, u64)]| Observed {
            values: pairs.iter().map(|(_, n)| *n).collect(),
            schema: ObservedSchema {
                fields: pairs.iter().map(|(name, _)| ObservedField { name: (*name).to_owned() }).collect(),
            },
        };
        let checked = (CHECKED.to_owned(), metrics(&[("rows", 14), ("passed", 9)]));
        let sources = vec![SourceProgress { num_input_rows: 20, ..SourceProgress::default() }];
        let counts = |observed_metrics| {
            counts_of(&Progress { sources: sources.clone(), observed_metrics, ..Progress::default() })
        };
        assert_eq!(
            counts(HashMap::from([checked.clone()])),
            Counts { read: 20, passed: 9, filtered: 6, dead: 5, written: 9 }
        );
        let unread = (READ.to_owned(), metrics(&[("unread", 2)]));
        assert_eq!(
            counts(HashMap::from([checked, unread])),
            Counts { read: 20, passed: 9, filtered: 4, dead: 7, written: 9 }
        );
    }
}
