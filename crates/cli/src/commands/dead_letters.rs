//! `dead-letters`: what could not be processed, with its reason, its place and its bytes.

use std::collections::BTreeMap;

use millstream_connectors::kafka::{Connection, read_all};
use millstream_core::{DeadLetter, Error, Reason, Record, settings};
use tokio::task::block_in_place;

use super::run::start;
use crate::args::{DeadLetters, FileArgs};
use crate::load::{Loaded, load};
use crate::state::{State, live_owner};
use crate::{Outcome, output};

/// A dead letter with the original's bytes.
struct Found {
    letter: DeadLetter,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    timestamp: i64,
}

pub(super) async fn run(command: DeadLetters) -> Outcome {
    match command {
        DeadLetters::List { file, flow, reason } => list(&file, flow.as_deref(), reason.as_deref()).await,
        DeadLetters::Show { file, place } => show(&file, &place).await,
    }
}

async fn list(args: &FileArgs, flow: Option<&str>, reason: Option<&str>) -> Outcome {
    if let Some(reason) = reason.filter(|reason| Reason::from_name(reason).is_none()) {
        let names = Reason::ALL.map(Reason::name).join(", ");
        return Err(Error::user(format!("`{reason}` is no reason")).help(format!("one of {names}")).into());
    }
    let found = read(args).await?;
    let wanted = found.values().filter(|found| {
        flow.is_none_or(|flow| found.letter.flow == flow)
            && reason.is_none_or(|reason| found.letter.reason.name() == reason)
    });
    let mut out = String::new();
    let mut count = 0;
    for found in wanted {
        let letter = &found.letter;
        let detail = letter.detail.replace(['\n', '\t'], " ");
        out.push_str(&format!("{}\t{}\t{detail}\n", letter.place(), letter.reason));
        count += 1;
    }
    output::results(&out)?;
    eprintln!("{count} dead letter(s)");
    Ok(())
}

async fn show(args: &FileArgs, place: &str) -> Outcome {
    let found = read(args).await?;
    let Some(found) = found.get(place) else {
        return Err(Error::user(format!("there is no dead letter {place}"))
            .help("write its place as `list` prints it")
            .into());
    };
    let text = |bytes: &Option<Vec<u8>>| match bytes {
        None => "null".to_owned(),
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    };
    let mut out = format!("reason     {}\ndetail     {}\n", found.letter.reason, found.letter.detail);
    if let Some(origin) = &found.letter.origin {
        out.push_str(&format!("origin     {}\n", origin.address));
    }
    out.push_str(&format!("timestamp  {}\nkey        {}\n", found.timestamp, text(&found.key)));
    for (name, value) in &found.headers {
        out.push_str(&format!("header     {name}: {}\n", String::from_utf8_lossy(value)));
    }
    out.push_str(&format!("value      {}\n", text(&found.value)));
    output::results(&out)?;
    Ok(())
}

async fn read(args: &FileArgs) -> Outcome<BTreeMap<String, Found>> {
    let mut loaded = load(args)?;
    // A pipeline that is running is asked; else its broker is started for a moment.
    if let Some(broker) = live_owner(&loaded.state).and_then(|owner| owner.broker) {
        return collect(&loaded, &Connection { brokers: broker });
    }
    let state = State::take(&loaded.state)?;
    let services = start(&mut loaded, &state).await?;
    let connection: Connection = settings::read(&services.settings["kafka"])?;
    let found = collect(&loaded, &connection);
    services.stop().await?;
    found
}

fn collect(loaded: &Loaded, connection: &Connection) -> Outcome<BTreeMap<String, Found>> {
    let mut topics: Vec<_> = loaded.plan.flows.iter().map(|flow| flow.dead_letter_topic.clone()).collect();
    topics.sort();
    topics.dedup();
    let mut found = BTreeMap::new();
    for topic in topics {
        // Without a dead letter there is no topic of them.
        let read = block_in_place(|| {
            read_all(connection, &topic, |records| {
                for record in records.iter() {
                    if let Some(letter) = DeadLetter::from_record(&record) {
                        found.insert(letter.place(), kept(letter, &record));
                    }
                }
                Ok(true)
            })
        });
        loaded.hide(read)?;
    }
    Ok(found)
}

fn kept(letter: DeadLetter, record: &Record<'_>) -> Found {
    Found {
        letter,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record
            .headers
            .iter()
            .filter(|(name, _)| !name.starts_with("millstream."))
            .cloned()
            .collect(),
        timestamp: record.timestamp,
    }
}
