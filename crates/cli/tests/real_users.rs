//! 420 users made by the real API, served in odd portions, come out as exactly the rows that the
//! query says.

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{Api, millstream, output, stderr, stdout, summary};

const USERS: &str = include_str!("../../../tests/data/users.jsonl");

/// What the example's query makes of a user, written down independently of it.
fn expected(user: &Value) -> BTreeMap<String, Value> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let location = &user["location"];
    let street = format!("{} {}", location["street"]["number"], text(&location["street"]["name"]));
    let address =
        [street, text(&location["city"]), text(&location["state"]), text(&location["country"])].join(", ");
    [
        ("id", user["login"]["uuid"].clone()),
        ("first_name", user["name"]["first"].clone()),
        ("last_name", user["name"]["last"].clone()),
        ("gender", user["gender"].clone()),
        ("address", json!(address)),
        ("post_code", json!(text(&location["postcode"]))),
        ("email", user["email"].clone()),
        ("username", user["login"]["username"].clone()),
        ("registered_date", user["registered"]["date"].clone()),
        ("phone", user["phone"].clone()),
        ("picture", user["picture"]["medium"].clone()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

#[test]
fn real_users_become_exactly_their_rows() {
    let users: Vec<&str> = USERS.lines().collect();
    assert_eq!(users.len(), 420);
    // 1, 2, 3, … users an answer, until all are served.
    let portions: Vec<String> = (0..)
        .scan(0, |start, size| {
            let end = (*start + size + 1).min(users.len());
            let portion =
                (*start < end).then(|| format!("{{\"results\": [{}]}}", users[*start..end].join(" ,\n")));
            *start = end;
            portion
        })
        .collect();
    let requests = portions.len();
    let api = Api::start(move |page| portions[page % portions.len()].clone());
    let folder = tempfile::tempdir().expect("a folder");
    let file = include_str!("../../../examples/users.yaml")
        .replace("every: 1s ", "every: 0ms ")
        .replace("for: 60s ", &format!("times: {requests} "))
        .replace("query: { results: 10 }", "query: { results: 1 }");
    std::fs::write(folder.path().join("users.yaml"), file).expect("writes");
    let run = output(
        millstream(folder.path())
            .args(["run", "users.yaml"])
            .env("RANDOM_USER_API", &api.url)
            .env("KAFKA_BROKERS", "embedded:0"),
    );
    assert_eq!(run.status.code(), Some(0), "{}", stderr(&run));
    let summary = summary(&run);
    assert_eq!(summary["status"], "success");
    for flow in ["fetch", "store"] {
        assert_eq!(
            summary["flows"][flow],
            json!({"read": 420, "passed": 420, "filtered": 0, "dead": 0, "written": 420})
        );
    }
    let rows = output(millstream(folder.path()).args([
        "query",
        "users.yaml",
        "SELECT * FROM created_users",
        "--format",
        "json",
    ]));
    let by_id = |rows: Vec<BTreeMap<String, Value>>| -> BTreeMap<String, BTreeMap<String, Value>> {
        rows.into_iter().map(|row| (row["id"].as_str().expect("an id").to_owned(), row)).collect()
    };
    let rows = by_id(stdout(&rows).lines().map(|line| serde_json::from_str(line).expect("a row")).collect());
    let wanted =
        by_id(users.iter().map(|user| expected(&serde_json::from_str(user).expect("a user"))).collect());
    assert_eq!(rows, wanted);

    // Again: nothing new in the topic is a success, and the rows stay.
    let again = output(
        millstream(folder.path())
            .args(["run", "users.yaml", "--flow", "store"])
            .env("KAFKA_BROKERS", "embedded:0"),
    );
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
}
