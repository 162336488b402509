//! `init`: a pipeline file to begin with.

use std::path::Path;

use millstream_core::Error;

use crate::Outcome;
use crate::load::EXAMPLE;

pub(super) fn run(folder: &Path) -> Outcome {
    let path = folder.join("users.yaml");
    let failed = |e: std::io::Error| Error::user(format!("cannot write {}: {e}", path.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = file.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::user(format!("{} is there already", path.display())).help("name another folder")
        }
        _ => failed(e),
    })?;
    std::io::Write::write_all(&mut file, EXAMPLE.as_bytes()).map_err(failed)?;
    let shown = path.display();
    eprintln!("wrote {shown}; next:");
    eprintln!("  millstream check {shown}    what it does, and what is wrong with it");
    eprintln!("  millstream test {shown}     its own tests");
    eprintln!("  millstream run {shown}      for a minute, with everything embedded");
    Ok(())
}
