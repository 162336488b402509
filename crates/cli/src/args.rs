//! What can be asked for on the command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate};
use clap::{Parser, Subcommand, ValueEnum};
use millstream_core::RunValues;
use millstream_engine::Runner;

/// One file describes a pipeline: API → topic → SQL → table. Run it with everything embedded, or
/// on real services.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Args {
    /// How what happens is written to standard error, as lines of text or of JSON.
    #[arg(long, global = true, default_value = "text")]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the example pipeline with everything embedded and an API of its own.
    Demo {
        /// Three requests without waiting, the first rows and the counts, then ends.
        #[arg(long)]
        once: bool,
    },
    /// Writes a pipeline file to begin with: the example, or one made from what is there.
    Init {
        /// Where to.
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// What to read: the address of an API, kafka://HOST:PORT/TOPIC, or a file with a JSON object
        /// a line.
        #[arg(long)]
        from: Option<String>,
    },
    /// Reads a pipeline file and checks everything that can be checked without asking anybody.
    Check {
        #[command(flatten)]
        file: FileArgs,
    },
    /// Asks the services whether the pipeline would run on them, and says what to do where it would not.
    Doctor {
        #[command(flatten)]
        file: FileArgs,
    },
    /// Shows what a flow makes of a few records; nothing is written.
    Preview {
        #[command(flatten)]
        file: FileArgs,
        /// The flow; the first one without it.
        #[arg(long)]
        flow: Option<String>,
        /// How many records.
        #[arg(short, default_value_t = 5)]
        n: usize,
        #[command(flatten)]
        values: RunArgs,
    },
    /// Runs the tests in a pipeline file.
    Test {
        #[command(flatten)]
        file: FileArgs,
    },
    /// Runs a pipeline once: until the sources have ended and the topics are drained.
    Run {
        #[command(flatten)]
        file: FileArgs,
        /// Only this flow.
        #[arg(long)]
        flow: Option<String>,
        /// How long a service may not answer before the run is given up, like 30s or 5m.
        #[arg(long, default_value = "5m", value_parser = period)]
        patience: std::time::Duration,
        #[command(flatten)]
        values: RunArgs,
        /// Stops in order when standard input ends, so that it does not outlive who started it.
        #[arg(long)]
        stop_at_eof: bool,
        /// How the summary is printed; json where standard output is no terminal.
        #[arg(long)]
        format: Option<SummaryFormat>,
    },
    /// Runs pipelines for good: their schedules, their flows, the page and the API on localhost:7070. With
    /// --flow it is a worker on a flow that reads a topic and schedules nothing: start more, here or
    /// elsewhere, and they share the topic's partitions. It never gives up on a service.
    Up(UpArgs),
    /// Runs of a pipeline that `up` has at work.
    Runs {
        #[command(subcommand)]
        command: Runs,
    },
    /// Lets the schedule of a pipeline rest that `up` has at work; flows that read topics work on.
    Pause {
        #[command(flatten)]
        at: ServerArgs,
    },
    /// Lets the schedule go on.
    Unpause {
        #[command(flatten)]
        at: ServerArgs,
    },
    /// Waits until the workers of a flow (`up --flow`) have done what is in its topic now; fails at once
    /// where something is left and nobody is there to do it. Its counts are those of all time.
    Wait {
        #[command(flatten)]
        file: FileArgs,
        /// The flow.
        #[arg(long)]
        flow: String,
        /// How long the broker may not answer before it is given up, like 30s or 5m.
        #[arg(long, default_value = "5m", value_parser = period)]
        patience: std::time::Duration,
        /// Stops when standard input ends, so that it does not outlive who started it.
        #[arg(long)]
        stop_at_eof: bool,
        /// How the summary is printed; json where standard output is no terminal.
        #[arg(long)]
        format: Option<SummaryFormat>,
    },
    /// Asks the pipeline's table: the flows' SQL with aggregates, ORDER BY and LIMIT.
    Query {
        #[command(flatten)]
        file: FileArgs,
        /// The query, like "SELECT count(*) FROM created_users".
        sql: String,
        /// How the answer is printed.
        #[arg(long, default_value = "table")]
        format: RowFormat,
    },
    /// Prints the ALTERs between the file and its tables, wherever those are, and says what no ALTER
    /// can do.
    Migrate {
        #[command(flatten)]
        file: FileArgs,
        /// Runs those that only add columns.
        #[arg(long)]
        apply: bool,
    },
    /// Shows records as they come, one JSON object a line, until Ctrl-C.
    Tap {
        #[command(flatten)]
        file: FileArgs,
        /// FLOW.in, FLOW.out, or a topic.
        place: String,
        /// Ends after so many.
        #[arg(short)]
        n: Option<usize>,
    },
    /// Lets a flow read again, or not at all, what is there: safe, for what is newer stays.
    Reset {
        #[command(flatten)]
        file: FileArgs,
        /// The flow.
        #[arg(long)]
        flow: String,
        /// earliest, latest, a moment like 2026-01-01T00:00:00Z, or an offset; for an incremental
        /// source earliest, or the value to go on from.
        #[arg(long)]
        to: String,
    },
    /// Records that could not be processed.
    DeadLetters {
        #[command(subcommand)]
        command: DeadLetters,
    },
    /// Prints the pipeline as a DAG for Airflow: a task for each flow.
    Airflow {
        #[command(flatten)]
        file: FileArgs,
        /// Where the pipeline file is, from the folder that the DAG file will be in; by default there.
        #[arg(long)]
        pipeline: Option<String>,
        /// Flows that read a topic run elsewhere (`up --flow`): their tasks wait until they have caught up.
        #[arg(long)]
        streaming: bool,
        /// From which day on Airflow makes up for missed runs, as 2026-01-31: what `runs: { catchup: true }` and
        /// `{interval.start}` in one file need.
        #[arg(long, value_name = "DATE")]
        start_date: Option<chrono::NaiveDate>,
    },
    /// Answers statements: at a terminal each ends with `;` and is answered by a table, else each line
    /// is one and is answered by a JSON object.
    Sql(SqlArgs),
    /// Serves the built-in Random User API alone.
    #[command(hide = true)]
    RandomUser {
        /// The port; 0 takes any free one.
        #[arg(long, default_value_t = 7071)]
        port: u16,
        /// The address: for other machines or containers 0.0.0.0.
        #[arg(long, default_value = "127.0.0.1")]
        host: std::net::IpAddr,
        /// Users that may be fetched in five minutes before the answer is 429.
        #[arg(long, default_value_t = 20_000)]
        limit: u64,
        /// The share of requests, from 0 to 1, that is answered with 503.
        #[arg(long, default_value_t = 0.0)]
        fail: f64,
        /// How long an answer takes, like 200ms.
        #[arg(long, default_value = "0ms", value_parser = period)]
        latency: std::time::Duration,
    },
    /// Whether an `up` on this machine answers, for those who restart what does not.
    #[command(hide = true)]
    Healthy {
        /// The port that it serves.
        #[arg(long, default_value_t = 7070)]
        port: u16,
        /// What it is asked for.
        #[arg(long, default_value = "/healthz")]
        path: String,
        /// Also where nobody serves it.
        #[arg(long)]
        if_served: bool,
    },
    /// Measures this machine.
    #[command(hide = true)]
    Bench {
        /// What is measured.
        what: BenchKind,
        /// How many records; by default 500,000, for `latency` 10,000.
        #[arg(long)]
        records: Option<u64>,
        /// Partitions of the topic, where the services are real.
        #[arg(long, default_value_t = 1)]
        partitions: u16,
    },
    /// Prints the JSON Schema of a pipeline file, for editors.
    #[command(hide = true)]
    JsonSchema {
        /// As the reference page, in Markdown.
        #[arg(long)]
        markdown: bool,
    },
    /// Prints completions for a shell.
    #[command(hide = true)]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What `up` is given.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct UpArgs {
    /// Pipeline files, and folders of them.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Only this flow, which reads a topic.
    #[arg(long)]
    pub(crate) flow: Option<String>,
    /// Where the page, the API and the metrics are served, 127.0.0.1:7070; a worker serves its metrics
    /// only where this is given. Another address than loopback asks for a token.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// A file with the token that the page and the API ask for; else the variable MILLSTREAM_TOKEN.
    #[arg(long)]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) with: WithArgs,
    /// How the summary of a worker is printed; json where standard output is no terminal.
    #[arg(long)]
    pub(crate) format: Option<SummaryFormat>,
}

impl UpArgs {
    /// As other commands take one of the files.
    pub(crate) fn file(&self, file: &Path) -> FileArgs {
        FileArgs { file: file.to_owned(), with: self.with.clone() }
    }
}

/// Where `up` is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerArgs {
    /// The pipeline file.
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Its address, like http://localhost:7070; by default that of the `up` that owns the file's state
    /// directory. The token, where it asks for one, is in the variable MILLSTREAM_TOKEN.
    #[arg(long)]
    pub(crate) server: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Runs {
    /// The newest runs, one a line.
    List {
        #[command(flatten)]
        at: ServerArgs,
        /// How many at most.
        #[arg(short, default_value_t = 20)]
        n: u32,
    },
    /// Asks for a run.
    Trigger {
        #[command(flatten)]
        at: ServerArgs,
    },
    /// One run with its log.
    Show {
        #[command(flatten)]
        at: ServerArgs,
        /// Its name, as `list` prints it.
        run: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetters {
    /// One line for each: place, reason, detail.
    List {
        #[command(flatten)]
        file: FileArgs,
        #[command(flatten)]
        filter: LetterFilter,
    },
    /// One of them whole.
    Show {
        #[command(flatten)]
        file: FileArgs,
        /// Its place, as `list` prints it.
        place: String,
    },
    /// Sends them through their flow again, with their original timestamps: what is old covers
    /// nothing that is newer. Without a filter all of them.
    Replay {
        #[command(flatten)]
        file: FileArgs,
        #[command(flatten)]
        filter: LetterFilter,
        /// How long a service may not answer before it is given up, like 30s or 5m.
        #[arg(long, default_value = "5m", value_parser = period)]
        patience: std::time::Duration,
    },
    /// Lays them aside: they stay in their topic and are listed no more.
    Purge {
        #[command(flatten)]
        file: FileArgs,
        #[command(flatten)]
        filter: LetterFilter,
        /// Every one.
        #[arg(long)]
        all: bool,
    },
}

/// Which dead letters are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct LetterFilter {
    /// Only these, as `list` prints their places.
    pub(crate) places: Vec<String>,
    /// Only of this flow.
    #[arg(long)]
    pub(crate) flow: Option<String>,
    /// Only with this reason: empty, unreadable, null-key, bad-value or too-large.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Only those whose detail has this text in it, like the name of a column.
    #[arg(long)]
    pub(crate) contains: Option<String>,
}

/// A pipeline file and what goes with it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FileArgs {
    /// The pipeline file; for `query`, `tap` and `dead-letters` also `demo`.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) with: WithArgs,
}

/// What goes with pipeline files.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WithArgs {
    /// A file with variables, NAME=value line by line.
    #[arg(long)]
    pub(crate) env_file: Option<PathBuf>,
    /// Where embedded topics, tables and the history of runs are kept; by default .millstream beside the file.
    #[arg(long)]
    pub(crate) state: Option<PathBuf>,
    /// Refuses to start anything embedded.
    #[arg(long)]
    pub(crate) no_embedded: bool,
    /// What runs a flow this once, FLOW=native or FLOW=spark.
    #[arg(long, value_name = "FLOW=RUNNER", value_parser = runner)]
    pub(crate) runner: Vec<(String, Runner)>,
}

/// What a run is told beside the file.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RunArgs {
    /// The data interval that the run is for, START/END: what {interval.start} and {interval.end}
    /// stand for.
    #[arg(long, value_parser = interval)]
    interval: Option<(String, String)>,
    /// What an incremental source begins from this once, instead of where it ended last.
    #[arg(long)]
    since: Option<String>,
}

impl RunArgs {
    /// As the engine takes them.
    pub(crate) fn values(&self) -> RunValues {
        RunValues { interval: self.interval.clone(), since: self.since.clone() }
    }
}

/// What statements are asked of, and how they are answered.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SqlArgs {
    /// A file with a JSON object a line (patterns, .gz and .zst as in a source), which the statements see
    /// as `input`; it is kept in memory.
    #[arg(long)]
    pub(crate) input: Option<String>,
    /// The file's schema, like "id STRING, n INT"; without it, it is guessed from the first records.
    #[arg(long, requires = "input")]
    pub(crate) schema: Option<String>,
    /// Shows how each statement is understood: types, and where the functions' meanings come from.
    #[arg(long)]
    pub(crate) explain: bool,
    /// How statements are separated and answered; by default as standard input is a terminal or not.
    #[arg(long)]
    pub(crate) format: Option<AnswerFormat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerFormat {
    /// Statements end with `;`.
    Table,
    /// A statement a line, an object a line.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    /// One object a line.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SummaryFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    Table,
    /// One object a line.
    Json,
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchKind {
    /// JSON bytes to the result of the example's query, on one core.
    Query,
    /// The functions of SQL, group by group, on one core.
    Functions,
    /// Messages into the embedded broker and out again.
    Broker,
    /// Topic to table, everything embedded.
    Store,
    /// Topic to SQL to nowhere, beside a bare consumer of the same topic.
    Pipe,
    /// The same on the services of KAFKA_BROKERS and CASSANDRA_HOSTS, and to Cassandra beside the driver alone.
    Services,
    /// From produce to readable row at 1,000 messages a second, embedded and on those services.
    Latency,
}

fn period(text: &str) -> Result<std::time::Duration, String> {
    let period = millstream_core::settings::Period::parse(text);
    period.map(|period| period.0).ok_or_else(|| "write a number and ms, s, m, h or d".to_owned())
}

fn runner(text: &str) -> Result<(String, Runner), String> {
    match text.split_once('=') {
        Some((flow, "native")) => Ok((flow.to_owned(), Runner::Native)),
        Some((flow, "spark")) => Ok((flow.to_owned(), Runner::Spark)),
        _ => Err("write FLOW=native or FLOW=spark".to_owned()),
    }
}

fn interval(text: &str) -> Result<(String, String), String> {
    let is_moment =
        |text: &str| DateTime::parse_from_rfc3339(text).is_ok() || text.parse::<NaiveDate>().is_ok();
    match text.split_once('/') {
        Some((start, end)) if is_moment(start) && is_moment(end) => Ok((start.to_owned(), end.to_owned())),
        _ => Err("write START/END, like 2026-01-01T00:00:00Z/2026-01-02T00:00:00Z".to_owned()),
    }
}
