//! `dead-letters`: what could not be processed, with its reason, its place and its bytes; sent
//! again once the cause is mended, or laid aside.

mod book;
mod replay;

use std::collections::BTreeSet;

use millstream_connectors::kafka::Connection;
use millstream_core::{Error, Reason, Result, Settled};
use millstream_engine::Plan;

use self::book::WHOLE;
pub(super) use self::book::{Book, Found, Original, read_originals, settle};
pub(super) use self::replay::replay;
use super::attached::Attached;
use crate::args::{DeadLetters, FileArgs, LetterFilter};
use crate::load::load;
use crate::output::sayln;
use crate::{Outcome, output};

pub(super) async fn run(command: DeadLetters) -> Outcome {
    match command {
        DeadLetters::List { file, filter } => list(&file, &filter).await,
        DeadLetters::Show { file, place } => show(&file, &place).await,
        DeadLetters::Replay { file, filter, patience } => replay::run(&file, &filter, patience).await,
        DeadLetters::Purge { file, filter, all } => purge(&file, &filter, all).await,
    }
}

/// The letters that are meant, in the order of their places; those named one by one must be there.
pub(super) fn wanted<'b>(book: &'b Book, filter: &LetterFilter) -> Result<Vec<(&'b String, &'b Found)>> {
    if let Some(reason) = filter.reason.as_ref().filter(|reason| Reason::from_name(reason).is_none()) {
        let names = Reason::ALL.map(Reason::name).join(", ");
        return Err(Error::user(format!("`{reason}` is no reason")).help(format!("one of {names}")));
    }
    if let Some(place) = filter.places.iter().find(|place| !book.open.contains_key(*place)) {
        return Err(Error::user(format!("there is no dead letter {place}"))
            .help("write its place as `list` prints it"));
    }
    let is_meant = |place: &String, found: &Found| {
        let letter = &found.letter;
        (filter.places.is_empty() || filter.places.contains(place))
            && filter.flow.as_ref().is_none_or(|flow| letter.flow == *flow)
            && filter.reason.as_ref().is_none_or(|reason| letter.reason.name() == reason)
            && filter.contains.as_ref().is_none_or(|text| letter.detail.contains(text))
    };
    Ok(book.open.iter().filter(|(place, found)| is_meant(place, found)).collect())
}

async fn list(args: &FileArgs, filter: &LetterFilter) -> Outcome {
    let book = read(args).await?;
    let wanted = wanted(&book, filter)?;
    let mut out = String::new();
    for (place, found) in &wanted {
        let detail = found.letter.detail.replace(['\n', '\t'], " ");
        out.push_str(&format!("{place}\t{}\t{detail}\n", found.letter.reason));
    }
    output::results(&out)?;
    sayln!("{} dead letter(s)", wanted.len());
    Ok(())
}

async fn show(args: &FileArgs, place: &str) -> Outcome {
    let mut loaded = load(args)?;
    let attached = Attached::to(&mut loaded).await?;
    let filter = LetterFilter { places: vec![place.to_owned()], ..LetterFilter::default() };
    let described = describe(&attached.connection, &topics(&loaded.plan), &filter);
    attached.detach().await?;
    output::results(&loaded.hide(described)?)?;
    Ok(())
}

/// The letters that are meant, whole.
fn describe(connection: &Connection, topics: &[String], filter: &LetterFilter) -> Result<String> {
    let book = Book::read(connection, topics)?;
    let wanted = wanted(&book, filter)?;
    let originals = read_originals(connection, &wanted, WHOLE)?;
    Ok(wanted.iter().zip(&originals).map(|((_, found), original)| described(found, original)).collect())
}

fn described(found: &Found, original: &Original) -> String {
    let text = |bytes: &Option<Vec<u8>>| match bytes {
        None => "null".to_owned(),
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    };
    let letter = &found.letter;
    let mut out = format!("reason     {}\ndetail     {}\n", letter.reason, letter.detail);
    if let Some(origin) = &letter.origin {
        out.push_str(&format!("origin     {}\n", origin.address));
    }
    if let Some(cut) = &letter.cut {
        out.push_str(&format!("cut        of {} bytes, SHA-256 {}\n", cut.length_bytes, cut.sha256));
    }
    out.push_str(&format!("timestamp  {}\nkey        {}\n", found.timestamp, text(&original.key)));
    for (name, value) in &original.headers {
        out.push_str(&format!("header     {name}: {}\n", text(value)));
    }
    out.push_str(&format!("value      {}\n", text(&original.value)));
    out
}

async fn purge(args: &FileArgs, filter: &LetterFilter, all: bool) -> Outcome {
    if !all && *filter == LetterFilter::default() {
        let error = Error::user("which dead letters are meant?");
        return Err(error.help("name their places, or use --flow, --reason, --contains or --all").into());
    }
    let mut loaded = load(args)?;
    let attached = Attached::to(&mut loaded).await?;
    let purged = lay_aside(&attached.connection, &topics(&loaded.plan), filter).await;
    attached.detach().await?;
    let count = loaded.hide(purged)?;
    sayln!("{count} dead letter(s) purged");
    Ok(())
}

/// Settles the letters that are meant; how many.
async fn lay_aside(connection: &Connection, topics: &[String], filter: &LetterFilter) -> Result<usize> {
    let book = Book::read(connection, topics)?;
    let wanted = wanted(&book, filter)?;
    settle(connection, &wanted, Settled::Purged).await?;
    Ok(wanted.len())
}

async fn read(args: &FileArgs) -> Outcome<Book> {
    let mut loaded = load(args)?;
    let attached = Attached::to(&mut loaded).await?;
    let book = Book::read(&attached.connection, &topics(&loaded.plan));
    attached.detach().await?;
    loaded.hide(book)
}

/// The topics that the pipeline keeps dead letters in.
pub(super) fn topics(plan: &Plan) -> Vec<String> {
    let topics: BTreeSet<_> = plan.flows.iter().map(|flow| flow.dead_letter_topic.clone()).collect();
    topics.into_iter().collect()
}
