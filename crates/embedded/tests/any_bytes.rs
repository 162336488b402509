//! Bytes nobody thought of on the broker's port: no panic, no hang, and the next client is served.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millstream_embedded::Broker;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The newest request kind and version that are tried, beyond those that there are.
const KINDS: i16 = 70;
const VERSIONS: i16 = 16;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Kind, version, and what follows the header.
fn request() -> impl Strategy<Value = (i16, i16, Vec<u8>)> {
    // Short lengths, counts and names are what bodies are made of.
    let piece = prop_oneof![
        4 => (0_u8..4).prop_map(|byte| vec![byte]),
        2 => (0_i32..4).prop_map(|number| number.to_be_bytes().to_vec()),
        1 => any::<i64>().prop_map(|number| number.to_be_bytes().to_vec()),
        1 => Just(b"\x00\x01t".to_vec()),
        1 => Just(b"\xff\xff\xff\xff".to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let body = proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat());
    (0..KINDS, 0..VERSIONS, body)
}

fn framed(kind: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let header =
        [&kind.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes(), &[0, 1, b'c']].concat();
    let length = (header.len() + body.len()) as i32;
    [&length.to_be_bytes()[..], &header, body].concat()
}

/// Kinds that wait for others: messages to come, members of a group.
const WAITING: [i16; 3] = [1, 11, 14];

/// The answer to a request, or nothing where the connection ends or it waits for others.
async fn ask(address: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await.expect("the broker listens");
    // It may have heard enough and hung up.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let may_wait = WAITING.contains(&i16::from_be_bytes([bytes[4], bytes[5]]));
    let patience = if may_wait { Duration::from_millis(100) } else { Duration::from_secs(60) };
    match tokio::time::timeout(patience, stream.read_to_end(&mut answer)).await {
        // A connection that is reset is one that ended.
        Ok(_) => {}
        Err(_) => assert!(may_wait, "the broker hangs: {bytes:?}"),
    }
    (!answer.is_empty()).then_some(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_in_every_version_that_is_served() {
    const LIST_OFFSETS: i16 = 2;
    let dir = tempfile::tempdir().expect("a folder");
    let broker = Broker::start(dir.path(), 0).await.expect("starts");
    for version in 1..=5 {
        let isolation: &[u8] = if version >= 2 { &[0] } else { &[] };
        let epoch: &[u8] = if version >= 4 { &[0xff; 4] } else { &[] };
        let body = [
            &(-1_i32).to_be_bytes()[..],
            isolation,
            &1_i32.to_be_bytes(),
            b"\x00\x01t",
            &1_i32.to_be_bytes(),
            &0_i32.to_be_bytes(),
            epoch,
            &(-2_i64).to_be_bytes(),
        ];
        let answer = ask(&broker.address().to_string(), &framed(LIST_OFFSETS, version, &body.concat())).await;
        assert!(answer.is_some(), "version {version}");
    }
    broker.stop().await.expect("stops");
}

#[test]
fn whatever_comes_the_broker_serves_the_next_client() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let broker = runtime.block_on(Broker::start(dir.path(), 0)).expect("starts");
    let address = broker.address().to_string();
    let mut runner = TestRunner::default();
    let requests = proptest::collection::vec(request(), 1..4);
    let done = runner.run(&requests, |requests| {
        for (kind, version, body) in requests {
            runtime.block_on(ask(&address, &framed(kind, version, &body)));
            prop_assert_eq!(PANICS.load(Ordering::Relaxed), 0, "{} {} {:?}", kind, version, body);
        }
        // ApiVersions in version 0 is the way in.
        let answer = runtime.block_on(ask(&address, &framed(18, 0, &[]))).unwrap_or_default();
        prop_assert!(answer.len() > 50);
        Ok(())
    });
    done.expect("the broker goes on");
    runtime.block_on(broker.stop()).expect("stops");
}
