//! What became of cases that a real Spark has answered, group by group: none may be answered differently, and
//! only so many may be refused.

use std::collections::BTreeMap;
use std::fmt::Display;

#[derive(Default)]
struct Counts {
    same: usize,
    refused: usize,
    different: usize,
}

/// The cases so far.
#[derive(Default)]
pub(crate) struct Tally {
    groups: BTreeMap<String, Counts>,
    refused: Vec<String>,
    different: Vec<String>,
}

impl Tally {
    pub(crate) fn same(&mut self, group: &str) {
        self.counts(group).same += 1;
    }

    pub(crate) fn refused(&mut self, group: &str, sql: &str, why: impl Display) {
        self.counts(group).refused += 1;
        self.refused.push(format!("{sql}\n  {why}"));
    }

    pub(crate) fn different(&mut self, group: &str, sql: &str, spark: impl Display, here: impl Display) {
        self.counts(group).different += 1;
        self.different.push(format!("{sql}\n  Spark: {spark}\n  here:  {here}"));
    }

    fn counts(&mut self, group: &str) -> &mut Counts {
        self.groups.entry(group.to_owned()).or_default()
    }

    /// Prints what was found; at least so many per cent are to be the same, and none different.
    pub(crate) fn conclude(self, same_percent_min: usize) {
        let (mut same, mut all) = (0, 0);
        println!("{:<20} {:>5} {:>7} {:>9}", "group", "same", "refused", "different");
        for (group, counts) in &self.groups {
            println!("{group:<20} {:>5} {:>7} {:>9}", counts.same, counts.refused, counts.different);
            same += counts.same;
            all += counts.same + counts.refused + counts.different;
        }
        println!("refused:\n{}", self.refused.join("\n"));
        println!("same: {same} of {all} ({} %)", same * 100 / all);
        let different = &self.different;
        assert!(different.is_empty(), "{} answered differently:\n{}", different.len(), different.join("\n"));
        assert!(same * 100 >= same_percent_min * all, "only {same} of {all} are answered");
    }
}
