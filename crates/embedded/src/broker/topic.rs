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
const CONFIG_NAMES: [&str; 5] =
    ["cleanup.policy", "max.message.bytes", "retention.bytes", "retention.ms", "segment.bytes"];

impl Config {
    /// Reads what was set; an unknown name or a value that is none is Kafka's INVALID_CONFIG.
    fn read(set: &BTreeMap<String, String>) -> Result<Self, ResponseError> {
        let mut config = Self::default();
        for (name, value) in set {
            let number: Result<i64, _> = value.parse().map_err(|_| ResponseError::InvalidConfig);
            let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
            match name.as_str() {
                "segment.bytes" => {
                    config.segment_bytes = positive(number?).ok_or(ResponseError::InvalidConfig)?;
                }
                "max.message.bytes" => {
                    config.max_message_bytes =
                        positive(number?).ok_or(ResponseError::InvalidConfig)? as usize;
                }
                "retention.ms" => config.retention_ms = Some(number?).filter(|ms| *ms >= 0),
                "retention.bytes" => config.retention_bytes = u64::try_from(number?).ok(),
                "cleanup.policy" => match value.as_str() {
                    "compact" | "compact,delete" | "delete,compact" => config.compact = true,
                    "delete" => {}
                    _ => return Err(ResponseError::InvalidConfig),
                },
                "compression.type" | "min.insync.replicas" => {}
                _ => return Err(ResponseError::InvalidConfig),
            }
        }
        Ok(config)
    }

    fn value(&self, name: &str) -> String {
        match name {
            "cleanup.policy" => if self.compact { "compact" } else { "delete" }.to_owned(),
            "max.message.bytes" => self.max_message_bytes.to_string(),
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
    /// Name, value and whether it was set, for each configuration.
    pub(super) fn configs(&self) -> impl Iterator<Item = (&'static str, String, bool)> {
        CONFIG_NAMES.into_iter().map(|name| (name, self.config.value(name), self.set.contains_key(name)))
    }
}

/// All topics.
pub(super) struct Topics {
    dir: PathBuf,
    by_name: RwLock<BTreeMap<String, Arc<Topic>>>,
}

impl Topics {
    /// Opens the topics in `dir`, with a notice for each torn end that was cut off.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Vec<String>)> {
        std::fs::create_dir_all(dir)?;
        let mut by_name = BTreeMap::new();
        let mut notices = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let description = match std::fs::read(entry.path().join("topic.json")) {
                Ok(json) => serde_json::from_slice::<Description>(&json)?,
                // Killed while it was made or deleted: it was never there, or is gone.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    std::fs::remove_dir_all(entry.path())?;
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
        Ok((Self { dir: dir.to_owned(), by_name: RwLock::new(by_name) }, notices))
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
    ) -> Result<(), ResponseError> {
        let named = !matches!(name, "" | "." | "..")
            && name.len() <= NAME_BYTES_MAX
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !named {
            return Err(ResponseError::InvalidTopicException);
        }
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            return Err(ResponseError::InvalidPartitions);
        }
        Config::read(set)?;
        match self.by_name.read().contains_key(name) {
            true => Err(ResponseError::TopicAlreadyExists),
            false => Ok(()),
        }
    }

    /// Makes a topic.
    pub(super) fn create(
        &self,
        name: &str,
        partitions: usize,
        set: BTreeMap<String, String>,
    ) -> io::Result<Result<Arc<Topic>, ResponseError>> {
        if let Err(refusal) = self.check(name, partitions, &set) {
            return Ok(Err(refusal));
        }
        let mut by_name = self.by_name.write();
        if by_name.contains_key(name) {
            return Ok(Err(ResponseError::TopicAlreadyExists));
        }
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let description = Description { id: Uuid::new_v4().to_string(), partitions, config: set };
        super::replace_file(&dir.join("topic.json"), &serde_json::to_vec_pretty(&description)?)?;
        let topic = Arc::new(open_topic(&dir, description)?.0);
        by_name.insert(name.to_owned(), topic.clone());
        Ok(Ok(topic))
    }

    /// Whether a topic can have so many partitions; makes nothing.
    pub(super) fn check_growth(&self, name: &str, partitions: usize) -> Result<(), ResponseError> {
        let topic = self.get(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        match (topic.partitions.len() + 1..=PARTITIONS_MAX).contains(&partitions) {
            true => Ok(()),
            false => Err(ResponseError::InvalidPartitions),
        }
    }

    /// Adds partitions to a topic until it has so many.
    pub(super) fn grow(&self, name: &str, partitions: usize) -> io::Result<Result<(), ResponseError>> {
        if let Err(refusal) = self.check_growth(name, partitions) {
            return Ok(Err(refusal));
        }
        let mut by_name = self.by_name.write();
        let Some(topic) = by_name.get(name).filter(|topic| topic.partitions.len() < partitions) else {
            return Ok(Err(ResponseError::InvalidPartitions));
        };
        let dir = self.dir.join(name);
        let description = Description { id: topic.id.to_string(), partitions, config: topic.set.clone() };
        super::replace_file(&dir.join("topic.json"), &serde_json::to_vec_pretty(&description)?)?;
        let mut all = topic.partitions.clone();
        for partition in all.len()..partitions {
            all.push(Arc::new(Mutex::new(Log::open(&dir.join(partition.to_string()))?.0)));
        }
        let (config, set) = (topic.config.clone(), topic.set.clone());
        let grown = Topic { id: topic.id, partitions: all, config, set };
        by_name.insert(name.to_owned(), Arc::new(grown));
        Ok(Ok(()))
    }

    /// Deletes a topic and everything in it.
    pub(super) fn delete(&self, name: &str) -> io::Result<bool> {
        let found = self.by_name.write().remove(name).is_some();
        if found {
            let dir = self.dir.join(name);
            // The description goes first: a kill in between leaves a topic that is gone.
            std::fs::remove_file(dir.join("topic.json"))?;
            std::fs::remove_dir_all(dir)?;
        }
        Ok(found)
    }

    /// Deletes what has expired.
    pub(super) fn expire(&self, now_ms: i64) -> io::Result<()> {
        for (_, topic) in self.all().into_iter().filter(|(_, topic)| !topic.config.compact) {
            for log in &topic.partitions {
                log.lock().expire(&topic.config, now_ms)?;
            }
        }
        Ok(())
    }

    /// Brings to the disk what is in the topics that are `chosen`.
    pub(super) fn flush(&self, chosen: impl Fn(&str) -> bool) -> io::Result<()> {
        for (_, topic) in self.all().into_iter().filter(|(name, _)| chosen(name)) {
            for log in &topic.partitions {
                log.lock().flush()?;
            }
        }
        Ok(())
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
