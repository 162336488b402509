//! A partitioned log that is read like a topic by a group: it hands out what is not committed
//! again after every rebalance, and rebalances as it likes.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use millstream_core::{
    Checkpoint, Commit, Counts, Error, Progress, Reason, Record, Records, Result, Scope, Source, SourceKind,
    SourcePlan, write_time,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use super::faults::{Fate, Faults};
use super::stores::{Buried, Cells};

const PARTITIONS: usize = 3;
const MESSAGES: i64 = 400;
const IDS: i64 = 40;
const BATCH_MAX: usize = 40;

struct Message {
    value: Option<String>,
    timestamp: i64,
}

#[derive(Default)]
struct Group {
    /// By partition: the next offset, and what became of everything before it.
    committed: BTreeMap<i32, (i64, Counts)>,
}

/// The log and what its group has committed; both outlive a run.
#[derive(Clone)]
pub(crate) struct Log {
    partitions: Arc<Vec<Vec<Message>>>,
    group: Arc<Mutex<Group>>,
    faults: Faults,
}

/// What there must be in the end.
pub(crate) struct Oracle {
    pub(crate) rows: BTreeMap<String, Cells>,
    pub(crate) letters: Buried,
    pub(crate) counts: Counts,
}

/// The value that no table takes.
pub(crate) const REFUSED: i64 = 77;

impl Log {
    pub(crate) fn generate(seed: u64, faults: &Faults) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut partitions: Vec<Vec<Message>> = (0..PARTITIONS).map(|_| Vec::new()).collect();
        for number in 0..MESSAGES {
            let id = random.random_range(0..IDS);
            let value = match random.random_range(0..30) {
                0 => None,
                1 => Some("{\"id\": \"cut".to_owned()),
                2 => Some(json!({"n": number}).to_string()),
                // A null keeps the older value of its cell.
                3..8 => Some(json!({"id": id.to_string(), "n": number}).to_string()),
                8 => Some(json!({"id": id.to_string(), "n": REFUSED, "a": "x"}).to_string()),
                _ => {
                    Some(json!({"id": id.to_string(), "n": number, "a": format!("of {number}")}).to_string())
                }
            };
            // Some come late.
            let timestamp = number * 10 - random.random_range(0..100);
            partitions[id as usize % PARTITIONS].push(Message { value, timestamp: timestamp.max(0) });
        }
        Self { partitions: Arc::new(partitions), group: Arc::default(), faults: faults.clone() }
    }

    /// What all commits together say.
    pub(crate) fn totals(&self) -> Counts {
        let mut totals = Counts::default();
        for (_, counts) in self.group.lock().committed.values() {
            totals += *counts;
        }
        totals
    }

    /// Goes through the log once, slowly and simply.
    pub(crate) fn oracle(&self) -> Oracle {
        let mut oracle =
            Oracle { rows: BTreeMap::new(), letters: BTreeMap::new(), counts: Counts::default() };
        let all = self.partitions.iter().enumerate().flat_map(|(partition, messages)| {
            messages.iter().enumerate().map(move |(offset, message)| (partition, offset, message))
        });
        for (partition, offset, message) in all {
            oracle.counts.read += 1;
            let bytes = message.value.as_ref().map(|text| text.clone().into_bytes());
            let mut bury = |reason| {
                oracle.letters.insert((partition as i32, offset as i64), (reason, bytes.clone()));
                oracle.counts.dead += 1;
            };
            let Some(text) = &message.value else {
                bury(Reason::Empty);
                continue;
            };
            let Ok(value) = serde_json::from_str::<Value>(text) else {
                bury(Reason::Unreadable);
                continue;
            };
            let n = value["n"].as_i64().expect("every one has it");
            if n % 10 == 3 {
                oracle.counts.filtered += 1;
                continue;
            }
            let Some(id) = value["id"].as_str() else {
                bury(Reason::NullKey);
                continue;
            };
            if n == REFUSED && value["a"] == "x" {
                bury(Reason::BadValue);
                continue;
            }
            let time = write_time(message.timestamp, offset as i64);
            let row = oracle.rows.entry(id.to_owned()).or_default();
            row.put("n", n.to_string(), time);
            if let Some(a) = value["a"].as_str() {
                row.put("a", a.to_owned(), time);
            }
            oracle.counts.passed += 1;
            oracle.counts.written += 1;
        }
        oracle
    }
}

/// The source kind `log`.
pub(crate) struct LogKind(pub(crate) Log);

#[async_trait]
impl SourceKind for LogKind {
    fn name(&self) -> &'static str {
        "log"
    }

    fn settings(&self) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {"log": {"type": "string"}, "schema": {"type": "string"}},
        })
    }

    fn plan(&self, settings: &Value) -> Result<SourcePlan> {
        Ok(SourcePlan { schema: settings["schema"].as_str().map(str::to_owned), ..SourcePlan::default() })
    }

    async fn open(&self, _: &Value, _: &Scope) -> Result<Box<dyn Source>> {
        self.0.faults.next().await.answer(())?;
        Ok(Box::new(Reader {
            log: self.0.clone(),
            position: BTreeMap::new(),
            assigned: BTreeMap::new(),
            put_off: BTreeMap::new(),
        }))
    }
}

/// A member of the group.
struct Reader {
    log: Log,
    position: BTreeMap<i32, usize>,
    /// What was committed when the partition was assigned, and since.
    assigned: BTreeMap<i32, Counts>,
    /// What is to be committed with what comes next.
    put_off: BTreeMap<i32, Progress>,
}

impl Reader {
    /// All partitions come anew, each from where it is committed.
    fn rebalance(&mut self) {
        self.put_off.clear();
        let group = self.log.group.lock();
        for partition in 0..PARTITIONS as i32 {
            let (next, counts) = group.committed.get(&partition).copied().unwrap_or_default();
            self.position.insert(partition, next as usize);
            self.assigned.insert(partition, counts);
        }
    }
}

#[async_trait]
impl Source for Reader {
    async fn next(&mut self) -> Result<Option<Records>> {
        if self.position.is_empty() {
            self.rebalance();
        }
        if self.log.faults.next().await == Fate::Failed {
            return Err(Error::passing("the log does not answer"));
        }
        let mut records = Records::default();
        let most = 1 + self.log.faults.choose(BATCH_MAX);
        while records.len() < most {
            let open: Vec<i32> = (0..PARTITIONS as i32)
                .filter(|partition| self.position[partition] < self.log.partitions[*partition as usize].len())
                .collect();
            let Some(partition) = open.get(self.log.faults.choose(open.len())) else { break };
            let at = self.position.get_mut(partition).expect("is assigned");
            let message = &self.log.partitions[*partition as usize][*at];
            records.push(Record {
                key: None,
                value: message.value.as_ref().map(String::as_bytes),
                headers: &[],
                timestamp: message.timestamp,
                partition: *partition,
                offset: *at as i64,
            });
            *at += 1;
        }
        Ok((!records.is_empty()).then_some(records))
    }

    fn next_commit(&self) -> Commit {
        let is_more =
            self.position.iter().any(|(partition, at)| *at < self.log.partitions[*partition as usize].len());
        if is_more && self.log.faults.choose(2) == 1 { Commit::Later } else { Commit::Now }
    }

    async fn commit(&mut self, checkpoint: &Checkpoint, when: Commit) -> Result<Counts> {
        let mut due = self.put_off.clone();
        for (partition, step) in &checkpoint.partitions {
            let progress = due.entry(*partition).or_default();
            progress.next_offset = step.next_offset;
            progress.counts += step.counts;
        }
        if when == Commit::Later {
            self.put_off = due;
            return Ok(Counts::default());
        }
        let fate = self.log.faults.next().await;
        match fate {
            // Somebody else has the partitions by now, and gives them back: what is not
            // committed comes again.
            Fate::Torn => {
                self.rebalance();
                return Ok(Counts::default());
            }
            Fate::Failed | Fate::Over => return fate.answer(Counts::default()),
            Fate::Done | Fate::AnswerLost => {}
        }
        let due = Checkpoint { partitions: due };
        let mut group = self.log.group.lock();
        for (partition, progress) in &due.partitions {
            let mut totals = self.assigned[partition];
            totals += progress.counts;
            group.committed.insert(*partition, (progress.next_offset, totals));
            if fate == Fate::Done {
                self.assigned.insert(*partition, totals);
                self.put_off.clear();
            }
        }
        fate.answer(due.counts())
    }
}
