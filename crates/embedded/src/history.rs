//! The runs of pipelines, in a file of their own beside topics and tables: a scheduler's memory across
//! restarts. It keeps the newest runs of each pipeline and knows nothing of when the next one is due.

use std::path::Path;

use millstream_core::{Error, LogLine, Result, Run, RunHistory};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};

/// Runs that are kept of each pipeline.
const RUNS_MAX: u32 = 10_000;
/// Lines that are kept of each run, the last ones.
const LINES_MAX: u32 = 2_000;

/// What goes of the runs of ?1 from before ?2. The newest moment that had a run stays, however many were asked for since:
/// the schedule goes on from there.
const TOO_OLD: &str = "pipeline = ?1 AND created_ms <= ?2 AND is_finished AND (scheduled_ms IS NULL OR \
    scheduled_ms < (SELECT max(scheduled_ms) FROM runs WHERE pipeline = ?1))";

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS runs (
        pipeline TEXT NOT NULL, id TEXT NOT NULL, created_ms INTEGER NOT NULL,
        scheduled_ms INTEGER, is_finished INTEGER NOT NULL, run TEXT NOT NULL,
        PRIMARY KEY (pipeline, id)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS runs_by_time ON runs (pipeline, created_ms, id);
    CREATE TABLE IF NOT EXISTS lines (
        pipeline TEXT NOT NULL, id TEXT NOT NULL, at_ms INTEGER NOT NULL, attempt INTEGER NOT NULL,
        text TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS lines_by_run ON lines (pipeline, id);
    CREATE TABLE IF NOT EXISTS paused (pipeline TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS begun (pipeline TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) WITHOUT ROWID;";

/// The file `runs.sqlite`.
pub struct History {
    connection: Mutex<Connection>,
}

impl History {
    /// Opens it in the state directory, made if missing.
    pub fn open(state: &Path) -> Result<Self> {
        let path = state.join("runs.sqlite");
        let opened = Connection::open(&path).and_then(|connection| {
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        });
        let connection = opened.map_err(|e| {
            Error::lasting(format!("cannot open the history of runs {}: {e}", path.display()))
                .help("take the file away to begin a new history: topics and tables stay")
        })?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// It waits for the disk.
    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        let worked = tokio::task::block_in_place(|| work(&mut self.connection.lock()));
        worked.map_err(|e| {
            let error = Error::passing(format!("the history of runs cannot be used: {e}"));
            match e.sqlite_error_code() {
                Some(rusqlite::ErrorCode::DiskFull) => error.help("the disk is full; free some space"),
                _ => error,
            }
        })
    }
}

impl RunHistory for History {
    fn save(&self, pipeline: &str, run: &Run) -> Result<()> {
        let text = serde_json::to_string(run).expect("a run is JSON");
        let scheduled_ms = run.interval_ms.map(|(_, end_ms)| end_ms);
        self.with(|connection| {
            let transaction = connection.transaction()?;
            transaction.execute(
                "INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (pipeline, id) DO UPDATE SET \
                 is_finished = excluded.is_finished, run = excluded.run",
                params![pipeline, run.id, run.created_ms, scheduled_ms, run.state.has_ended(), text],
            )?;
            let oldest: Option<i64> = transaction
                .query_row(
                    "SELECT created_ms FROM runs WHERE pipeline = ?1 ORDER BY created_ms DESC LIMIT 1 OFFSET ?2",
                    params![pipeline, RUNS_MAX],
                    |row| row.get(0),
                )
                .optional()?;
            if let Some(oldest) = oldest {
                transaction.execute(
                    &format!(
                        "DELETE FROM lines WHERE pipeline = ?1 AND id IN (SELECT id FROM runs WHERE {TOO_OLD})"
                    ),
                    params![pipeline, oldest],
                )?;
                transaction.execute(&format!("DELETE FROM runs WHERE {TOO_OLD}"), params![pipeline, oldest])?;
            }
            transaction.commit()
        })
    }

    fn runs(&self, pipeline: &str, count_max: u32, before: Option<&str>) -> Result<Vec<Run>> {
        let texts: Vec<String> = self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT run FROM runs WHERE pipeline = ?1 AND (?2 IS NULL OR (created_ms, id) < \
                 (SELECT created_ms, id FROM runs WHERE pipeline = ?1 AND id = ?2)) \
                 ORDER BY created_ms DESC, id DESC LIMIT ?3",
            )?;
            statement.query_map(params![pipeline, before, count_max], |row| row.get(0))?.collect()
        })?;
        texts.iter().map(|text| read(text)).collect()
    }

    fn run(&self, pipeline: &str, id: &str) -> Result<Option<Run>> {
        let text: Option<String> = self.with(|connection| {
            let sql = "SELECT run FROM runs WHERE pipeline = ?1 AND id = ?2";
            connection.query_row(sql, params![pipeline, id], |row| row.get(0)).optional()
        })?;
        text.map(|text| read(&text)).transpose()
    }

    fn last_scheduled_ms(&self, pipeline: &str) -> Result<Option<i64>> {
        self.with(|connection| {
            let sql = "SELECT max(scheduled_ms) FROM runs WHERE pipeline = ?1";
            connection.query_row(sql, params![pipeline], |row| row.get(0))
        })
    }

    fn begun_ms(&self, pipeline: &str, now_ms: i64) -> Result<i64> {
        self.with(|connection| {
            connection.execute("INSERT OR IGNORE INTO begun VALUES (?1, ?2)", params![pipeline, now_ms])?;
            let sql = "SELECT at_ms FROM begun WHERE pipeline = ?1";
            connection.query_row(sql, params![pipeline], |row| row.get(0))
        })
    }

    fn unfinished(&self, pipeline: &str) -> Result<Vec<Run>> {
        let texts: Vec<String> = self.with(|connection| {
            let mut statement = connection.prepare(
                "SELECT run FROM runs WHERE pipeline = ?1 AND NOT is_finished ORDER BY created_ms, id",
            )?;
            statement.query_map(params![pipeline], |row| row.get(0))?.collect()
        })?;
        texts.iter().map(|text| read(text)).collect()
    }

    fn log(&self, pipeline: &str, id: &str, line: &LogLine) -> Result<()> {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            transaction.execute(
                "INSERT INTO lines VALUES (?1, ?2, ?3, ?4, ?5)",
                params![pipeline, id, line.at_ms, line.attempt, line.text],
            )?;
            // What goes wrong in a loop must not fill the disk.
            transaction.execute(
                "DELETE FROM lines WHERE rowid IN (SELECT rowid FROM lines WHERE pipeline = ?1 AND id = ?2 \
                 ORDER BY rowid DESC LIMIT -1 OFFSET ?3)",
                params![pipeline, id, LINES_MAX],
            )?;
            transaction.commit()
        })
    }

    fn lines(&self, pipeline: &str, id: &str) -> Result<Vec<LogLine>> {
        self.with(|connection| {
            let sql = "SELECT at_ms, attempt, text FROM lines WHERE pipeline = ?1 AND id = ?2 ORDER BY rowid";
            let mut statement = connection.prepare_cached(sql)?;
            let lines = statement.query_map(params![pipeline, id], |row| {
                Ok(LogLine { at_ms: row.get(0)?, attempt: row.get(1)?, text: row.get(2)? })
            })?;
            lines.collect()
        })
    }

    fn is_paused(&self, pipeline: &str) -> Result<bool> {
        self.with(|connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM paused WHERE pipeline = ?1)";
            connection.query_row(sql, params![pipeline], |row| row.get(0))
        })
    }

    fn set_paused(&self, pipeline: &str, paused: bool) -> Result<()> {
        let sql = match paused {
            true => "INSERT OR IGNORE INTO paused VALUES (?1)",
            false => "DELETE FROM paused WHERE pipeline = ?1",
        };
        self.with(|connection| connection.execute(sql, params![pipeline]).map(|_| ()))
    }
}

fn read(text: &str) -> Result<Run> {
    serde_json::from_str(text)
        .map_err(|e| Error::lasting(format!("a run in the history cannot be read: {e}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use millstream_core::{RunState, Trigger};

    use super::*;

    fn run(n: i64, state: RunState) -> Run {
        Run {
            id: format!("scheduled__{n:05}"),
            trigger: Trigger::Schedule,
            state,
            attempt: 1,
            interval_ms: Some((n - 1, n)),
            created_ms: n,
            started_ms: Some(n),
            ended_ms: None,
            retry_at_ms: None,
            flows: BTreeMap::new(),
            error: None,
        }
    }

    #[test]
    fn what_was_saved_is_there_after_a_restart_in_order_and_page_by_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = History::open(folder.path()).expect("opens");
        for n in 1..=7 {
            history.save("p", &run(n, RunState::Success)).expect("saves");
        }
        history.save("p", &run(8, RunState::Running)).expect("saves");
        history.save("other", &run(9, RunState::Success)).expect("saves");
        let line = LogLine { at_ms: 5, attempt: 1, text: "began".into() };
        history.log("p", "scheduled__00008", &line).expect("logs");
        history.set_paused("p", true).expect("pauses");
        drop(history);
        let history = History::open(folder.path()).expect("opens");
        let ids = |runs: Vec<Run>| runs.into_iter().map(|run| run.created_ms).collect::<Vec<_>>();
        assert_eq!(ids(history.runs("p", 3, None).expect("reads")), [8, 7, 6]);
        assert_eq!(ids(history.runs("p", 3, Some("scheduled__00006")).expect("reads")), [5, 4, 3]);
        assert_eq!(ids(history.unfinished("p").expect("reads")), [8]);
        assert_eq!(history.last_scheduled_ms("p").expect("reads"), Some(8));
        assert_eq!(history.last_scheduled_ms("nobody").expect("reads"), None);
        assert_eq!(history.lines("p", "scheduled__00008").expect("reads"), [line]);
        assert!(history.is_paused("p").expect("reads") && !history.is_paused("other").expect("reads"));
        history.save("p", &run(8, RunState::Failed)).expect("saves");
        assert_eq!(history.run("p", "scheduled__00008").expect("reads"), Some(run(8, RunState::Failed)));
        assert_eq!(history.unfinished("p").expect("reads"), []);
    }

    #[test]
    fn the_first_start_is_kept_also_in_a_history_that_had_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let (earlier, _) = SCHEMA.split_once("CREATE TABLE IF NOT EXISTS begun").expect("is the last table");
        let connection = Connection::open(folder.path().join("runs.sqlite")).expect("opens");
        connection.execute_batch(earlier).expect("as an earlier version left it");
        drop(connection);
        let history = History::open(folder.path()).expect("opens");
        assert_eq!(history.begun_ms("p", 5).expect("is kept"), 5);
        drop(history);
        let history = History::open(folder.path()).expect("opens");
        assert_eq!(history.begun_ms("p", 9).expect("reads"), 5);
        assert_eq!(history.begun_ms("other", 9).expect("is kept"), 9);
    }

    #[test]
    fn the_oldest_runs_and_endless_logs_are_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let history = History::open(folder.path()).expect("opens");
        history.with(|connection| connection.execute_batch("PRAGMA synchronous = OFF")).expect("is set");
        for n in 1..=i64::from(RUNS_MAX) + 2 {
            history.save("p", &run(n, RunState::Success)).expect("saves");
        }
        let runs = history.runs("p", u32::MAX, None).expect("reads");
        assert_eq!(runs.len(), RUNS_MAX as usize);
        assert_eq!(runs.last().expect("a run").created_ms, 3);
        history.save("asked", &run(1, RunState::Success)).expect("saves");
        for n in 2..=i64::from(RUNS_MAX) + 2 {
            let asked = Run { trigger: Trigger::Manual, interval_ms: None, ..run(n, RunState::Success) };
            history.save("asked", &asked).expect("saves");
        }
        let runs = history.runs("asked", u32::MAX, None).expect("reads");
        assert_eq!((runs.len(), runs.last().expect("a run").created_ms), (RUNS_MAX as usize + 1, 1));
        assert_eq!(history.last_scheduled_ms("asked").expect("reads"), Some(1));
        for at_ms in 0..i64::from(LINES_MAX) + 10 {
            let line = LogLine { at_ms, attempt: 1, text: String::new() };
            history.log("p", "scheduled__00009", &line).expect("logs");
        }
        let lines = history.lines("p", "scheduled__00009").expect("reads");
        assert_eq!((lines.len(), lines[0].at_ms), (LINES_MAX as usize, 10));
    }
}
