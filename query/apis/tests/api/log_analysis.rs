//! Log records by step and severity, and groups of similar messages.

use std::collections::BTreeMap;

use proptest::prelude::{Just, ProptestConfig, Strategy, prop, prop_assert_eq, proptest};
use serde_json::{Value as Json, json};
use tidings_query::QueryLimits;

use crate::harness::{BEGIN, Harness, MILLI, record, text, trace_id};

const SEVERITIES: [(i32, &str); 4] = [(0, "unspecified"), (9, "info"), (13, "warn"), (17, "error")];
const MESSAGES: [&str; 4] = [
    "order {n} of {who} was paid in full",
    "order {n} of {who} was sent",
    "disk is full",
    "cache miss for key={n}",
];
const PEOPLE: [&str; 3] = ["bob", "alice", "carol"];

fn message(kind: usize, number: u64, who: usize) -> String {
    MESSAGES[kind].replace("{n}", &number.to_string()).replace("{who}", PEOPLE[who])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn every_record_is_counted_once_by_step_and_severity_and_the_order_changes_nothing(
        (records, shuffled) in prop::collection::vec(
            (0..8_000_u64, 0..4_usize, 0..4_usize, 0..100_u64, 0..3_usize), 1..50
        ).prop_flat_map(|records| (Just(records.clone()), Just(records).prop_shuffle()))
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let window = format!("start={}&end={}&step=1s", BEGIN + 4_000 * MILLI, BEGIN + 8_000 * MILLI);
        let ask = async |records: &[(u64, usize, usize, u64, usize)]| {
            let harness = Harness::new().await;
            let sent = |records: &[(u64, usize, usize, u64, usize)]| -> Vec<_> {
                records.iter().map(|(at, severity, kind, number, who)| {
                    ("app", record(Some(7), *at, SEVERITIES[*severity].0, &message(*kind, *number, *who)))
                }).collect()
            };
            harness.log(sent(&records[..records.len() / 2])).await;
            harness.store.flush().await.unwrap();
            harness.log(sent(records)).await;
            let histogram = harness.get(&format!("/logs/histogram?{window}")).await;
            (histogram, harness.get(&format!("/logs/patterns?{window}")).await)
        };
        let (histogram, mut patterns) = runtime.block_on(ask(&records));
        let (_, mut again) = runtime.block_on(ask(&shuffled));
        for answer in [&mut patterns, &mut again] {
            answer["searched"] = Json::Null;
        }
        prop_assert_eq!(&patterns, &again);

        let mut sent: Vec<_> = records.iter().map(|(at, severity, kind, number, who)| {
            (*at, *severity, message(*kind, *number, *who))
        }).collect();
        sent.sort_unstable();
        sent.retain(|(at, ..)| (4_000..8_000).contains(at));
        let mut expected: BTreeMap<(u64, &str), u64> = BTreeMap::new();
        for (at, severity, _) in &sent {
            *expected.entry((at / 1_000, SEVERITIES[*severity].1)).or_default() += 1;
        }
        let mut found: BTreeMap<(u64, &str), u64> = BTreeMap::new();
        for step in histogram["steps"].as_array().unwrap() {
            let start: u64 = text(&step["startUnixNano"]).parse().unwrap();
            for (_, name) in SEVERITIES {
                let count = step[name].as_u64().unwrap();
                if count > 0 {
                    found.insert(((start - BEGIN) / (1_000 * MILLI), name), count);
                }
            }
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(&histogram["count"], sent.len());
        prop_assert_eq!(&patterns["count"], sent.len());
        let counted: u64 = patterns["patterns"].as_array().unwrap().iter().map(|one| one["count"].as_u64().unwrap()).sum();
        prop_assert_eq!(counted, sent.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn patterns_from_counts_of_files_are_those_of_rows(
        records in prop::collection::vec(
            (0..600_u64, 0..4_usize, 0..4_usize, 0..100_u64, 0..3_usize), 1..60
        ),
        (start, length) in (120..400_u64, 60..300_u64),
        is_whole in prop::bool::ANY,
        base in prop::option::of((0..300_u64, 1..300_u64)),
        limit in 1..6_usize,
        parameters in prop::sample::select(&["", "&severity=warn", "&service=app", "&list=changed"][..]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let second = |second: u64| BEGIN + second * 1_000 * MILLI;
        let whole = |of: u64| if is_whole { of / 60 * 60 } else { of };
        let (start, end) = (whole(start), whole(start + length));
        let times = format!("start={}&end={}&step=1m", second(start), second(end));
        let base = base.map_or_else(String::new, |(from, length)| {
            let (from, to) = (second(from), second(from + length));
            format!("&baselineStart={from}&baselineEnd={to}")
        });
        let path = format!("/logs/patterns?{times}{base}{parameters}&limit={limit}");
        let sent = |records: &[(u64, usize, usize, u64, usize)]| -> Vec<_> {
            records.iter().map(|(at, severity, kind, number, who)| {
                let text = message(*kind, *number, *who);
                (["app", "job"][who % 2], record(Some(7), at * 1_000, SEVERITIES[*severity].0, &text))
            }).collect()
        };
        let ask = async |is_flushed: bool| {
            let harness = Harness::new().await;
            // Some records are in two files.
            for part in [&records[..records.len() / 2], &records[records.len() / 3..]] {
                harness.log(sent(part)).await;
                if is_flushed {
                    harness.store.flush().await.unwrap();
                }
            }
            let mut answer = harness.get(&path).await;
            answer["searched"] = Json::Null;
            answer
        };
        prop_assert_eq!(runtime.block_on(ask(true)), runtime.block_on(ask(false)));
    }
}

#[tokio::test]
async fn patterns_of_whole_minutes_are_counted_without_reading_rows() {
    let harness = Harness::new().await;
    let records =
        (0..240).map(|at| ("shop", record(Some(at + 1), at * 1_000, 9, "cart 7 restored")));
    harness.log(records).await;
    harness.store.flush().await.unwrap();
    let minute = |minute: u64| BEGIN + minute * 60_000 * MILLI;
    let path = |start: u64| format!("/logs/patterns?start={start}&end={}&step=1m", minute(4));
    // Only examples are read, and there is none without a change.
    let unchanged = harness.get(&format!("{}&list=changed", path(minute(2)))).await;
    assert_eq!(
        (&unchanged["searched"]["rows"], &unchanged["searched"]["complete"]),
        (&json!(0), &json!(true))
    );
    let answer = harness.get(&path(minute(2))).await;
    let pattern = &answer["patterns"][0];
    assert_eq!((&pattern["count"], &pattern["baseCount"]), (&json!(120), &json!(120)));
    assert_eq!(pattern["template"], "cart <*> restored");
    assert_eq!(pattern["example"], "cart 7 restored");
    assert_eq!(pattern["traceId"], trace_id(240));
    let answer = harness.get(&path(minute(2) + 1)).await;
    assert_eq!(answer["patterns"][0]["count"], 119);
    let unchanged = harness.get(&format!("{}&list=changed", path(minute(2) + 1))).await;
    assert!(unchanged["searched"]["rows"].as_u64().unwrap() > 0, "a part of a minute is read");
}

#[tokio::test]
async fn patterns_are_paired_with_those_of_the_time_before() {
    let harness = Harness::new().await;
    let mut sent = Vec::new();
    let mut say = |from: u64, count: u64, text: &str| {
        sent.extend((0..count).map(|at| ("shop", record(None, from + at, 9, text))));
    };
    say(0, 100, "cart was restored");
    say(1_000, 110, "cart was restored");
    say(0, 2, "charge timed out");
    say(1_000, 90, "charge timed out");
    say(0, 60, "warm cache hit");
    say(1_000, 20, "warm cache hit");
    say(0, 5, "old worker says goodbye");
    say(1_500, 7, "new acquirer opened");
    harness.log(sent).await;
    let window =
        format!("/logs/patterns?start={}&end={}", BEGIN + 1_000 * MILLI, BEGIN + 2_000 * MILLI);
    let told = |answer: &serde_json::Value| -> Vec<String> {
        let patterns = answer["patterns"].as_array().unwrap().iter();
        let told = patterns.map(|one| {
            let (template, change) = (text(&one["template"]), text(&one["change"]));
            format!("{template}: {change} {} {}", one["count"], one["baseCount"])
        });
        told.collect()
    };
    let changed = harness.get(&format!("{window}&list=changed")).await;
    assert_eq!(
        told(&changed),
        [
            "charge timed out: more 90 2",
            "warm cache hit: fewer 20 60",
            "new acquirer opened: new 7 0",
            "old worker says goodbye: gone 0 5",
        ]
    );
    assert_eq!(changed["patterns"][3]["example"], "old worker says goodbye");
    assert_eq!((&changed["count"], &changed["patternCount"]), (&json!(227), &json!(4)));
    let first = &changed["patterns"][0];
    assert_eq!((&first["perSecond"], &first["basePerSecond"]), (&json!(90.0), &json!(2.0)));
    // A range of twice the length, whose second half is empty: the same counts, half the rate.
    let base = format!("&baselineStart={}&baselineEnd={}", BEGIN, BEGIN + 500 * MILLI);
    let other = harness.get(&format!("{window}{base}")).await;
    assert_eq!(told(&other)[0], "cart was restored: fewer 110 100");
    assert_eq!(other["knownUntilUnixNano"], (BEGIN + 500 * MILLI).to_string());
    assert!(!told(&other).iter().any(|one| one.contains("goodbye")), "gone ones are no patterns");
}

#[tokio::test]
async fn nothing_is_new_where_the_time_before_was_not_read_whole() {
    for (rows_max, is_whole) in [(6, false), (1_000, true)] {
        let harness = Harness::with(QueryLimits::default(), rows_max).await;
        for at in [0, 100, 1_100, 1_200, 1_300, 1_400] {
            harness.log([("shop", record(None, at, 9, "cart was restored"))]).await;
        }
        harness.log([("shop", record(None, 1_500, 9, "new acquirer opened"))]).await;
        let path = format!("/logs/patterns?start={}", BEGIN + 1_000 * MILLI);
        let answer = harness.get(&format!("{path}&end={}", BEGIN + 2_000 * MILLI)).await;
        assert_eq!(answer["searched"]["complete"], is_whole, "{answer}");
        let patterns = answer["patterns"].as_array().unwrap();
        let new = patterns.iter().filter(|one| one["isNew"] == true).count();
        let changed = patterns.iter().filter(|one| one["change"] != "same").count();
        assert_eq!((new, changed > 0), (usize::from(is_whole), is_whole), "{answer}");
    }
}

#[tokio::test]
async fn messages_that_differ_in_a_word_are_one_pattern_and_unseen_ones_are_new() {
    let harness = Harness::new().await;
    let paid = |n: u64, who: &str| format!("order {n} of user {who} was paid in full");
    harness.log([("shop", record(None, 100, 9, &paid(1, "bob")))]).await;
    harness
        .log([
            ("shop", record(None, 1_100, 9, &paid(2, "alice"))),
            ("shop", record(Some(3), 1_200, 13, &paid(3, "bob"))),
            ("shop", record(None, 1_300, 17, "disk /dev/sda1 is full")),
            ("bank", record(None, 1_400, 9, &paid(4, "bob"))),
        ])
        .await;
    let path =
        format!("/logs/patterns?start={}&end={}", BEGIN + 1_000 * MILLI, BEGIN + 2_000 * MILLI);
    let answer = harness.get(&path).await;
    assert_eq!((&answer["patternCount"], &answer["count"]), (&json!(3), &json!(4)));
    assert_eq!(answer["knownSinceUnixNano"], BEGIN.to_string());
    let told: Vec<String> = answer["patterns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let (service, template) = (text(&one["service"]), text(&one["template"]));
            format!(
                "{service}: {template} {} {} {}",
                one["count"],
                text(&one["severity"]),
                one["isNew"]
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "shop: order <*> of user <*> was paid in full 2 warn false",
            "bank: order <*> of user bob was paid in full 1 info true",
            "shop: disk <*> is full 1 error true",
        ]
    );
    assert_eq!(answer["patterns"][0]["example"], paid(3, "bob"));
    assert_eq!(answer["patterns"][0]["traceId"], trace_id(3));
    assert_eq!(answer["patterns"][0]["lastSeenUnixNano"], (BEGIN + 1_200 * MILLI).to_string());

    let errors = harness.get(&format!("{path}&severity=error")).await;
    assert_eq!(errors["patternCount"], 1);
    let empty = Harness::new().await;
    assert_eq!(empty.get("/logs/patterns").await["patterns"], json!([]));
    assert_eq!(empty.get("/logs/histogram").await["steps"], json!([]));
    for path in
        ["/logs/histogram?severity=loud", "/logs/patterns?limit=0", "/logs/histogram?limit=5"]
    {
        assert_eq!(harness.problem(path).await.0, 400, "{path}");
    }
}
