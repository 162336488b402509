//! Where a flow's queries keep how far they have come, and where changed ones begin.
//!
//! `FOLDER/PIPELINE.FLOW/TOPIC@ID/NUMBER-DIGEST/QUERY`: a topic of the same name that was made anew is another
//! one, its offsets mean something else. What the file says of the flow has a number and a digest; where it says
//! something new, its two queries get a folder of their own and begin together, at the message that one of the
//! old two had not reached. So none is judged by the old file in one of them and by the new file in the other,
//! which could leave it in neither table nor list.

use std::collections::{BTreeMap, BTreeSet};

use millstream_core::{Error, RemoteFlow, Result};
use serde_json::Value;

use crate::session::{Session, TextFile};
use crate::text::digest;

/// The folders of a version's queries.
pub(crate) const ROWS: &str = "rows";
pub(crate) const DEAD_LETTERS: &str = "dead-letters";

/// By partition, the message that is read next.
type Offsets = BTreeMap<i32, i64>;

/// Where a flow's queries go on.
pub(crate) struct Checkpoints {
    folder: String,
    begin: Option<Offsets>,
}

impl Checkpoints {
    /// Finds them in `folder`, which is that of the flow's topic. Queries that still write there must have ended.
    pub(crate) async fn find(session: &Session, folder: &str, flow: &RemoteFlow) -> Result<Self> {
        let what = "looking for checkpoints";
        let begun = session.texts(what, &format!("{}/*/*/metadata", escaped(folder))).await?;
        let known: BTreeSet<_> = begun.iter().filter_map(Version::of).collect();
        let version = Version::next(&known, meaning(flow));
        // From the newest backwards, until both queries of one have finished a batch: what has not begins where that
        // version began, which is what the one before says. Where none says, at the beginning.
        let (mut begin, mut known_to_both) = (None, false);
        for earlier in known.range(..&version).rev() {
            let pattern = |part: &str| format!("{}/{earlier}/*/{part}/*", escaped(folder));
            let commits = session.texts(what, &pattern("commits")).await?;
            let offsets = session.texts(what, &pattern("offsets")).await?;
            known_to_both = true;
            for query in [ROWS, DEAD_LETTERS] {
                match reached(query, &flow.topic, &commits, &offsets)? {
                    Some(reached) => begin = Some(earliest(begin, reached)),
                    None => known_to_both = false,
                }
            }
            if known_to_both {
                break;
            }
        }
        let begin = begin.filter(|_| known_to_both);
        Ok(Self { folder: format!("{folder}/{version}"), begin })
    }

    /// The folder of one query.
    pub(crate) fn of(&self, query: &str) -> String {
        format!("{}/{query}", self.folder)
    }

    /// Where a query begins that has no checkpoint, as Spark's Kafka source takes it, which wants each of
    /// the topic's partitions named.
    pub(crate) fn starting_offsets(&self, topic: &str, partitions: i32) -> String {
        /// The earliest message, in the words of that source.
        const EARLIEST: i64 = -2;
        match &self.begin {
            None => "earliest".to_owned(),
            Some(begin) => {
                let offset = |partition| begin.get(&partition).copied().unwrap_or(EARLIEST);
                let offsets: BTreeMap<_, _> =
                    (0..partitions).map(|partition| (partition.to_string(), offset(partition))).collect();
                serde_json::json!({ topic: offsets }).to_string()
            }
        }
    }
}

/// The folder of what a file says of a flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    number: u32,
    digest: String,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{}", self.number, self.digest)
    }
}

impl Version {
    /// Whose file it is.
    fn of(file: &TextFile) -> Option<Self> {
        let (number, digest) = file.path.rsplit('/').nth(2)?.split_once('-')?;
        Some(Self { number: number.parse().ok()?, digest: digest.to_owned() })
    }

    /// The newest of the known ones where it says the same, else the one behind it.
    fn next(known: &BTreeSet<Self>, digest: String) -> Self {
        match known.last() {
            Some(newest) if newest.digest == digest => newest.clone(),
            newest => Self { number: newest.map_or(1, |newest| newest.number.saturating_add(1)), digest },
        }
    }
}

/// What becomes of a message, in short: where it differs, something else may become of it.
fn meaning(flow: &RemoteFlow) -> String {
    let RemoteFlow { fields, reading, nulls_ignored, sql, table, sink, .. } = flow;
    let all =
        format!("{fields:?} {reading:?} {nulls_ignored} {sql} {table:?} {sink} {}", flow.dead_letter_topic);
    digest(&all)[..8].to_owned()
}

/// Where a query stands behind the last batch that it finished.
fn reached(query: &str, topic: &str, commits: &[TextFile], offsets: &[TextFile]) -> Result<Option<Offsets>> {
    let batch_of = |file: &TextFile| {
        let mut parts = file.path.rsplit('/');
        let batch = parts.next()?.parse::<u64>().ok()?;
        (parts.nth(1)? == query).then_some(batch)
    };
    let Some(last) = commits.iter().filter_map(batch_of).max() else { return Ok(None) };
    let unreadable = || {
        Error::lasting(format!("the checkpoint of batch {last} of the old {query} cannot be read")).help(
            "remove PIPELINE.FLOW in `spark.checkpoints`, and everything in the topic is read by the new query",
        )
    };
    let file = offsets.iter().find(|file| batch_of(file) == Some(last)).ok_or_else(unreadable)?;
    // A version, what the query runs with, and a line for the source.
    let by_topic = file.text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = by_topic.filter_map(|value| value.get(topic)?.as_object().cloned()).next_back();
    let offsets = found.ok_or_else(unreadable)?.into_iter();
    let offsets = offsets.map(|(partition, next)| Some((partition.parse().ok()?, next.as_i64()?)));
    offsets.collect::<Option<_>>().ok_or_else(unreadable).map(Some)
}

/// In each partition the earlier one; a partition that only one knows begins at its beginning.
fn earliest(known: Option<Offsets>, other: Offsets) -> Offsets {
    let Some(known) = known else { return other };
    let both = known
        .into_iter()
        .filter_map(|(partition, next)| Some((partition, next.min(*other.get(&partition)?))));
    both.collect()
}

/// A path of which nothing is taken for a pattern.
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for c in path.chars() {
        if "\\*?[]{}".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: format!("file:/a/p.f/t@id/{path}"), text: text.to_owned() }
    }

    fn offsets(batch: u64, partitions: &str) -> TextFile {
        let text = format!("v1\n{{\"batchWatermarkMs\":0,\"conf\":{{}}}}\n{{\"t\":{{{partitions}}}}}");
        file(&format!("0001-aa/rows/offsets/{batch}"), &text)
    }

    #[test]
    fn another_file_has_another_folder() {
        let known = BTreeSet::from([
            Version::of(&file("0001-aa/rows/metadata", "")).expect("a version"),
            Version::of(&file("0002-bb/rows/metadata", "")).expect("a version"),
        ]);
        assert_eq!(Version::next(&known, "bb".to_owned()).to_string(), "0002-bb");
        // What the first one said is not at its place any more.
        assert_eq!(Version::next(&known, "aa".to_owned()).to_string(), "0003-aa");
        assert_eq!(Version::next(&BTreeSet::new(), "aa".to_owned()).to_string(), "0001-aa");
        assert_eq!(Version::of(&file("rows/offsets/0", "")), None);
    }

    #[test]
    fn a_batch_counts_once_it_is_finished() {
        let known =
            [offsets(9, "\"0\":70"), offsets(10, "\"0\":90,\"1\":4"), offsets(11, "\"0\":99,\"1\":8")];
        let commits = [file("0001-aa/rows/commits/9", ""), file("0001-aa/rows/commits/10", "v1\n{}")];
        let found = reached(ROWS, "t", &commits, &known).expect("reads");
        assert_eq!(found, Some(BTreeMap::from([(0, 90), (1, 4)])));
        assert_eq!(reached(DEAD_LETTERS, "t", &commits, &known).expect("reads"), None);
        reached(ROWS, "another", &commits, &known).expect_err("it is of another topic");
        reached(ROWS, "t", &commits, &known[..1]).expect_err("it is not there");
    }

    #[test]
    fn every_partition_begins_at_the_earlier_one() {
        let begin =
            earliest(Some(BTreeMap::from([(0, 9), (1, 4), (2, 1)])), BTreeMap::from([(0, 7), (1, 5)]));
        let checkpoints = Checkpoints { folder: "f".to_owned(), begin: Some(begin) };
        assert_eq!(checkpoints.starting_offsets("t", 3), r#"{"t":{"0":7,"1":4,"2":-2}}"#);
        let first = Checkpoints { folder: "f".to_owned(), begin: None };
        assert_eq!(first.starting_offsets("t", 1), "earliest");
        assert_eq!(first.of(ROWS), "f/rows");
    }

    #[test]
    fn a_path_is_no_pattern() {
        assert_eq!(escaped("/a[1]/{b}*"), r"/a\[1\]/\{b\}\*");
    }
}
