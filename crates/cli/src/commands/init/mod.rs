//! `init`: a pipeline file to begin with: the example, or one made from what is there.

mod from;

use std::path::Path;

use millstream_core::Error;

use crate::Outcome;
use crate::load::EXAMPLE;
use crate::output::sayln;

pub(super) async fn run(folder: &Path, from: Option<&str>) -> Outcome {
    if folder.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
        let parent =
            folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Err(Error::user(format!(
            "{} is to be a folder, and is called like a file",
            folder.display()
        ))
        .help(format!("`init {}` writes the pipeline file there under its own name", parent.display()))
        .into());
    }
    let (name, text) = match from {
        None => ("users".to_owned(), EXAMPLE.to_owned()),
        Some(source) => from::pipeline(source).await?,
    };
    let path = folder.join(format!("{name}.yaml"));
    write(&path, &text)?;
    let shown = path.display();
    sayln!(
        "wrote {shown}; next:\n\
         \u{20} millstream check {shown}    what it does, and what is wrong with it\n\
         \u{20} millstream test {shown}     its own tests\n\
         \u{20} millstream run {shown}      once, with everything embedded"
    );
    Ok(())
}

/// Writes a file that must not be there yet.
fn write(path: &Path, text: &str) -> Outcome {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::user(format!("{} is there already", path.display())).help("name another folder")
        }
        _ => Error::user(format!("cannot write {}: {e}", path.display())),
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    Ok(std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?)
}
