//! Files as a source: a record a line, packed or not, one file after another. Nothing is
//! remembered: every run reads them from the beginning.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use flate2::bufread::MultiGzDecoder;
use millstream_core::settings::{self, WhenEmpty};
use millstream_core::{
    Arrivals, Checkpoint, Commit, Counts, Error, Origin, Record, Records, Result, Scope, Source, SourceKind,
    SourcePlan, now_ms,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

/// A batch is handed over when it has so many records or bytes.
const BATCH_RECORDS_MAX: usize = 8_192;
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Batches that wait for the engine.
const BATCHES_WAITING_MAX: usize = 1;
/// A longer line is no record of anybody's.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Standard input instead of a file.
pub const STDIN: &str = "-";

/// Records out of files, a JSON object a line. Lines with nothing but white space are passed over.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    /// A path, or a pattern like `old/*.jsonl.gz`, from the pipeline file's folder; `-` is standard
    /// input, for one flow, and not under `up`. Files that match are read in the order of their names; gzip and
    /// zstd are unpacked.
    #[schemars(length(min = 1))]
    pub file: String,
    /// What a record looks like, in Spark's DDL form: `id STRING, n INT`.
    pub schema: String,
    /// What a run without a single record is: `fail` or `ok`. Default `fail`.
    #[serde(default)]
    pub when_empty: WhenEmpty,
}

/// The kind `file`.
#[derive(Debug, Clone, Copy)]
pub struct FileKind;

#[async_trait]
impl SourceKind for FileKind {
    fn name(&self) -> &'static str {
        "file"
    }

    fn settings(&self) -> Schema {
        schema_for!(FileSettings)
    }

    fn plan(&self, settings: &Value) -> Result<SourcePlan> {
        let settings: FileSettings = settings::read(settings)?;
        glob::Pattern::new(&settings.file).map_err(|e| {
            Error::user(format!("`{}` is no pattern of paths: {e}", settings.file))
                .help("write old/*.jsonl, or [*] for a star that is meant as one")
                .at("file")
        })?;
        Ok(SourcePlan {
            address: if settings.file == STDIN { "standard input".to_owned() } else { settings.file },
            schema: Some(settings.schema),
            empty_run_fails: settings.when_empty == WhenEmpty::Fail,
            is_dated: true,
            ..SourcePlan::default()
        })
    }

    async fn open(&self, settings: &Value, scope: &Scope) -> Result<Box<dyn Source>> {
        let settings: FileSettings = settings::read(settings)?;
        let files = match settings.file.as_str() {
            STDIN => vec![PathBuf::from(STDIN)],
            pattern => matching(pattern, &scope.folder)?,
        };
        let (sender, batches) = mpsc::channel(BATCHES_WAITING_MAX);
        // A thread of its own: reading standard input may wait for ever, and a stop must not.
        std::thread::Builder::new()
            .name("files".to_owned())
            .spawn(move || read_files(&files, &sender))
            .map_err(|e| Error::ours(format!("cannot start a thread: {e}")))?;
        Ok(Box::new(FileSource { batches }))
    }
}

/// The files that a pattern means, in the order of their names.
fn matching(pattern: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    let whole = folder.join(pattern);
    let found = glob::glob(&pattern_in(folder, pattern)?)
        .map_err(|e| Error::user(format!("`{pattern}` is no pattern of paths: {e}")))?;
    let mut files = Vec::new();
    for entry in found {
        let path = entry.map_err(|e| Error::lasting(format!("cannot look for {pattern}: {e}")))?;
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(Error::user(format!("no file matches {}", whole.display())).help("is the path right?")),
        false => Ok(files),
    }
}

/// A pattern of paths in a folder, which is no part of the pattern, whatever stands in its name.
pub fn pattern_in(folder: &Path, pattern: &str) -> Result<String> {
    let name = folder.to_str().ok_or_else(|| Error::user(format!("`{}` is no text", folder.display())))?;
    let whole = Path::new(&glob::Pattern::escape(name)).join(pattern);
    Ok(whole.to_string_lossy().into_owned())
}

struct FileSource {
    batches: mpsc::Receiver<Result<Records>>,
}

#[async_trait]
impl Source for FileSource {
    async fn next(&mut self) -> Result<Option<Records>> {
        self.batches.recv().await.transpose()
    }

    async fn commit(&mut self, checkpoint: &Checkpoint, _: Commit) -> Result<Counts> {
        Ok(checkpoint.counts())
    }
}

/// Sends the records of all files; ends early when nobody takes them.
fn read_files(files: &[PathBuf], sender: &mpsc::Sender<Result<Records>>) {
    let mut arrivals = Arrivals::default();
    for path in files {
        let mut lines = 0;
        let read = open(path).and_then(|reader| read_lines(reader, path, &mut lines, &mut arrivals, sender));
        match read {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                let message = format!("cannot read {} after line {lines}: {error}", path.display());
                let help = "is it whole? what came before it is not lost";
                // The source has ended if nobody takes it.
                let _ = sender.blocking_send(Err(Error::lasting(message).help(help)));
                return;
            }
        }
    }
}

/// Opens a file; how it is packed is seen from how it begins.
fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    const CAPACITY: usize = 128 << 10;
    let raw: Box<dyn Read> = match path == Path::new(STDIN) {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path)?),
    };
    let mut raw = BufReader::with_capacity(CAPACITY, raw);
    let start = raw.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(BufReader::with_capacity(CAPACITY, MultiGzDecoder::new(raw))))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Ok(Box::new(BufReader::with_capacity(CAPACITY, zstd::Decoder::with_buffer(raw)?)))
    } else {
        Ok(Box::new(raw))
    }
}

/// Sends the lines of one file, `lines` counting them and `arrivals` dating them; false when nobody takes them any more.
fn read_lines(
    mut reader: impl BufRead,
    path: &Path,
    lines: &mut i64,
    arrivals: &mut Arrivals,
    sender: &mpsc::Sender<Result<Records>>,
) -> io::Result<bool> {
    let origin = Arc::new(Origin { address: path.display().to_string(), run_ms: None });
    let empty = || Records::from_origin(origin.clone());
    let mut records = empty();
    let mut came_ms = now_ms();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = match read_line(&mut reader, &mut line) {
            Ok(read) => read,
            Err(error) => {
                // What came before it is good.
                let _ = sender.blocking_send(Ok(records));
                return Err(error);
            }
        };
        if read {
            *lines += 1;
            let mut value = line.as_slice();
            if *lines == 1 {
                value = value.strip_prefix(b"\xef\xbb\xbf").unwrap_or(value);
            }
            if !value.trim_ascii().is_empty() {
                records.push(Record::of_value(value, *lines).at(arrivals.timestamp(*lines, came_ms)));
            }
        }
        let is_full = records.len() >= BATCH_RECORDS_MAX || records.size_bytes() >= BATCH_BYTES_MAX;
        if is_full || !read && !records.is_empty() {
            if sender.blocking_send(Ok(std::mem::replace(&mut records, empty()))).is_err() {
                return Ok(false);
            }
            came_ms = now_ms();
        }
        if !read {
            return Ok(true);
        }
    }
}

/// The next line without its end; false when there is none.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    let read = reader.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', line)?;
    if line.len() > LINE_BYTES_MAX {
        let mib = LINE_BYTES_MAX >> 20;
        return Err(io::Error::other(format!(
            "a line is longer than {mib} MiB; is it JSON, an object a line?"
        )));
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(read > 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;

    use super::*;

    async fn read(folder: &Path, file: &str) -> Result<Vec<(String, i64, String)>> {
        let settings = json!({"file": file, "schema": "a INT"});
        FileKind.plan(&settings)?;
        let scope = Scope { folder: folder.to_owned(), ..Scope::default() };
        let mut source = FileKind.open(&settings, &scope).await?;
        let mut found = Vec::new();
        while let Some(records) = source.next().await? {
            let origin = records.origin.clone().expect("a file");
            let name = Path::new(&origin.address).file_name().expect("a name").to_string_lossy().into_owned();
            for record in records.iter() {
                let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
                found.push((name.clone(), record.offset, value));
            }
        }
        Ok(found)
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).expect("packs");
        packed.finish().expect("packs")
    }

    #[tokio::test]
    async fn lines_are_records_however_they_are_packed() {
        let folder = tempfile::tempdir().expect("a folder");
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("writes");
        write("b.jsonl", b"\xef\xbb\xbf{\"a\":1}\r\n\n  \n{\"a\":2}");
        // Two packed parts behind each other are one file.
        write("a.jsonl.gz", &[gzip("{\"a\":3}\n"), gzip("{\"a\":4}\n")].concat());
        write("c.jsonl", &zstd::encode_all(&b"{\"a\":5}\n"[..], 1).expect("packs"));
        write("other.txt", b"no");
        let found = read(folder.path(), "*.jsonl*").await.expect("reads");
        let expected = [
            ("a.jsonl.gz", 1, "{\"a\":3}"),
            ("a.jsonl.gz", 2, "{\"a\":4}"),
            ("b.jsonl", 1, "{\"a\":1}"),
            ("b.jsonl", 4, "{\"a\":2}"),
            ("c.jsonl", 1, "{\"a\":5}"),
        ];
        let expected = expected.map(|(name, line, value)| (name.to_owned(), line, value.to_owned()));
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn the_folder_may_have_any_name() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("[2024] *?");
        std::fs::create_dir(&folder).expect("makes");
        std::fs::write(folder.join("a.jsonl"), b"{\"a\":1}\n").expect("writes");
        for file in ["a.jsonl", "*.jsonl"] {
            assert_eq!(read(&folder, file).await.expect(file).len(), 1, "{file}");
        }
        let error = read(&folder, "b.jsonl").await.expect_err("nothing there");
        assert!(error.message.contains("[2024] *?/b.jsonl"), "{error}");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_said_and_what_came_before_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = read(folder.path(), "*.jsonl").await.expect_err("nothing there");
        assert!(missing.message.contains("no file matches"), "{missing}");
        assert!(read(folder.path(), "a[").await.expect_err("no pattern").message.contains("no pattern"));
        let text: String = (0..100_000).map(|n| format!("{{\"a\":{n}}}\n")).collect();
        let packed = gzip(&text);
        std::fs::write(folder.path().join("cut.gz"), &packed[..packed.len() / 2]).expect("writes");
        let settings = json!({"file": "cut.gz", "schema": "a INT"});
        let scope = Scope { folder: folder.path().to_owned(), ..Scope::default() };
        let mut source = FileKind.open(&settings, &scope).await.expect("opens");
        let mut count = 0;
        let error = loop {
            match source.next().await {
                Ok(records) => count += records.expect("an error before the end").len(),
                Err(error) => break error,
            }
        };
        assert!(count > 10_000, "{count}");
        assert!(error.message.contains(&format!("after line {count}")), "{error}");
    }
}
