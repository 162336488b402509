//! A Kafka broker of one node. It listens on loopback only and has no transactions, no access
//! control and no replicas; what it does not serve it refuses with Kafka's own errors.

mod api;
mod batch;
mod group;
mod guard;
mod log;
mod offsets;
mod segment;
mod topic;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_core::{DeadLetter, Error, Result, STATE_TOPIC, now_ms};
use parking_lot::{Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::block_in_place;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use group::Groups;
use offsets::Offsets;
use topic::Topics;

use crate::TableStore;
use crate::table::Flusher;

/// Producer ids are reserved in blocks of this size before they are handed out, so that none is ever given twice.
const PRODUCER_IDS_AT_ONCE: i64 = 1_000_000;

/// What all connections share.
struct State {
    port: u16,
    topics: Topics,
    groups: Mutex<Groups>,
    offsets: Mutex<Offsets>,
    /// One flush at a time.
    flushing: Mutex<()>,
    /// The tables that rows are written to before their offsets are committed.
    tables: Option<Mutex<Flusher>>,
    /// The topics of dead letters, as the pipelines call them.
    dead_letters: Vec<String>,
    /// Where everything lives.
    dir: PathBuf,
    /// Those that are reserved and free.
    producer_ids: Mutex<Range<i64>>,
    /// Wakes the fetches that wait for data.
    appended: Notify,
    stopping: CancellationToken,
    /// When it was last said that the disk fails.
    disk_failure_said: Mutex<Option<Instant>>,
}

/// A running broker. Call [`Broker::stop`] to end it in order; a kill loses nothing that was
/// acknowledged.
pub struct Broker {
    state: Arc<State>,
    tasks: TaskTracker,
    notices: Vec<String>,
}

impl Broker {
    /// Opens the topics under `dir` and listens on 127.0.0.1:`port` (0: any free port).
    pub async fn start(dir: &Path, port: u16) -> Result<Self> {
        Self::open(dir, port, None, &[]).await
    }

    /// As [`Broker::start`], beside embedded tables whose rows come from its topics: they reach the
    /// disk after the messages and before the offsets. So do the topics in `dead_letters`, after the rows.
    pub async fn start_beside(
        tables: TableStore,
        dead_letters: &[String],
        dir: &Path,
        port: u16,
    ) -> Result<Self> {
        Self::open(dir, port, Some(tables), dead_letters).await
    }

    async fn open(
        dir: &Path,
        port: u16,
        tables: Option<TableStore>,
        dead_letters: &[String],
    ) -> Result<Self> {
        let listener = listen(port).await?;
        let address = listener.local_addr().map_err(|e| Error::ours(format!("no local address: {e}")))?;
        let failed = |e: io::Error| {
            Error::lasting(format!("cannot open the embedded broker's state in {}: {e}", dir.display()))
        };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let (topics, mut notices) = Topics::open(&dir.join("topics")).map_err(failed)?;
        let mut tables = tables.map(Flusher::new);
        // What was killed has left things in the system's hands. Offsets are written anew below, and must not
        // reach the disk before what they cover.
        flush(&topics, dead_letters, tables.as_mut()).map_err(failed)?;
        let boot = Boot::look(dir).map_err(failed)?;
        let (mut offsets, said) = Offsets::open(&dir.join("offsets"), boot.is_another).map_err(failed)?;
        notices.extend(said);
        // Only now: a start that is cut off before leaves it to the next one to look at offsets with suspicion.
        boot.remember().map_err(failed)?;
        // A kill may have come between a topic and its offsets: one made anew under its name begins without them.
        offsets.forget(|place| topics.get(&place.topic).is_none()).map_err(failed)?;
        let put_back = offsets.put_back(|place| {
            let partition = usize::try_from(place.partition).ok()?;
            Some(topics.get(&place.topic)?.partitions.get(partition)?.lock().end)
        });
        notices.extend(put_back.map_err(failed)?);
        // What is answered from here on stays.
        offsets.flush(offsets.end()).map_err(failed)?;
        let state = Arc::new(State {
            port: address.port(),
            topics,
            groups: Mutex::default(),
            offsets: Mutex::new(offsets),
            flushing: Mutex::default(),
            dir: dir.to_owned(),
            producer_ids: Mutex::new(reserve_producer_ids(dir).map_err(failed)?),
            tables: tables.map(Mutex::new),
            dead_letters: dead_letters.to_vec(),
            appended: Notify::new(),
            stopping: CancellationToken::new(),
            disk_failure_said: Mutex::new(None),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(accept(listener, state.clone(), tasks.clone()));
        tasks.spawn(tick_groups(state.clone()));
        tasks.spawn(maintain_logs(state.clone()));
        Ok(Self { state, tasks, notices })
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.state.port).into()
    }

    /// What was mended when it was opened, for people.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Ends all connections and brings everything to the disk.
    pub async fn stop(self) -> Result<()> {
        self.state.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let flushed = block_in_place(|| {
            self.state.flush()?;
            self.state.tables.as_ref().map_or(Ok(()), |tables| tables.lock().close())
        });
        flushed
            .map_err(|e| Error::lasting(format!("the embedded broker's state did not reach the disk: {e}")))
    }
}

/// First the messages, then the rows that they became, then what is said of them: a dead letter or a cursor that is on
/// the disk is never about what is not. (But for a segment that is full, which goes there as it is.)
fn flush(topics: &Topics, dead_letters: &[String], tables: Option<&mut Flusher>) -> io::Result<()> {
    let says = |name: &str| says(name, dead_letters);
    let mut saying: Vec<_> = topics.all().into_iter().filter(|(name, _)| says(name)).collect();
    // A cursor covers records that have become dead letters, too.
    saying.sort_by_key(|(name, _)| name == STATE_TOPIC);
    let mut held = Vec::new();
    let mut flush_messages = || {
        // What is written from here on may be about more than is flushed.
        held.extend(saying.iter().flat_map(|(_, topic)| &topic.partitions).map(|log| log.lock()));
        topics.flush(|name| !says(name))
    };
    match tables {
        Some(tables) => tables.flush_after(flush_messages)?,
        None => flush_messages()?,
    }
    held.iter_mut().try_for_each(|log| log.flush())
}

/// Whether a topic tells what became of other topics' messages.
fn says(topic: &str, dead_letters: &[String]) -> bool {
    topic == STATE_TOPIC
        || topic.ends_with(DeadLetter::TOPIC_ENDING)
        || dead_letters.iter().any(|letters| letters == topic)
}

impl State {
    /// First the messages, then what they became, then the offsets: on the disk a row is
    /// never without its message, and an offset never says that a row is there which is not.
    fn flush(&self) -> io::Result<()> {
        if let Some(tables) = &self.tables {
            tables.lock().begin(|| self.topics.flush(|name| !says(name, &self.dead_letters)))?;
        }
        let _flushing = self.flushing.lock();
        // What is committed from here on may cover more than is flushed.
        let offsets = self.offsets.lock();
        let end = offsets.end();
        // Where the file is to be written anew nothing is: it would say the newest of everything.
        let held = Some(offsets).filter(|offsets| offsets.is_long());
        flush(&self.topics, &self.dead_letters, self.tables.as_ref().map(Mutex::lock).as_deref_mut())?;
        held.unwrap_or_else(|| self.offsets.lock()).flush(end)
    }

    /// Brings what was flushed from SQLite's log into the tables, which takes longer than all the rest: only a flush of
    /// later rows waits for it.
    fn fill_tables(&self) -> io::Result<()> {
        self.tables.as_ref().map_or(Ok(()), |tables| tables.lock().fill_tables())
    }

    /// Flushes at once where an offset has gone back, which is to be answered only then.
    fn flush_what_went_back(&self) -> io::Result<()> {
        let went_back = self.offsets().went_back();
        if went_back { self.flush() } else { Ok(()) }
    }

    /// The committed offsets. A flush holds them for as long as the disk takes for their own file.
    fn offsets(&self) -> MutexGuard<'_, Offsets> {
        block_in_place(|| self.offsets.lock())
    }

    /// Says what failed on the disk, but not at every attempt.
    fn say_disk_failed(&self, error: &io::Error) {
        const SAY_EVERY: Duration = Duration::from_secs(10);
        let mut said = self.disk_failure_said.lock();
        if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            *said = Some(Instant::now());
            tracing::error!("the embedded broker cannot work on its files: {error}");
        }
    }

    fn take_producer_id(&self) -> io::Result<i64> {
        let mut ids = self.producer_ids.lock();
        if let Some(id) = ids.next() {
            return Ok(id);
        }
        *ids = block_in_place(|| reserve_producer_ids(&self.dir))?;
        ids.next().ok_or_else(|| io::Error::other("there are no producer ids left"))
    }
}

async fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|e| {
        if e.kind() == io::ErrorKind::AddrInUse {
            Error::user(format!("port {port} on localhost is taken, so the embedded broker cannot use it"))
                .help(format!(
                    "is a Kafka or another Millstream running there? `ss -ltnp 'sport = :{port}'` names it; \
                     KAFKA_BROKERS=embedded:0 takes any free port"
                ))
        } else {
            Error::lasting(format!("cannot listen on localhost:{port}: {e}"))
        }
    })
}

async fn accept(listener: TcpListener, state: Arc<State>, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = state.stopping.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let state = state.clone();
                tasks.spawn(async move {
                    let stopping = state.stopping.clone();
                    tokio::select! {
                        served = wire::serve(state, stream) => {
                            if let Err(error) = served {
                                tracing::debug!(%peer, "connection to the embedded broker ended: {error}");
                            }
                        }
                        () = stopping.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors: wait for some to be closed instead of spinning.
                tracing::warn!("the embedded broker cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn tick_groups(state: Arc<State>) {
    let mut clock = tokio::time::interval(Duration::from_millis(25));
    loop {
        tokio::select! {
            now = clock.tick() => state.groups.lock().tick(now.into_std()),
            () = state.stopping.cancelled() => return,
        }
    }
}

/// Every second what was written reaches the disk, and sooner where that is much; every ten, what
/// has expired leaves it.
async fn maintain_logs(state: Arc<State>) {
    let mut clock = tokio::time::interval(Duration::from_millis(100));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 1_u64.. {
        tokio::select! {
            _ = clock.tick() => {}
            () = state.stopping.cancelled() => return,
        }
        let is_urgent = || state.tables.as_ref().is_some_and(|tables| tables.lock().is_urgent());
        if !tick.is_multiple_of(10) && !is_urgent() {
            continue;
        }
        let done = block_in_place(|| {
            let flushed = state.flush();
            // What goes here was there long before: its rows are on the disk now, unless that has failed. A disk that
            // is full needs the room all the same.
            let is_full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
            let may_expire = flushed.as_ref().err().is_none_or(is_full);
            let expired = match may_expire && tick.is_multiple_of(100) {
                true => state.topics.expire(now_ms()),
                false => Ok(()),
            };
            flushed.and_then(|()| state.fill_tables()).and(expired)
        });
        if let Err(error) = done {
            state.say_disk_failed(&error);
        }
    }
}

/// Which start of the machine this is.
struct Boot {
    path: PathBuf,
    id: String,
    /// The broker ran before this one last, or that is not known.
    is_another: bool,
}

impl Boot {
    fn look(dir: &Path) -> io::Result<Self> {
        Self::of(dir, std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default())
    }

    /// Where a system tells no `id`, any start may be another one.
    fn of(dir: &Path, id: String) -> io::Result<Self> {
        let path = dir.join("boot-id");
        let is_another = match std::fs::read_to_string(&path) {
            Ok(before) => id.is_empty() || before != id,
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(e),
        };
        Ok(Self { path, id, is_another })
    }

    fn remember(self) -> io::Result<()> {
        replace_file(&self.path, self.id.as_bytes())
    }
}

fn reserve_producer_ids(dir: &Path) -> io::Result<Range<i64>> {
    let path = dir.join("producer-ids");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => "1".to_owned(),
        Err(e) => return Err(e),
    };
    let first: Option<i64> = text.trim().parse().ok();
    let first = first.filter(|first| *first > 0);
    let ids = first.and_then(|first| Some(first..first.checked_add(PRODUCER_IDS_AT_ONCE)?));
    let ids = ids.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{} holds no producer id", path.display()))
    })?;
    replace_file(&path, ids.end.to_string().as_bytes())?;
    Ok(ids)
}

/// Writes a small file whole or not at all.
fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = PathBuf::from(path).into_os_string();
    new.push(".new");
    let mut file = std::fs::File::create(&new)?;
    io::Write::write_all(&mut file, content)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Brings the names in a folder to the disk.
fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::broker::offsets::{Committed, Place};

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_waits_with_a_commit_while_the_disk_works() {
        let dir = tempfile::tempdir().expect("a folder");
        let broker = Broker::start(dir.path(), 0).await.expect("starts");
        let state = &broker.state;
        let topic = state.topics.create("t", 1, BTreeMap::new()).expect("makes").expect("is made");
        std::thread::scope(|threads| {
            let log = topic.partitions[0].lock();
            let flushing = threads.spawn(|| state.flush());
            while !state.flushing.is_locked() {
                std::thread::yield_now();
            }
            let place = Place { group: "g".into(), topic: "t".into(), partition: 0 };
            let committed = Committed { offset: 1, metadata: String::new() };
            let mut offsets = state.offsets.try_lock_for(Duration::from_secs(60)).expect("nobody has them");
            offsets.commit(vec![(place, committed)]).expect("commits");
            drop(offsets);
            assert!(!flushing.is_finished(), "it waits for the log");
            drop(log);
            flushing.join().expect("ends").expect("flushes");
        });
        broker.stop().await.expect("stops");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_producer_id_is_given_twice() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut given = Vec::new();
        for _ in 0..2 {
            let broker = Broker::start(dir.path(), 0).await.expect("starts");
            let end = broker.state.producer_ids.lock().end;
            broker.state.producer_ids.lock().start = end - 1;
            given.extend((0..2).map(|_| broker.state.take_producer_id().expect("takes")));
            broker.stop().await.expect("stops");
        }
        let ascending = given.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(ascending, "{given:?}");
        for damaged in [i64::MAX.to_string(), "-5000".to_owned(), "x".to_owned()] {
            std::fs::write(dir.path().join("producer-ids"), damaged).expect("writes");
            let refused = reserve_producer_ids(dir.path()).expect_err("no id");
            assert!(refused.to_string().contains("producer-ids holds no producer id"), "{refused}");
        }
    }

    #[test]
    fn a_start_that_the_system_does_not_tell_from_others_may_be_another() {
        let dir = tempfile::tempdir().expect("a folder");
        let look = |id: &str| Boot::of(dir.path(), id.to_owned()).expect("looks");
        assert!(!look("").is_another, "nothing ran here before");
        look("").remember().expect("writes");
        assert!(look("").is_another);
        look("one").remember().expect("writes");
        assert!(!look("one").is_another);
        assert!(look("two").is_another);
        assert!(look("").is_another);
    }
}
