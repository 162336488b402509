//! A flow at work: next → decode → query → write → flush → commit.

use std::sync::Arc;
use std::time::Duration;

use millstream_core::{
    Checkpoint, Commit, Counts, Cut, DeadLetter, EachKeyLater, Error, Gauges, MessageSink, Origin, Progress,
    Reason, Record, Records, Result, Rows, Sink, SinkPlan, Source, write_time,
};
use millstream_sql::{Decoder, FlowQuery, encode_rows};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::decode::process;
use crate::keys::Keys;
use crate::latency::Latency;
use crate::plan::PlannedFlow;
use crate::retry::{Attempts, Patience, Waiting};
use crate::values::Secrets;

/// A message dated more than so far ahead would win over every later one: it is refused.
const AHEAD_MAX_MS: i64 = 3_600_000;

/// How far the timestamps that we give may be ahead of the clock: whoever goes on in our place begins at the clock.
const AHEAD_GIVEN_MS_MAX: u64 = 1_000;

/// What is kept of a dead letter that is too large for its topic.
const CUT_BYTES: usize = 64 << 10;

/// Rows that are kept to be looked at.
const NEWEST_ROWS: usize = 5;

/// A flow that is still at work is not judged by fewer records.
const FAIL_ABOVE_RECORDS_MIN: u64 = 1_000;

/// What a flow is doing, for whoever looks on.
#[derive(Debug, Clone, Default)]
pub struct FlowState {
    /// What became of the records that are committed.
    pub counts: Counts,
    /// What it waits for, when a service does not answer.
    pub waiting_for: Option<String>,
    /// Since when.
    pub waiting_since: Option<Instant>,
    /// How often something was tried again.
    pub retries: u64,
    /// Bytes of keys, values and headers of the records that are committed.
    pub bytes: u64,
    /// When something was committed last, in milliseconds since 1970.
    pub committed_ms: Option<i64>,
    /// How long the messages of a topic were under way when they were committed.
    pub latency: Latency,
    /// The newest rows that went to a table, as JSON, the newest last.
    pub newest: Vec<String>,
    /// What its connectors see of their services.
    pub gauges: Arc<Gauges>,
    /// Why it has stopped.
    pub failed: Option<Error>,
    /// It has ended.
    pub done: bool,
}

impl FlowState {
    /// Takes note of a commit at `now_ms` that covers `batch`.
    fn committed(&mut self, batch: &Batch<'_>, counted: Counts, reads_topic: bool, now_ms: i64) {
        self.counts += counted;
        self.bytes += batch.records.size_bytes() as u64;
        // A source may put a commit off and count it with the next one.
        if counted.read > 0 {
            self.committed_ms = Some(now_ms);
        }
        // Elsewhere a record's timestamp is not when it set out.
        if reads_topic {
            batch
                .records
                .iter()
                .for_each(|record| self.latency.observe(now_ms.saturating_sub(record.timestamp)));
        }
        let rows = &batch.rows.batch;
        if batch.messages.is_none() && rows.num_rows() > 0 {
            let first = rows.num_rows().saturating_sub(NEWEST_ROWS);
            let mut json = Vec::new();
            let ends = encode_rows(&rows.slice(first, rows.num_rows() - first), &mut json);
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let rows =
                starts.zip(&ends).map(|(start, end)| String::from_utf8_lossy(&json[start..*end]).into());
            self.newest.extend(rows);
            let too_many = self.newest.len().saturating_sub(NEWEST_ROWS);
            self.newest.drain(..too_many);
        }
    }
}

/// A flow with everything open.
pub(crate) struct RunningFlow {
    pub(crate) planned: PlannedFlow,
    pub(crate) source: Box<dyn Source>,
    pub(crate) sink: Sink,
    /// Prepared when the first dead letter comes.
    pub(crate) dead_letters: Box<dyn MessageSink>,
    pub(crate) state: Arc<Mutex<FlowState>>,
    pub(crate) patience: Patience,
    /// What its dead letters do not show of where their records came from.
    pub(crate) secrets: Secrets,
    /// Now in milliseconds since 1970.
    pub(crate) clock: fn() -> i64,
    /// Which moment a message gets that no column dates.
    pub(crate) dating: Dating,
}

/// Which moment a message gets that no column dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dating {
    /// The one of sending.
    Now,
    /// The one of the record that it comes from, which is sent again.
    Original,
}

impl RunningFlow {
    /// Works until the source ends, `stop` is set or an error lasts. `drain` fires when the
    /// flows that write the source's topic have ended.
    pub(crate) async fn run(
        mut self,
        stop: CancellationToken,
        drain: oneshot::Receiver<()>,
    ) -> Result<Counts> {
        let ended = self.work(stop, drain).await;
        // To leave a group a broker has to answer, which may be at work on this very thread.
        tokio::task::block_in_place(|| drop(self));
        ended
    }

    async fn work(&mut self, stop: CancellationToken, drain: oneshot::Receiver<()>) -> Result<Counts> {
        let mut worker = Worker::new(&self.planned, &self.secrets, self.dating)?;
        let mut drain = std::pin::pin!(drain);
        let mut draining = false;
        let patience = self.patience.clone();
        // Attempts at the next records, while they fail.
        let mut reading: Option<Attempts<'_>> = None;
        let mut has_put_off = false;
        loop {
            let records = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                fired = &mut drain, if !draining => {
                    draining = true;
                    if fired.is_ok() {
                        let mut attempts = self.patience.begin();
                        while let Err(error) = self.source.drain().await {
                            attempts.wait(error).await?;
                        }
                    }
                    continue;
                }
                next = self.source.next() => next,
            };
            let records = match records {
                Ok(Some(records)) => records,
                Ok(None) => break,
                Err(error) => {
                    reading.get_or_insert_with(|| patience.begin()).wait(error).await?;
                    continue;
                }
            };
            reading = None;
            let mut batch = worker.prepare(&records, (self.clock)())?;
            if !self.slow_down(worker.ahead_ms().saturating_sub(AHEAD_GIVEN_MS_MAX), &stop).await {
                // Nothing of the batch is written, and nothing of it is committed.
                break;
            }
            let mut attempts = self.patience.begin();
            let checkpoint = loop {
                match worker.write(&mut batch, &mut self.sink, self.dead_letters.as_mut()).await {
                    Ok(checkpoint) => break checkpoint,
                    Err(error) => attempts.wait(error).await?,
                }
            };
            let when = self.source.next_commit();
            if when == Commit::Now {
                while let Err(error) = self.sink.flush().await {
                    attempts.wait(error).await?;
                }
            }
            let counted = loop {
                match self.source.commit(&checkpoint, when).await {
                    Ok(counted) => break counted,
                    Err(error) => attempts.wait(error).await?,
                }
            };
            drop(attempts);
            has_put_off = when == Commit::Later;
            let counts = {
                let mut state = self.state.lock();
                let reads_topic = self.planned.origin.plan.topic.is_some();
                state.committed(&batch, counted, reads_topic, (self.clock)());
                state.counts
            };
            drop(batch);
            self.source.recycle(records);
            check_share_at_work(&self.planned, counts)?;
        }
        if has_put_off {
            self.commit_rest().await;
        }
        // The next run of the flow may begin at once.
        self.slow_down(worker.ahead_ms().min(AHEAD_GIVEN_MS_MAX), &CancellationToken::new()).await;
        let counts = self.state.lock().counts;
        check_share(&self.planned, counts)?;
        Ok(counts)
    }

    /// Waits until the clock has made up for what was given ahead of it; `false` where `stop` was set meanwhile.
    async fn slow_down(&mut self, ahead_ms: u64, stop: &CancellationToken) -> bool {
        if ahead_ms == 0 {
            return true;
        }
        let what = "the clock: one key has more than a thousand messages a second; `timestamp:` dates them otherwise";
        let _waiting = Waiting::begin(&self.state, what.to_owned(), Instant::now());
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(ahead_ms)) => true,
            () = stop.cancelled() => false,
        }
    }

    /// Commits what was put off, once: what cannot be committed is read again.
    async fn commit_rest(&mut self) {
        let committed = match self.sink.flush().await {
            Ok(()) => self.source.commit(&Checkpoint::default(), Commit::Now).await,
            Err(error) => Err(error),
        };
        match committed {
            Ok(counted) => self.state.lock().counts += counted,
            Err(error) => tracing::debug!("flow {}: the last commit failed: {error}", self.planned.name),
        }
    }
}

/// Whether too many records are dead by now, of a flow that goes on.
pub(crate) fn check_share_at_work(planned: &PlannedFlow, counts: Counts) -> Result<()> {
    if counts.read < FAIL_ABOVE_RECORDS_MIN { Ok(()) } else { check_share(planned, counts) }
}

/// Whether too many records are dead.
pub(crate) fn check_share(planned: &PlannedFlow, counts: Counts) -> Result<()> {
    match planned.fail_above {
        Some(share) if share.is_exceeded(counts.dead, counts.read) => Err(Error::lasting(format!(
            "{} of {} records are dead letters, more than {share}",
            counts.dead, counts.read
        ))
        .help(
            "`dead-letters list` says why; once the cause is mended, `dead-letters replay` sends them again",
        )),
        _ => Ok(()),
    }
}

/// What turns records into output; it keeps nothing between batches but the last timestamps.
struct Worker {
    query: Arc<FlowQuery>,
    flow: String,
    topic: String,
    decoder: Decoder,
    planned: PlannedFlow,
    secrets: Secrets,
    clock: EachKeyLater,
    dating: Dating,
    dead_letters_prepared: bool,
}

/// A batch on its way: what is written of it is not written again.
struct Batch<'r> {
    records: &'r Records,
    rows: millstream_sql::Transformed,
    /// For a topic: the messages, and the row each came from.
    messages: Option<(Records, Vec<u32>)>,
    dead: Vec<(u32, Reason, String)>,
    written: Option<u64>,
}

impl Worker {
    fn new(planned: &PlannedFlow, secrets: &Secrets, dating: Dating) -> Result<Self> {
        Ok(Self {
            query: planned.native_query()?.clone(),
            flow: planned.name.clone(),
            topic: planned.topic(),
            decoder: Decoder::new(&planned.input),
            planned: planned.clone(),
            secrets: secrets.clone(),
            clock: EachKeyLater::default(),
            dating,
            dead_letters_prepared: false,
        })
    }

    /// How far the messages of one key are dated ahead of the clock.
    fn ahead_ms(&self) -> u64 {
        match self.dating {
            Dating::Now => self.clock.ahead_ms(),
            Dating::Original => 0,
        }
    }

    /// Decodes, queries, and makes the messages of a topic.
    fn prepare<'r>(&mut self, records: &'r Records, now_ms: i64) -> Result<Batch<'r>> {
        let nulls_ignored = self.planned.origin.plan.nulls_ignored;
        let (decoder, query) = (&mut self.decoder, &self.query);
        let processed = tokio::task::block_in_place(|| process(decoder, query, records, nulls_ignored))?;
        let mut batch =
            Batch { records, rows: processed.rows, messages: None, dead: processed.dead, written: None };
        match self.planned.target.plan.clone() {
            SinkPlan::Topic { key, timestamp, .. } => {
                self.make_messages(&mut batch, &key, timestamp.as_deref(), now_ms);
            }
            SinkPlan::Lines(_) => make_lines(&mut batch),
            SinkPlan::Table(_) => {}
        }
        Ok(batch)
    }

    fn make_messages(&mut self, batch: &mut Batch<'_>, key: &[String], timestamp: Option<&str>, now_ms: i64) {
        let rows = &batch.rows.batch;
        let keys = Keys::new(rows, key);
        let dated = timestamp.and_then(|name| rows.column_by_name(name)).map(|column| {
            let micros = arrow::datatypes::DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
            arrow::compute::cast(column, &micros).expect("a timestamp in another zone")
        });
        let mut json = Vec::new();
        let ends = encode_rows(rows, &mut json);
        let mut messages = Records::default();
        let mut origins = Vec::with_capacity(ends.len());
        let mut start = 0;
        for (row, end) in ends.into_iter().enumerate() {
            let value = &json[start..end];
            start = end;
            let origin = batch.rows.origins[row];
            let key = match keys.get(row) {
                Ok(key) => key,
                Err(column) => {
                    batch.dead.push((origin, Reason::NullKey, format!("{column} is null")));
                    continue;
                }
            };
            let timestamp = match &dated {
                None => {
                    let sent_ms = match self.dating {
                        Dating::Now => now_ms,
                        // A producer takes 0 for now.
                        Dating::Original => batch.records.get(origin as usize).timestamp.max(1),
                    };
                    self.clock.timestamp(key.as_bytes(), sent_ms)
                }
                Some(column) => match dated_at(column, row, now_ms) {
                    Ok(ms) => ms,
                    Err(detail) => {
                        batch.dead.push((origin, Reason::BadValue, detail));
                        continue;
                    }
                },
            };
            messages.push(Record {
                key: Some(key.as_bytes()),
                value: Some(value),
                headers: &[],
                timestamp,
                partition: -1,
                offset: 0,
            });
            origins.push(origin);
        }
        batch.messages = Some((messages, origins));
    }

    /// Writes what is not yet written, then the dead letters, and says how far the flow is now.
    async fn write(
        &mut self,
        batch: &mut Batch<'_>,
        sink: &mut Sink,
        dead_letters: &mut dyn MessageSink,
    ) -> Result<Checkpoint> {
        if batch.written.is_none() {
            let (written, origins) = match (sink, &batch.messages) {
                (Sink::Messages(sink), Some((messages, origins))) => (sink.write(messages).await?, origins),
                (Sink::Rows(sink), _) => {
                    let times = write_times(batch);
                    let rows = Rows { batch: &batch.rows.batch, write_times: &times };
                    (sink.write(&rows).await?, &batch.rows.origins)
                }
                (Sink::Messages(_), None) => return Err(Error::ours("messages were not made")),
            };
            let refused = written.refused.into_iter();
            let refused: Vec<_> =
                refused.map(|(row, reason, detail)| (origins[row as usize], reason, detail)).collect();
            batch.dead.extend(refused);
            batch.written = Some(written.written);
        }
        if !batch.dead.is_empty() {
            self.bury(batch, dead_letters).await?;
        }
        Ok(checkpoint(batch))
    }

    /// Writes the dead letters; of those that are too large even there, the beginning.
    async fn bury(&mut self, batch: &Batch<'_>, dead_letters: &mut dyn MessageSink) -> Result<()> {
        if !self.dead_letters_prepared {
            dead_letters.prepare().await?;
            self.dead_letters_prepared = true;
        }
        let all: Vec<usize> = (0..batch.dead.len()).collect();
        let refused = dead_letters.write(&self.letters(batch, &all, Kept::Whole)).await?.refused;
        if refused.is_empty() {
            return Ok(());
        }
        let large: Vec<usize> = refused.into_iter().map(|(letter, ..)| letter as usize).collect();
        let refused = dead_letters.write(&self.letters(batch, &large, Kept::Beginning)).await?.refused;
        match refused.first() {
            None => Ok(()),
            Some((_, _, detail)) => Err(Error::lasting(format!("a dead letter cannot be kept: {detail}"))
                .help("raise max.message.bytes of the dead letters' topic")),
        }
    }

    /// The dead letters of a batch, those that are `chosen`.
    fn letters(&self, batch: &Batch<'_>, chosen: &[usize], kept: Kept) -> Records {
        let mut letters = Records::default();
        let origin = batch.records.origin.as_deref().map(|origin| self.shown(origin));
        for (place, reason, detail) in chosen.iter().map(|index| &batch.dead[*index]) {
            let mut original = batch.records.get(*place as usize);
            let whole = original.value.unwrap_or_default();
            let is_cut = kept == Kept::Beginning && whole.len() > CUT_BYTES;
            if is_cut {
                original.value = Some(&whole[..CUT_BYTES]);
            }
            let letter = DeadLetter {
                flow: self.flow.clone(),
                topic: self.topic.clone(),
                partition: original.partition,
                offset: original.offset,
                reason: *reason,
                detail: detail.clone(),
                // Some producers take 0 for the time of sending, and some topics have no other one.
                sent_ms: Some(original.timestamp),
                origin: origin.clone(),
                cut: is_cut.then(|| Cut { length_bytes: whole.len() as u64, sha256: sha256(whole) }),
            };
            let headers = letter.headers(original.headers);
            // Which partition of the dead letters' topic is the key's choice.
            letters.push(Record { headers: &headers, partition: -1, ..original });
        }
        letters
    }

    /// Where records came from, without what is secret in it. A file's path is part of a dead letter's identity, and
    /// stays what it is.
    fn shown(&self, origin: &Origin) -> Origin {
        match origin.run_ms {
            Some(_) => Origin { address: self.secrets.mask(&origin.address), ..origin.clone() },
            None => origin.clone(),
        }
    }
}

/// How much of a dead letter's value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Whole,
    Beginning,
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Each row as a message that is nothing but a value.
fn make_lines(batch: &mut Batch<'_>) {
    let mut json = Vec::new();
    let mut lines = Records::default();
    let mut start = 0;
    for end in encode_rows(&batch.rows.batch, &mut json) {
        lines.push(Record::of_value(&json[start..end], 0));
        start = end;
    }
    batch.messages = Some((lines, batch.rows.origins.clone()));
}

/// When a row was true, in milliseconds since 1970.
fn dated_at(column: &arrow::array::ArrayRef, row: usize, now_ms: i64) -> Result<i64, String> {
    use arrow::array::{Array, AsArray};
    if column.is_null(row) {
        return Err("its timestamp is null".into());
    }
    let ms = column.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(row).div_euclid(1000);
    match ms {
        ..0 => Err("its timestamp is before 1970, which Kafka does not have".into()),
        ms if ms > now_ms + AHEAD_MAX_MS => {
            Err("its timestamp is more than an hour ahead: it would win over every later message".into())
        }
        ms => Ok(ms),
    }
}

/// The write time of each row, from the record that it came from.
fn write_times(batch: &Batch<'_>) -> Vec<i64> {
    let times = batch.rows.origins.iter().map(|origin| {
        let record = batch.records.get(*origin as usize);
        write_time(record.timestamp, record.offset)
    });
    times.collect()
}

/// How far each partition has come with this batch, and what became of its records.
fn checkpoint(batch: &Batch<'_>) -> Checkpoint {
    let mut checkpoint = Checkpoint::default();
    for place in 0..batch.records.len() {
        let (partition, offset) = batch.records.place(place);
        let progress: &mut Progress = checkpoint.partitions.entry(partition).or_default();
        progress.next_offset = progress.next_offset.max(offset.saturating_add(1));
        progress.counts.read += 1;
        progress.counts.filtered += 1;
    }
    let mut counts_of = |place: u32, change: fn(&mut Counts)| {
        let (partition, _) = batch.records.place(place as usize);
        checkpoint.partitions.entry(partition).and_modify(|progress| change(&mut progress.counts));
    };
    // Every record counts as filtered until it is known to be something else.
    for origin in &batch.rows.origins {
        counts_of(*origin, |counts| {
            counts.filtered -= 1;
            counts.passed += 1;
            counts.written += 1;
        });
    }
    for (place, ..) in &batch.dead {
        let passed = batch.rows.origins.binary_search(place).is_ok();
        counts_of(*place, if passed { passed_is_dead } else { filtered_is_dead });
    }
    checkpoint
}

fn passed_is_dead(counts: &mut Counts) {
    counts.passed -= 1;
    counts.written -= 1;
    counts.dead += 1;
}

fn filtered_is_dead(counts: &mut Counts) {
    counts.filtered -= 1;
    counts.dead += 1;
}
