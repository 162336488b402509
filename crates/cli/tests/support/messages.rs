//! Messages as odd as they come: broken, doubled, of wrong types, out of order, enormous, in
//! transactions that are aborted.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

const PARTITIONS: i32 = 3;
/// Messages about each row, more or less.
const MESSAGES_PER_KEY: usize = 8;
const FIRST_MS: i64 = 1_700_000_000_000;
const MEGABYTE: usize = 1 << 20;

/// Makes the topic and fills it.
pub(crate) fn fill(brokers: &str, topic: &str, count: usize, random: &mut StdRng) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("message.max.bytes", "4000000").set("linger.ms", "5");
    let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let wanted =
        NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1)).set("max.message.bytes", "4000000");
    // The messages are dated long ago: a broker that looks at their age would delete them.
    let wanted = wanted.set("retention.ms", "-1");
    let made = runtime.block_on(admin.create_topics([&wanted], &AdminOptions::new()));
    made.expect("answers")[0].as_ref().expect("the topic is made");
    let plain: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
    for n in 0..count {
        send(&plain, topic, n, message(n, count, random), random);
    }
    plain.flush(Duration::from_secs(60)).expect("everything is sent");
    config.set("transactional.id", topic);
    let careful: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
    let wait = Duration::from_secs(60);
    careful.init_transactions(wait).expect("begins");
    for round in 0..6 {
        careful.begin_transaction().expect("begins");
        for n in 0..50 {
            send(&careful, topic, n, message(n, count, random), random);
        }
        // An abort throws away what has not been sent: what the broker holds is what counts here.
        careful.flush(wait).expect("everything is sent");
        match round % 2 {
            0 => careful.commit_transaction(wait).expect("commits"),
            _ => careful.abort_transaction(wait).expect("aborts"),
        }
    }
}

fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    n: usize,
    value: Option<Vec<u8>>,
    random: &mut StdRng,
) {
    let key = format!("k{}", random.random_range(0..1_000));
    // In no order, and often the same.
    let timestamp = match random.random_range(0..40) {
        0 => -1,
        1 => 1,
        _ => FIRST_MS + random.random_range(0..5_000),
    };
    let headers = OwnedHeaders::new()
        .insert(Header { key: "trace", value: Some(&n.to_string()) })
        .insert(Header { key: "empty", value: Some("") });
    let mut record =
        BaseRecord::<str, [u8]>::to(topic).timestamp(timestamp).partition(random.random_range(0..PARTITIONS));
    if random.random_range(0..10) > 0 {
        record.key = Some(&key);
    }
    if random.random_range(0..5) == 0 {
        record = record.headers(headers);
    }
    record.payload = value.as_deref();
    let mut waiting = record;
    while let Err((error, again)) = producer.send(waiting) {
        assert!(error.to_string().contains("Queue full"), "cannot send: {error}");
        producer.poll(Duration::from_millis(10));
        waiting = again;
    }
}

/// The value of message number `n`.
fn message(n: usize, count: usize, random: &mut StdRng) -> Option<Vec<u8>> {
    let text = object(n, count, random);
    let mut bytes = text.into_bytes();
    Some(match random.random_range(0..40) {
        0 => return None,
        1 => Vec::new(),
        2 => b" \t\r\n".to_vec(),
        3 => {
            bytes.truncate(random.random_range(0..bytes.len()));
            bytes
        }
        4 => [&bytes, pick(random, BEHIND).as_bytes()].concat(),
        5 => [pick(random, BEFORE).as_bytes(), &bytes].concat(),
        6 => {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
            bytes
        }
        7 => pick(random, WHOLE).as_bytes().to_vec(),
        _ => bytes,
    })
}

const BEHIND: &[&str] =
    &[" ", "\n\t", "x", "{}", ",{}", "}", "]", "\"", ",\"behind\":\"1\"}", " // a comment", "\u{0}"];
const BEFORE: &[&str] =
    &[" ", "\n", "\u{feff}", "[", "{", "null", "\"", "/* */", "{\"id\":\"before\"}", "\u{a0}"];
const WHOLE: &[&str] = &[
    "null",
    "true",
    "12",
    "\"text\"",
    "[]",
    "{}",
    "[{}]",
    "{\"id\":null}",
    "{\"id\":\"\"}",
    "NaN",
    "{\"id\":NaN}",
    "{'id':'a'}",
    "{id:\"a\"}",
    "{\"id\":\"a\",}",
    "{\"id\" \"a\"}",
    "{\"id\":\"a\"\"n\":1}",
    "{\"id\":01}",
    "{\"id\":\"a\u{1}b\"}",
    "{\"id\":\"\\x\"}",
    "{\"id\":\"\\ud800\"}",
    "{\"id\":\"\\ud83d\\ude00\"}",
    "{\"id\":.5}",
    "{\"id\":1.}",
    "{\"id\":+1}",
    "{\"id\":\"dup\",\"id\":\"last\"}",
    "{\"ID\":\"upper\",\"id\":\"lower\"}",
    "{\"message\":{\"id\":\"inner\"}}",
    "{\"behind\":\"x\",\"id\":\"behind\"}",
];

fn object(n: usize, count: usize, random: &mut StdRng) -> String {
    let key = random.random_range(0..count / MESSAGES_PER_KEY);
    let id = match random.random_range(0..200) {
        0 => "null".to_owned(),
        1 => "\"\"".to_owned(),
        2 => "{\"nested\": [1, 2.50, \"é\"]}".to_owned(),
        3 => key.to_string(),
        4 => format!("\"{}\"", "k".repeat(70_000)),
        _ => format!("\"id {key}\""),
    };
    let mut fields = vec![format!("\"id\":{id}")];
    for (name, values, odd) in FIELDS {
        match random.random_range(0..30) {
            0..6 => continue,
            6 => fields.push(format!("\"{name}\":null")),
            7 => fields.push(format!("\"{name}\":{}", pick(random, odd))),
            _ => fields.push(format!("\"{name}\":{}", pick(random, values))),
        }
    }
    match random.random_range(0..400) {
        0 => fields.push(format!("\"t\":\"{}\"", "ü".repeat(MEGABYTE / 2))),
        1 => fields.push(format!("\"unknown\":{}{}", "[".repeat(900), "]".repeat(900))),
        2 => fields.push(format!("\"unknown\":{}1{}", "{\"a\":".repeat(900), "}".repeat(900))),
        3 => fields.push(format!("\"big\":{}", "9".repeat(1_100))),
        _ => {}
    }
    if n.is_multiple_of(3) {
        let last = fields.len() - 1;
        let at = random.random_range(0..=last);
        fields.swap(at, last);
    }
    let space = pick(random, &["", "", " ", "\n  ", "\t"]);
    format!("{{{space}{}{space}}}", fields.join(&format!(",{space}")))
}

/// Name, values as they should be, and odd ones.
const FIELDS: &[(&str, &[&str], &[&str])] = &[
    (
        "n",
        &["0", "1", "-7", "2147483647", "-2147483648", "3", "10"],
        &["2147483648", "1.5", "1e3", "\"1\"", "true", "-0", "[]", "1.0"],
    ),
    (
        "big",
        &["0", "9223372036854775807", "-9223372036854775808"],
        &["9223372036854775808", "1e18", "\"5\"", "1.0", "{}"],
    ),
    (
        "d",
        &["0.1", "1e308", "-2.5e-10", "3", "123456789012345678901234567890"],
        &[
            "1e400",
            "\"NaN\"",
            "\"Infinity\"",
            "\"-INF\"",
            "NaN",
            "\"1.5\"",
            "-0.0",
            "4.9e-324",
            "2e-324",
            "[1]",
        ],
    ),
    ("f", &["0.1", "3.4e38", "-1"], &["1e39", "\"NaN\"", "\"x\"", "0.30000001192092896", "1e-50"]),
    (
        "dec",
        &["1.5", "0", "-123456789.123", "7"],
        &["1234567890.5", "0.0005", "1.23456", "\"1.5\"", "\"1,000.5\"", "1e3", "1e400", "\"\"", "true"],
    ),
    ("yes", &["true", "false"], &["\"true\"", "1", "0", "null", "tru"]),
    (
        "day",
        &["\"2024-02-29\"", "\"1999-12-31\"", "\"0001-01-01\""],
        &[
            "\"2023-02-29\"",
            "\"2024-2-9\"",
            "19000",
            "\"19000\"",
            "\"\"",
            "\"2024-02-29T10:00:00\"",
            "\"today\"",
            "\"+12024-01-01\"",
        ],
    ),
    (
        "at",
        &[
            "\"2024-02-29T12:34:56.789Z\"",
            "\"0024-02-29T12:34:56.789Z\"",
            "\"1969-12-31T23:59:59.999Z\"",
            "\"2024-01-01T00:00:00+02:00\"",
            "\"2024-01-01 01:02:03\"",
        ],
        &[
            "\"2024-01-01\"",
            "1700000000",
            "1.5",
            "\"1700000000\"",
            "\"2024-13-01T00:00:00Z\"",
            "\"2024-01-01T00:00:00.1234567Z\"",
            "\"\"",
            "true",
        ],
    ),
    (
        "s",
        &["{\"x\":1,\"y\":\"é\"}", "{}", "{\"y\":\"😀\\n\\\"\"}", "{\"x\":null,\"z\":[{}]}"],
        &[
            "{\"x\":\"1\"}",
            "[]",
            "\"\"",
            "\"text\"",
            "7",
            "{\"x\":1",
            "{\"y\":{\"k\":1.50}}",
            "{\"y\":12.340}",
        ],
    ),
    ("l", &["[1,2,3]", "[]", "[null,5]"], &["[\"1\"]", "{}", "1", "[1.5,2]", "\"\"", "[[1],2]"]),
    (
        "t",
        &["\"plain\"", "\"straße ŉ\"", "\"\\u0130i\"", "\"\"", "\"\u{2028}x\"", "\"a\\tb\""],
        &["1.50", "true", "{\"a\": 1}", "[1, 2]", "-0", "1E5", "\"\\ud83d\"", "\"\u{7f}\u{10ffff}\""],
    ),
    (
        "u",
        &["\"0f5cc5f9-f46f-47f1-ade4-2d60ad67ade2\"", "\"ABCDEFAB-0000-4000-8000-000000000001\""],
        &[
            "\"123\"",
            "\"\"",
            "\"{0f5cc5f9-f46f-47f1-ade4-2d60ad67ade2}\"",
            "\"0f5cc5f9-f46f-47f1-ade4-2d60ad67ade2\\n\"",
            "\"0f5cc5f9f46f47f1ade42d60ad67ade2\"",
            "7",
        ],
    ),
];

fn pick<'a>(random: &mut StdRng, from: &[&'a str]) -> &'a str {
    from[random.random_range(0..from.len())]
}
