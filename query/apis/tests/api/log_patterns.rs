//! Bounds of log patterns: forms beyond the maximum, steps, and the rows read for examples.

use serde_json::{Value as Json, json};

use crate::harness::{BEGIN, Harness, MILLI, record, span, text};

/// Minutes of the window, and of the time before it.
const MINUTES: u64 = 14;
/// Distinct messages of each minute of the window. Each comes once.
const RARE: u64 = 1_500;
/// Maximum number of forms of an answer.
const FORMS_MAX: u64 = 20_000;

/// Returns a word of letters only, which is no value.
fn word(mut number: u64) -> String {
    let mut word = String::from("w");
    for _ in 0..4 {
        word.push(char::from(b'a' + u8::try_from(number % 26).unwrap()));
        number /= 26;
    }
    word
}

/// Path of the window with steps of a minute.
fn window() -> String {
    let minute = |minute: u64| BEGIN + minute * 60_000 * MILLI;
    format!("/logs/patterns?start={}&end={}&step=1m", minute(MINUTES), minute(2 * MINUTES))
}

/// Stores logs of two periods: a service with the same message in both, one with a new message,
/// and one with more distinct messages than an answer keeps.
async fn noisy(is_flushed: bool) -> Harness {
    let harness = Harness::new().await;
    for minute in 0..2 * MINUTES {
        let at = minute * 60_000;
        let mut sent: Vec<_> = (0..10)
            .map(|number| ("bank", record(None, at + number, 9, "order was paid")))
            .collect();
        if minute >= MINUTES {
            for number in 0..RARE {
                let message = format!("cannot load {}", word(minute * RARE + number));
                sent.push(("noisy", record(None, at + 100 + number, 13, &message)));
            }
            let carts = (0..20).map(|number| record(None, at + 2_000 + number, 9, "cart was lost"));
            sent.extend(carts.map(|record| ("shop", record)));
        }
        harness.log(sent).await;
        if is_flushed {
            harness.store.flush().await.unwrap();
        }
    }
    harness
}

/// Returns each listed pattern with its change and its count.
fn listed(answer: &Json) -> Vec<String> {
    let patterns = answer["patterns"].as_array().unwrap().iter();
    let line = |one: &Json| {
        let (service, template) = (text(&one["service"]), text(&one["template"]));
        format!("{service}: {template}, {} {}", text(&one["change"]), one["count"])
    };
    patterns.map(line).collect()
}

#[tokio::test]
async fn the_most_frequent_forms_are_kept_and_records_of_the_rest_are_counted() {
    for is_flushed in [false, true] {
        let harness = noisy(is_flushed).await;
        let answer = harness.get(&window()).await;
        let kept = FORMS_MAX - 2;
        assert_eq!(
            listed(&answer),
            [
                format!("noisy: cannot load <*>, same {kept}"),
                "shop: cart was lost, new 280".to_owned(),
                "bank: order was paid, same 140".to_owned(),
            ]
        );
        assert_eq!(answer["otherCount"], MINUTES * RARE - kept);
        assert_eq!(answer["count"], MINUTES * RARE + 280 + 140);
        assert_eq!(answer["patterns"][0]["isNew"], false, "dropped forms may be in its base");
        let changed = harness.get(&format!("{}&list=changed", window())).await;
        assert_eq!(listed(&changed), ["shop: cart was lost, new 280"]);
    }
}

#[tokio::test]
async fn forms_that_only_the_compared_time_drops_leave_their_service_uncompared() {
    let harness = noisy(false).await;
    let minute = |minute: u64| BEGIN + minute * 60_000 * MILLI;
    // The noisy time is the compared one.
    let path = format!(
        "/logs/patterns?start={}&end={}&step=1m&baselineStart={}&baselineEnd={}&list=changed",
        minute(0),
        minute(MINUTES),
        minute(MINUTES),
        minute(2 * MINUTES)
    );
    let answer = harness.get(&path).await;
    assert_eq!(listed(&answer), ["shop: cart was lost, gone 0"]);
    assert_eq!((&answer["otherCount"], &answer["count"]), (&json!(0), &json!(140)));
}

#[tokio::test]
async fn a_report_of_changes_names_the_time_whose_rare_forms_leave_a_service_uncompared() {
    let harness = noisy(false).await;
    let minute = |minute: u64| BEGIN + minute * 60_000 * MILLI;
    let calls =
        (0..6 * 3 * MINUTES).map(|n| span(n + 1, 1, "shop", "get").at(n * 10_000, n * 10_000 + 5));
    harness.send(calls).await;
    for (first, time) in
        [(MINUTES, "of the window have"), (2 * MINUTES, "of the time before it have")]
    {
        let (start, end) = (minute(first), minute(first + MINUTES));
        let report = harness.get(&format!("/changes?explain=true&start={start}&end={end}")).await;
        let partial = report["partial"].as_array().unwrap().iter();
        let partial = partial.filter(|of| of["part"] == "logPatterns");
        let reasons: Vec<String> = partial.map(|of| text(&of["reason"])).collect();
        assert_eq!(reasons.len(), 1, "{report}");
        assert!(reasons[0].contains(time), "{reasons:?}");
    }
}

#[tokio::test]
async fn rows_that_are_read_for_examples_are_counted() {
    let harness = Harness::new().await;
    let records = (0..240).map(|at| ("shop", record(None, at * 1_000, 9, "cart was lost")));
    harness.log(records).await;
    harness.store.flush().await.unwrap();
    let minute = |minute: u64| BEGIN + minute * 60_000 * MILLI;
    let path = format!("/logs/patterns?start={}&end={}&step=1m", minute(2), minute(4));
    let answer = harness.get(&path).await;
    assert_eq!(answer["patterns"][0]["example"], "cart was lost");
    let searched = &answer["searched"];
    assert!(searched["rows"].as_u64().unwrap() > 0, "{searched}");
    assert_eq!(searched["complete"], true);
    let unchanged = harness.get(&format!("{path}&list=changed")).await;
    assert_eq!(unchanged["searched"]["rows"], 0, "no example is listed");
}

#[tokio::test]
async fn counts_of_an_answer_are_bounded_by_its_patterns_and_steps() {
    let harness = Harness::new().await;
    let minute = |minute: u64| BEGIN + minute * 60_000 * MILLI;
    let path = |minutes: u64, limit: u64| {
        format!("/logs/patterns?start={}&end={}&step=1m&limit={limit}", BEGIN, minute(minutes))
    };
    let answer = harness.get(&path(1_000, 1_000)).await;
    assert_eq!(answer["patterns"], json!([]));
    for (path, parameter) in
        [(path(1_001, 1_000), "step"), (path(100_000, 1), "step"), (path(1_000, 1_001), "limit")]
    {
        let (status, problem) = harness.problem(&path).await;
        assert_eq!((status, &problem["parameter"]), (400, &json!(parameter)), "{problem}");
    }
}

#[tokio::test]
async fn patterns_of_the_days_before_are_not_new_and_keep_their_ids() {
    for is_flushed in [false, true] {
        let harness = Harness::new().await;
        let minute = |minute: u64| minute * 60_000;
        let offline = |name: &str| format!("tenant {name} went offline today");
        harness.log([("shop", record(None, 0, 9, "cache was warmed"))]).await;
        for (at, name) in ["red", "green", "blue", "amber", "white"].into_iter().enumerate() {
            let at = minute(10) + at as u64;
            harness.log([("shop", record(None, at, 9, &offline(name)))]).await;
        }
        if is_flushed {
            harness.store.flush().await.unwrap();
        }
        let now = ["cache was warmed", "payment queue is full", &offline("red")];
        harness.log(now.map(|message| ("shop", record(None, minute(300), 9, message)))).await;
        let time = |at: u64| BEGIN + minute(at) * MILLI;
        let path = format!("/logs/patterns?start={}&end={}&step=1m", time(299), time(301));
        let answer = harness.get(&path).await;
        assert_eq!(
            listed(&answer),
            [
                "shop: cache was warmed, new 1",
                "shop: payment queue is full, new 1",
                "shop: tenant <*> went offline today, new 1",
            ],
            "new beside the two minutes before"
        );
        let seen = answer["patterns"].as_array().unwrap().iter();
        let seen = seen.map(|one| (&one["isNew"], text(&one["firstSeenUnixNano"])));
        let first = |at: u64| time(at).to_string();
        assert_eq!(
            seen.collect::<Vec<_>>(),
            [(&json!(false), first(0)), (&json!(true), first(300)), (&json!(false), first(10))]
        );
        let day = format!("/logs/patterns?start={}&end={}&step=1h", time(0), time(301));
        let day = harness.get(&day).await;
        let ids = |answer: &Json, template: &str| {
            let patterns = answer["patterns"].as_array().unwrap().iter();
            let one = patterns.filter(|one| text(&one["template"]) == template);
            one.map(|one| text(&one["id"])).collect::<Vec<_>>()
        };
        let offline = "tenant <*> went offline today";
        assert_eq!(ids(&answer, offline), ids(&day, offline), "whichever window is asked for");
        assert_eq!(ids(&day, offline).len(), 1);
    }
}
