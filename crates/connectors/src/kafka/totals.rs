//! What travels in the metadata of a committed offset: what became of everything before it, and
//! of which topic it is an offset at all.

use millstream_core::{Counts, Error};
use serde::{Deserialize, Serialize};

/// The metadata of a committed offset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    /// What became of all records before the offset, over all runs.
    #[serde(flatten)]
    pub(super) counts: Counts,
    /// The topic's id, where the broker gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) topic_id: Option<String>,
}

impl Totals {
    /// Reads what [`Totals::text`] wrote; nothing of what others write there.
    pub(super) fn read(metadata: &str) -> Self {
        serde_json::from_str(metadata).unwrap_or_default()
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("numbers are JSON")
    }

    /// Whether the offset is one of another topic that had the same name.
    pub(super) fn is_of_another(&self, topic_id: Option<&str>) -> bool {
        matches!((self.topic_id.as_deref(), topic_id), (Some(then), Some(now)) if then != now)
    }
}

/// What a group has committed are offsets of another topic.
pub(super) fn made_anew(topic: &str, group: &str) -> Error {
    Error::lasting(format!(
        "topic {topic} was deleted and made anew since group {group} read it: its offsets are those of another topic"
    ))
    .help("`reset FILE --flow FLOW --to earliest` reads the new one from its beginning; `--to latest` only what comes from now on")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_comes_back_and_that_of_others_is_nothing() {
        let counts = Counts { read: 3, passed: 2, dead: 1, ..Counts::default() };
        let totals = Totals { counts, topic_id: Some("a".into()) };
        assert_eq!(Totals::read(&totals.text()), totals);
        for foreign in ["", "by hand", "{}", "[1]"] {
            assert_eq!(Totals::read(foreign), Totals::default(), "{foreign}");
        }
    }

    #[test]
    fn a_topic_without_an_id_is_taken_for_the_same() {
        let known = Totals { topic_id: Some("a".into()), ..Totals::default() };
        assert!(known.is_of_another(Some("b")));
        assert!(!known.is_of_another(Some("a")));
        assert!(!known.is_of_another(None));
        assert!(!Totals::default().is_of_another(Some("a")));
    }
}
