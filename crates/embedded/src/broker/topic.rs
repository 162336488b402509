//! The topics: their names, configuration and partitions, kept in one directory each.
//! What is in a partition is the log's affair.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::log::Log;

/// The longest name that Kafka takes.
const NAME_BYTES_MAX: usize = 249;
/// More in one topic is a mistake on one machine.
const PARTITIONS_MAX: usize = 1_000;

/// What can be configured, with Kafka's names and defaults.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Config {
    pub(super) segment_bytes: u64,
    pub(super) retention_ms: Option<i64>,
    pub(super) retention_bytes: Option<u64>,
    pub(super) max_message_bytes: usize,
    /// `compact` keeps everything here: nothing expires.
    pub(super) compact: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            retention_ms: Some(7 * 24 * 3_600_000),
            retention_bytes: None,
            max_message_bytes: 1_048_588,
            compact: false,
        }
    }
}

/// The names of the configurations that are served.
const CONFIG_NAMES: [&str; 6] = [
    "cleanup.policy",
    "max.message.bytes",
    "message.timestamp.type",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
];

/// Whose time a message has: its producer's.
const CREATE_TIME: &str = "CreateTime";

/// What else Kafka takes: it changes nothing here, and a file that sets it is good for both.
const WITHOUT_EFFECT: &[&str] = &[
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "message.downconversion.enable",
    "message.format.version",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// Why a topic is not made: Kafka's error, and what it is about.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) error: ResponseError,
    pub(super) message: String,
}

impl From<ResponseError> for Refused {
    fn from(error: ResponseError) -> Self {
        Self { error, message: error.to_string() }
    }
}

impl Config {
    /// Reads what was set; an unknown name or a value that is none is Kafka's INVALID_CONFIG.
    fn read(set: &BTreeMap<String, String>) -> Result<Self, Refused> {
        let mut config = Self::default();
        for (name, value) in set {
            let taken = config.set(name, value);
            taken.map_err(|message| Refused { error: ResponseError::InvalidConfig, message })?;
        }
        Ok(config)
    }

    /// Takes one setting, or says what is wrong with it.
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = |what: &str| format!("{name} cannot be {value:?}: {what}");
        let number = || value.parse::<i64>().map_err(|_| wrong("it is a whole number"));
        let positive = || {
            let number = u64::try_from(number()?).ok().filter(|number| *number > 0);
            number.ok_or_else(|| wrong("it is more than 0"))
        };
        match name {
            "segment.bytes" => self.segment_bytes = positive()?,
            "max.message.bytes" => self.max_message_bytes = positive()? as usize,
            "retention.ms" => self.retention_ms = Some(number()?).filter(|ms| *ms >= 0),
            "retention.bytes" => self.retention_bytes = u64::try_from(number()?).ok(),
            "cleanup.policy" => match value {
                "compact" | "compact,delete" | "delete,compact" => self.compact = true,
                "delete" => {}
                _ => return Err(wrong("it is delete, compact or both")),
            },
            // It would change when a row was true.
            "message.timestamp.type" => {
                if value != CREATE_TIME {
                    return Err(wrong("the embedded broker keeps a message's own time, CreateTime"));
                }
            }
            _ if WITHOUT_EFFECT.contains(&name) => {}
            _ => return Err(format!("{name} is no setting of a topic")),
        }
        Ok(())
    }

    fn value(&self, name: &str) -> String {
        match name {
            "cleanup.policy" => if self.compact { "compact" } else { "delete" }.to_owned(),
            "max.message.bytes" => self.max_message_bytes.to_string(),
            "message.timestamp.type" => CREATE_TIME.to_owned(),
            "retention.bytes" => self.retention_bytes.map_or("-1".into(), |bytes| bytes.to_string()),
            "retention.ms" => self.retention_ms.map_or("-1".into(), |ms| ms.to_string()),
            "segment.bytes" => self.segment_bytes.to_string(),
            _ => String::new(),
        }
    }
}

/// What a topic's `topic.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    /// A UUID.
    id: String,
    partitions: usize,
    config: BTreeMap<String, String>,
}

/// One topic.
pub(super) struct Topic {
    pub(super) id: Uuid,
    pub(super) partitions: Vec<Arc<Mutex<Log>>>,
    pub(super) config: Config,
    /// What was set when it was made; the rest is default.
    set: BTreeMap<String, String>,
}

impl Topic {
    /// Name, value and whether it was set, for each configuration: what was set as it was set.
    pub(super) fn configs(&self) -> impl Iterator<Item = (&str, String, bool)> {
        let set = self.set.iter().map(|(name, value)| (name.as_str(), value.clone(), true));
        let defaults = CONFIG_NAMES.into_iter().filter(|name| !self.set.contains_key(*name));
        set.chain(defaults.map(|name| (name, self.config.value(name), false)))
    }
}

/// All topics.
pub(super) struct Topics {
    dir: PathBuf,
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
    /// Held by whoever makes, grows or deletes a topic, until its folder is as it should be.
    changing: Mutex<()>,
}

/// The file in a topic's folder with its [`Description`]. It is the last one to be made and the first to be deleted:
/// a folder without it is none of a topic.
const DESCRIPTION: &str = "topic.json";

impl Topics {
    /// Opens the topics in `dir`, with a notice for each torn end that was cut off, and for what is no topic.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Vec<String>)> {
        std::fs::create_dir_all(dir)?;
        let mut by_name = BTreeMap::new();
        let mut notices = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !entry.path().is_dir() {
                notices.push(format!("{} is no topic, and left alone", entry.path().display()));
                continue;
            }
            let description = match std::fs::read(entry.path().join(DESCRIPTION)) {
                Ok(json) => serde_json::from_slice::<Description>(&json)?,
                // Killed while it was made or deleted: it was never there, or is gone.
                Err(e) if e.kind() == io::ErrorKind::NotFound && is_left_over(&entry.path())? => {
                    std::fs::remove_dir_all(entry.path())?;
                    continue;
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    notices.push(format!("{} is no topic, and left alone", entry.path().display()));
                    continue;
                }
                Err(e) => return Err(e),
            };
            let (topic, torn) = open_topic(&entry.path(), description)?;
            for (partition, bytes) in torn.into_iter().enumerate().filter(|(_, bytes)| *bytes > 0) {
                notices.push(format!(
                    "topic {name}, partition {partition}: cut off a torn end of {bytes} bytes"
                ));
            }
            by_name.insert(name, Arc::new(topic));
        }
        let by_name = RwLock::new(by_name);
        Ok((Self { dir: dir.to_owned(), by_name, changing: Mutex::default() }, notices))
    }

    /// The topic of that name.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.by_name.read().get(name).cloned()
    }

    /// All topics by name.
    pub(super) fn all(&self) -> Vec<(String, Arc<Topic>)> {
        self.by_name.read().iter().map(|(name, topic)| (name.clone(), topic.clone())).collect()
    }

    /// Whether a topic can be made so; makes nothing.
    pub(super) fn check(
        &self,
        name: &str,
        partitions: usize,
        set: &BTreeMap<String, String>,
    ) -> Result<(), Refused> {
        let named = !matches!(name, "" | "." | "..")
            && name.len() <= NAME_BYTES_MAX
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !named {
            return Err(ResponseError::InvalidTopicException.into());
        }
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            return Err(ResponseError::InvalidPartitions.into());
        }
        Config::read(set)?;
        let by_name = self.by_name.read();
        if by_name.contains_key(name) {
            return Err(ResponseError::TopicAlreadyExists.into());
        }
        let unnameable = |message| Err(Refused { error: ResponseError::InvalidTopicException, message });
        // On some file systems they would have one folder.
        if let Some(known) = by_name.keys().find(|known| known.eq_ignore_ascii_case(name)) {
            return unnameable(format!("it differs from topic {known} only in case"));
        }
        let dir = self.dir.join(name);
        match is_left_over(&dir) {
            Ok(false) => unnameable(format!("{} is no topic's folder, and in the way", dir.display())),
            _ => Ok(()),
        }
    }

    /// Makes a topic.
    pub(super) fn create(
        &self,
        name: &str,
        partitions: usize,
        set: BTreeMap<String, String>,
    ) -> io::Result<Result<Arc<Topic>, Refused>> {
        let _changing = self.changing.lock();
        if let Err(refused) = self.check(name, partitions, &set) {
            return Ok(Err(refused));
        }
        let dir = self.dir.join(name);
        // What could not be deleted of another one is no part of it.
        remove_folder(&dir)?;
        let description = Description { id: Uuid::new_v4().to_string(), partitions, config: set };
        let made = self.make(&dir, description).inspect_err(|_| {
            // At the latest the next start removes it.
            let _ = remove_folder(&dir);
        });
        let topic = Arc::new(made?);
        self.by_name.write().insert(name.to_owned(), topic.clone());
        Ok(Ok(topic))
    }

    fn make(&self, dir: &Path, description: Description) -> io::Result<Topic> {
        let json = serde_json::to_vec_pretty(&description)?;
        let (topic, _) = open_topic(dir, description)?;
        super::replace_file(&dir.join(DESCRIPTION), &json)?;
        super::sync_folder(&self.dir)?;
        Ok(topic)
    }

    /// Whether a topic can have so many partitions, and that topic; makes nothing.
    pub(super) fn check_growth(&self, name: &str, partitions: usize) -> Result<Arc<Topic>, ResponseError> {
        let topic = self.get(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        match (topic.partitions.len() + 1..=PARTITIONS_MAX).contains(&partitions) {
            true => Ok(topic),
            false => Err(ResponseError::InvalidPartitions),
        }
    }

    /// Adds partitions to a topic until it has so many.
    pub(super) fn grow(&self, name: &str, partitions: usize) -> io::Result<Result<(), ResponseError>> {
        let _changing = self.changing.lock();
        let topic = match self.check_growth(name, partitions) {
            Ok(topic) => topic,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let dir = self.dir.join(name);
        let mut all = topic.partitions.clone();
        for partition in all.len()..partitions {
            all.push(Arc::new(Mutex::new(Log::open(&dir.join(partition.to_string()))?.0)));
        }
        let (config, set) = (topic.config.clone(), topic.set.clone());
        let description = Description { id: topic.id.to_string(), partitions, config: set.clone() };
        super::replace_file(&dir.join(DESCRIPTION), &serde_json::to_vec_pretty(&description)?)?;
        let grown = Topic { id: topic.id, partitions: all, config, set };
        self.by_name.write().insert(name.to_owned(), Arc::new(grown));
        Ok(Ok(()))
    }

    /// Deletes a topic and everything in it.
    pub(super) fn delete(&self, name: &str) -> io::Result<bool> {
        let _changing = self.changing.lock();
        let Some(topic) = self.get(name) else { return Ok(false) };
        let dir = self.dir.join(name);
        std::fs::remove_file(dir.join(DESCRIPTION))?;
        self.by_name.write().remove(name);
        for log in &topic.partitions {
            log.lock().leave();
        }
        // Or a power loss might leave a topic without its messages.
        super::sync_folder(&dir)?;
        remove_folder(&dir)?;
        Ok(true)
    }

    /// Deletes what has expired, also where that fails in one of them.
    pub(super) fn expire(&self, now_ms: i64) -> io::Result<()> {
        let mut expired = Ok(());
        for (_, topic) in self.all().into_iter().filter(|(_, topic)| !topic.config.compact) {
            for log in &topic.partitions {
                expired = expired.and(log.lock().expire(&topic.config, now_ms));
            }
        }
        expired
    }

    /// Brings to the disk what is in the topics that are `chosen`, also where one of them fails.
    pub(super) fn flush(&self, chosen: impl Fn(&str) -> bool) -> io::Result<()> {
        let mut flushed = Ok(());
        for (_, topic) in self.all().into_iter().filter(|(name, _)| chosen(name)) {
            for log in &topic.partitions {
                flushed = flushed.and(log.lock().flush());
            }
        }
        flushed
    }
}

/// Whether a folder holds nothing but what is left of a topic: partitions, and a description on its way.
fn is_left_over(dir: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let is_part = |name: &str| name.starts_with(DESCRIPTION) || name.parse::<usize>().is_ok();
        if !name.to_str().is_some_and(is_part) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes a folder, which need not be there.
fn remove_folder(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Opens the partitions, with the bytes that were cut off each.
fn open_topic(dir: &Path, description: Description) -> io::Result<(Topic, Vec<u64>)> {
    let mut partitions = Vec::new();
    let mut torn = Vec::new();
    for partition in 0..description.partitions {
        let (log, cut) = Log::open(&dir.join(partition.to_string()))?;
        partitions.push(Arc::new(Mutex::new(log)));
        torn.push(cut);
    }
    let config = Config::read(&description.config).unwrap_or_default();
    let id = Uuid::try_parse(&description.id).map_err(io::Error::other)?;
    Ok((Topic { id, partitions, config, set: description.config }, torn))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::broker::log::Refusal;
    use crate::broker::log::tests::batch;
    use crate::broker::offsets::{Committed, Place};

    fn open(dir: &Path) -> Topics {
        Topics::open(dir).expect("opens").0
    }

    fn create(topics: &Topics, name: &str) -> Arc<Topic> {
        topics.create(name, 1, BTreeMap::new()).expect("makes").expect("is made")
    }

    fn append(topic: &Topic) -> Result<i64, Refusal> {
        topic.partitions[0].lock().append(&batch(-1, -1, &[1]), &topic.config).expect("writes")
    }

    fn set(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_kafka_takes_is_taken_and_described_as_it_was_set() {
        let dir = tempfile::tempdir().expect("a folder");
        let pairs = [
            ("cleanup.policy", "compact,delete"),
            ("compression.type", "zstd"),
            ("message.timestamp.type", "CreateTime"),
            ("min.insync.replicas", "1"),
            ("retention.ms", "-1"),
            ("segment.ms", "3600000"),
        ];
        open(dir.path()).create("t", 1, set(&pairs)).expect("makes").expect("is made");
        let topic = open(dir.path()).get("t").expect("is there");
        let described: Vec<_> = topic.configs().collect();
        let were_set =
            described.iter().filter(|(.., set)| *set).map(|(name, value, _)| (*name, value.as_str()));
        assert_eq!(were_set.collect::<Vec<_>>(), pairs);
        assert!(described.contains(&("segment.bytes", "67108864".to_owned(), false)));
        assert_eq!(described.len(), pairs.len() + CONFIG_NAMES.len() - 3);
    }

    #[test]
    fn a_setting_that_is_refused_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let topics = open(dir.path());
        for (name, value, expected) in [
            ("segment.sise", "1", "segment.sise is no setting"),
            ("retention.ms", "1d", "retention.ms cannot be \"1d\": it is a whole number"),
            ("segment.bytes", "0", "segment.bytes cannot be \"0\": it is more than 0"),
            ("cleanup.policy", "keep", "cleanup.policy cannot be \"keep\""),
            ("message.timestamp.type", "LogAppendTime", "message.timestamp.type cannot be \"LogAppendTime\""),
        ] {
            let refused = topics.check("t", 1, &set(&[(name, value)])).expect_err(name);
            assert_eq!(refused.error, ResponseError::InvalidConfig);
            assert!(refused.message.starts_with(expected), "{refused:?}");
        }
    }

    #[test]
    fn a_topic_that_cannot_be_made_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        // So deep that the name of a partition's file is longer than the system takes, and that of a description not.
        let mut dir = folder.path().to_owned();
        while dir.as_os_str().len() + 202 < 4_070 {
            dir.push("d".repeat(200));
        }
        dir.push("d".repeat(4_069 - dir.as_os_str().len()));
        let topics = open(&dir);
        let failed = topics.create("t", 1, BTreeMap::new()).err().expect("a name is too long");
        assert!(failed.to_string().contains("0/00000000000000000000.log"), "{failed}");
        assert_eq!(std::fs::read_dir(&dir).expect("a folder").count(), 0);
        assert!(open(&dir).all().is_empty());
    }

    #[test]
    fn a_topic_that_cannot_grow_stays_as_it_was() {
        let dir = tempfile::tempdir().expect("a folder");
        let topics = open(dir.path());
        create(&topics, "t");
        std::fs::write(dir.path().join("t/2"), "no folder").expect("writes");
        topics.grow("t", 3).expect_err("a partition cannot be made");
        assert_eq!(topics.get("t").expect("is there").partitions.len(), 1);
        assert_eq!(open(dir.path()).get("t").expect("is there").partitions.len(), 1);
        topics.grow("t", 2).expect("makes").expect("grows");
        assert_eq!(open(dir.path()).get("t").expect("is there").partitions.len(), 2);
    }

    #[test]
    fn whoever_holds_a_deleted_topic_leaves_the_one_made_anew_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let topics = open(dir.path());
        let old = create(&topics, "t");
        append(&old).expect("is taken");
        assert!(topics.delete("t").expect("deletes"));
        let new = create(&topics, "t");
        append(&new).expect("is taken");
        assert_eq!(append(&old), Err(Refusal::Deleted));
        old.partitions[0].lock().delete_before(1).expect("does nothing");
        let again = open(dir.path()).get("t").expect("is there");
        let log = again.partitions[0].lock();
        assert_eq!((again.id, log.start, log.end), (new.id, 0, 1));
    }

    #[test]
    fn what_is_left_of_a_topic_is_no_part_of_one_of_its_name() {
        let dir = tempfile::tempdir().expect("a folder");
        let topics = open(dir.path());
        append(&create(&topics, "t")).expect("is taken");
        std::fs::rename(dir.path().join("t"), dir.path().join("left")).expect("renames");
        std::fs::remove_file(dir.path().join("left/topic.json")).expect("is deleted");
        assert_eq!(create(&topics, "left").partitions[0].lock().end, 0);
    }

    #[test]
    fn what_is_no_topic_stays_where_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        create(&open(dir.path()), "t");
        std::fs::write(dir.path().join(".DS_Store"), "of a desktop").expect("writes");
        let saved = dir.path().join("saved/00000000000000000000.log");
        std::fs::create_dir(dir.path().join("saved")).expect("makes");
        std::fs::write(&saved, "of somebody").expect("writes");
        let (topics, notices) = Topics::open(dir.path()).expect("opens");
        assert!(
            notices.len() == 2 && notices.iter().any(|said| said.contains("saved is no topic")),
            "{notices:?}"
        );
        assert_eq!(topics.all().len(), 1);
        let refused =
            topics.create("saved", 1, BTreeMap::new()).expect("looks").err().expect("is in the way");
        assert!(refused.message.contains("saved is no topic"), "{refused:?}");
        assert_eq!(std::fs::read(&saved).expect("reads"), b"of somebody");
    }

    #[test]
    fn names_that_differ_in_case_only_are_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let topics = open(dir.path());
        create(&topics, "orders");
        let again = topics.create("orders", 1, BTreeMap::new()).expect("looks").err().expect("is there");
        assert_eq!(again.error, ResponseError::TopicAlreadyExists);
        let refused = topics.create("Orders", 1, BTreeMap::new()).expect("looks").err().expect("is refused");
        assert!(refused.message.contains("topic orders"), "{refused:?}");
    }

    #[test]
    fn a_topic_that_cannot_expire_holds_up_no_other() {
        let dir = tempfile::tempdir().expect("a folder");
        let topics = open(dir.path());
        let set = set(&[("segment.bytes", "1"), ("retention.bytes", "1")]);
        for name in ["a", "b"] {
            let topic = topics.create(name, 1, set.clone()).expect("makes").expect("is made");
            for _ in 0..3 {
                append(&topic).expect("is taken");
            }
        }
        // What should be written there cannot be.
        std::fs::remove_dir_all(dir.path().join("a")).expect("is deleted");
        topics.expire(0).expect_err("the first has no folder");
        let starts = ["a", "b"].map(|name| topics.get(name).expect("is there").partitions[0].lock().start);
        assert_eq!(starts[1], 2);
    }

    #[test]
    fn topics_of_one_name_may_be_made_and_deleted_at_the_same_time() {
        let dir = tempfile::tempdir().expect("a folder");
        let topics = open(dir.path());
        std::thread::scope(|threads| {
            let making = threads.spawn(|| {
                for _ in 0..50 {
                    if let Ok(topic) = topics.create("t", 1, BTreeMap::new()).expect("makes") {
                        // Nothing of the one before is in it, unless it is gone itself.
                        assert!(matches!(append(&topic), Ok(0) | Err(Refusal::Deleted)));
                    }
                }
            });
            while !making.is_finished() {
                topics.delete("t").expect("deletes");
            }
        });
        let there = topics.get("t").map(|topic| topic.id);
        assert_eq!(open(dir.path()).get("t").map(|topic| topic.id), there);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_kill_leaves_no_offsets_of_a_topic_that_was_deleted() {
        let dir = tempfile::tempdir().expect("a folder");
        let start = || Broker::start(dir.path(), 0);
        let place = |topic: &str| Place { group: "g".to_owned(), topic: topic.to_owned(), partition: 0 };
        let committed = Committed { offset: 0, metadata: String::new() };
        let broker = start().await.expect("starts");
        for name in ["gone", "kept"] {
            create(&broker.state.topics, name);
            let commit = vec![(place(name), committed.clone())];
            broker.state.offsets.lock().commit(commit).expect("commits");
        }
        // The kill comes before its offsets are forgotten.
        broker.state.topics.delete("gone").expect("deletes");
        broker.stop().await.expect("stops");
        let broker = start().await.expect("starts");
        create(&broker.state.topics, "gone");
        let offset = |topic: &str| broker.state.offsets.lock().get(&place(topic)).cloned();
        assert_eq!((offset("gone"), offset("kept")), (None, Some(committed)));
        broker.stop().await.expect("stops");
    }
}
