//! `test`: the tests in the file.

use crate::args::FileArgs;
use crate::load::load;
use crate::output::sayln;
use crate::{FAILED, Failure, Outcome};

pub(super) fn run(args: &FileArgs) -> Outcome {
    let loaded = load(args)?;
    let results = loaded.hide(millstream_engine::test(&loaded.plan))?;
    let mut failed = 0;
    for result in &results {
        let passed = result.differences.is_empty();
        sayln!("{} {}", if passed { "ok    " } else { "FAILED" }, result.name);
        for difference in &result.differences {
            sayln!("         {difference}");
        }
        failed += usize::from(!passed);
    }
    sayln!("{} passed, {failed} failed", results.len() - failed);
    if failed == 0 { Ok(()) } else { Err(Failure::Code(FAILED)) }
}
