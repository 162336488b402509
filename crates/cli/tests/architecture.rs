//! House rules: which crate may use which, and that generated pages are not stale.

mod support;

use std::path::{Path, PathBuf};

use support::{millstream, output, stdout};

/// Each crate and those of ours that it may use: dependencies point inwards.
const ARROWS: [(&str, &[&str]); 8] = [
    ("core", &[]),
    ("connectors", &["core"]),
    ("embedded", &["core"]),
    ("sql", &["core"]),
    ("spark", &["core"]),
    ("engine", &["core", "sql"]),
    ("server", &["core", "engine"]),
    ("cli", &["core", "connectors", "embedded", "engine", "server", "spark", "sql"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn dependencies_point_inwards() {
    let mut crates: Vec<_> = std::fs::read_dir(root().join("crates"))
        .expect("crates")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    crates.sort();
    let mut known: Vec<_> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    known.sort();
    assert_eq!(crates, known, "a new crate needs its line in ARROWS and in ARCHITECTURE.md");
    for (name, allowed) in ARROWS {
        let manifest = read(&format!("crates/{name}/Cargo.toml"));
        let dependencies = manifest.split("[dev-dependencies]").next().expect("a manifest");
        for line in dependencies.lines().filter_map(|line| line.strip_prefix("millstream-")) {
            let used = line.split(['.', ' ', '=']).next().expect("a name");
            assert!(allowed.contains(&used), "{name} must not use {used}: dependencies point inwards");
        }
    }
}

/// The files of a folder and of those in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn only_bind_knows_where_a_name_meets_a_backend() {
    for path in files(&root().join("crates/engine/src")) {
        let text = std::fs::read_to_string(&path).expect("reads");
        for backend in ["rdkafka", "librdkafka", "sqlite", "reqwest", "embedded:"] {
            assert!(
                !text.contains(backend),
                "{} names {backend}; the engine names no connector",
                path.display()
            );
        }
    }
}

#[test]
fn the_reference_page_is_not_stale() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = stdout(&output(millstream(folder.path()).args(["json-schema", "--markdown"])));
    assert!(
        made == read("docs/reference.md"),
        "docs/reference.md is stale: millstream json-schema --markdown > docs/reference.md"
    );
}

#[test]
fn the_readmes_pipeline_runs_and_its_first_screen_is_short() {
    let readme = read("README.md");
    let block =
        readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a pipeline");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("readme.yaml"), block).expect("writes");
    let check = output(millstream(folder.path()).args(["check", "readme.yaml"]));
    assert_eq!(check.status.code(), Some(0), "{}", support::stderr(&check));
    assert!(readme.starts_with("# Millstream\n"));
    for command in ["cargo run --release -- demo --once", "cargo test --release --workspace"] {
        assert!(readme.contains(command), "the README says {command}");
    }
}
