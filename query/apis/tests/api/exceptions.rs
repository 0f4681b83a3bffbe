//! Groups of exceptions against the time before, the times of their last ones, and the groups that
//! others follow from.

use serde_json::{Value as Json, json};
use tidings_proto::otlp::KeyValue;
use tidings_query::QueryLimits;

use crate::harness::{BEGIN, Harness, MILLI, SpanBuilder, record, span};

const MINUTE: u64 = 60_000;

/// A span of the bank that recorded an exception of this type.
fn thrown(trace: u64, at: u64, kind: &str) -> SpanBuilder {
    span(trace, 1, "bank", "pay").at(at, at + 5).exception(kind, "no")
}

/// The path of a comparison of the second ten minutes with the first.
fn compared(rest: &str) -> String {
    let (start, end) = (BEGIN + 10 * MINUTE * MILLI, BEGIN + 20 * MINUTE * MILLI);
    format!("/exceptions?start={start}&end={end}&compare=true{rest}")
}

/// Type, count, count before and mark of the groups, in the order of the answer.
fn groups(list: &Json) -> Vec<Json> {
    let group = |group: &Json| {
        json!([group["exceptionType"], group["count"], group["beforeCount"], group["isNew"]])
    };
    list["groups"].as_array().unwrap().iter().map(group).collect()
}

#[tokio::test]
async fn an_exception_is_new_when_the_time_before_has_none() {
    for is_flushed in [false, true] {
        let harness = Harness::new().await;
        harness.send([thrown(1, 1, "Usual"), thrown(2, 2, "Usual"), thrown(3, 3, "Gone")]).await;
        let mut timeout = record(None, 4, 17, "failed");
        timeout.attributes.push(KeyValue::new("exception.type", "Timeout"));
        harness.log([("bank", timeout.clone())]).await;
        if is_flushed {
            harness.store.flush().await.unwrap();
        }
        let now = 11 * MINUTE;
        harness.send((4..7).map(|n| thrown(n, now + n, "Usual"))).await;
        harness.send([thrown(7, now, "Declined"), thrown(8, now, "Declined")]).await;
        timeout.time_unix_nano = BEGIN + now * MILLI;
        harness.log([("bank", timeout)]).await;

        let list = harness.get(&compared("")).await;
        let expected = [
            json!(["Usual", 3, 2, false]),
            json!(["Declined", 2, 0, true]),
            json!(["Timeout", 1, 1, false]),
        ];
        assert_eq!(groups(&list), expected, "flushed: {is_flushed}");
        assert_eq!(list["knownSinceUnixNano"], BEGIN.to_string());
        assert_eq!(list["groupCount"], 3, "those of the time before alone are not listed");

        // A group counts as before, also where it is not among the most frequent of that time.
        let first = harness.get(&compared("&limit=1")).await;
        assert_eq!(groups(&first), expected[..1]);
        let of_type = harness.get(&compared("&type=Declined&service=bank")).await;
        assert_eq!(groups(&of_type), expected[1..2]);
        let plain = harness.get(&compared("").replace("&compare=true", "")).await;
        assert_eq!(groups(&plain)[1], json!(["Declined", 2, null, false]));
        assert_eq!(plain.get("knownSinceUnixNano"), None);
    }
}

#[tokio::test]
async fn of_the_exceptions_of_one_failure_the_deepest_is_first() {
    let harness = Harness::new().await;
    let failed = |trace: u64| {
        let at = trace * 100;
        [
            span(trace, 1, "access", "pay").at(at, at + 50).exception("Failed", "no"),
            span(trace, 2, "bank", "charge")
                .parent(1)
                .at(at + 10, at + 40)
                .exception("Refused", "no"),
            span(trace, 3, "alarm", "log").parent(1).at(at + 20, at + 21),
        ]
    };
    harness.send((1..4).flat_map(failed)).await;
    let list = harness.get("/exceptions").await;
    let types: Vec<&Json> =
        list["groups"].as_array().unwrap().iter().map(|group| &group["exceptionType"]).collect();
    assert_eq!(types, ["Refused", "Failed"], "not in the order of services");
}

#[tokio::test]
async fn an_exception_is_multiplied_from_ten_and_from_three_times_as_many_as_before() {
    let harness = Harness::new().await;
    let cases = [
        ("Usual", 5, 14, false, Some(2.8)),
        ("Grown", 4, 12, true, Some(3.0)),
        ("Came", 0, 11, false, None),
        ("Few", 3, 9, false, Some(3.0)),
        ("Less", 4, 2, false, Some(0.5)),
    ];
    for (case, (kind, before, now, ..)) in (1..).zip(cases) {
        let first = case * 100;
        let earlier = (0..before).map(|n| thrown(first + n, n, kind));
        let later = (0..now).map(|n| thrown(first + before + n, 11 * MINUTE + n, kind));
        harness.send(earlier.chain(later)).await;
    }
    let list = harness.get(&compared("")).await;
    let group =
        |group: &Json| json!([group["exceptionType"], group["isMultiplied"], group.get("factor")]);
    let found: Vec<Json> = list["groups"].as_array().unwrap().iter().map(group).collect();
    let expected = cases.map(|(kind, _, _, multiplied, factor)| json!([kind, multiplied, factor]));
    assert_eq!(found, expected);
    let plain = harness.get(&compared("").replace("&compare=true", "")).await;
    assert_eq!(plain["groups"][1]["isMultiplied"], false, "nothing to compare with");
    assert_eq!(plain["groups"][1].get("factor"), None);
}

#[tokio::test]
async fn nothing_is_new_where_nothing_is_stored_of_the_time_before() {
    let harness = Harness::new().await;
    harness.send([thrown(1, 11 * MINUTE, "Declined")]).await;
    let list = harness.get(&compared("")).await;
    assert_eq!(groups(&list), [json!(["Declined", 1, null, false])]);
    assert_eq!(list.get("knownSinceUnixNano"), None);
    let whole = format!("/exceptions?start=0&end={}&compare=true", BEGIN + 20 * MINUTE * MILLI);
    assert_eq!(groups(&harness.get(&whole).await), [json!(["Declined", 1, null, false])]);

    // Any span or log record of that time is enough to compare with.
    harness.log([("shop", record(None, 5, 9, "fine"))]).await;
    let list = harness.get(&compared("")).await;
    assert_eq!(groups(&list), [json!(["Declined", 1, 0, true])]);
}

#[tokio::test]
async fn an_exception_is_not_new_while_the_time_before_is_not_wholly_read() {
    // Log records with exceptions are read row by row. This budget ends among the older ones.
    let harness = Harness::with(QueryLimits::default(), 3).await;
    let logged = |at: u64, kind: &str| {
        let mut logged = record(None, at, 17, "failed");
        logged.attributes.push(KeyValue::new("exception.type", kind));
        ("bank", logged)
    };
    harness.log((1..9).map(|at| logged(at, "Usual"))).await;
    harness.store.flush().await.unwrap();
    harness.log([logged(11 * MINUTE, "Declined")]).await;
    harness.store.flush().await.unwrap();
    let list = harness.get(&compared("")).await;
    assert_eq!(list["searched"]["complete"], false, "{list}");
    assert_eq!(groups(&list), [json!(["Declined", 1, null, false])]);
}

#[tokio::test]
async fn the_last_exception_has_the_time_of_its_event() {
    let event = |at: u64, kind: &str, message: &str| {
        let attributes = vec![
            KeyValue::new("exception.type", kind),
            KeyValue::new("exception.message", message),
        ];
        (BEGIN + at * MILLI, attributes)
    };
    for is_flushed in [false, true] {
        let harness = Harness::new().await;
        let mut built = span(1, 1, "bank", "pay").at(0, 3_000);
        for (time, attributes) in
            [event(900, "Timeout", "first"), event(2_500, "Declined", "card 42")]
        {
            built = built.event("exception", time, attributes);
        }
        harness.send([built, span(2, 1, "bank", "pay").at(5_000, 5_001)]).await;
        let unset = event(0, "Unset", "no time").1;
        harness.send([span(3, 1, "bank", "pay").at(40, 50).event("exception", 0, unset)]).await;
        let mut logged = record(Some(1), 70, 17, "failed");
        logged.attributes.push(KeyValue::new("exception.type", "Logged"));
        harness.log([("bank", logged)]).await;
        if is_flushed {
            harness.store.flush().await.unwrap();
        }
        let window = format!("start={BEGIN}&end={}", BEGIN + MINUTE * MILLI);
        let list = harness.get(&format!("/exceptions?{window}")).await;
        for (kind, seen, recorded) in
            [("Timeout", 0, 900), ("Declined", 0, 2_500), ("Unset", 40, 40), ("Logged", 70, 70)]
        {
            let mut groups = list["groups"].as_array().unwrap().iter();
            let group = groups.find(|group| group["exceptionType"] == kind).unwrap();
            let time = |at: u64| json!((BEGIN + at * MILLI).to_string());
            let times = (&group["lastSeenUnixNano"], &group["timeUnixNano"]);
            assert_eq!(times, (&time(seen), &time(recorded)), "{kind}, flushed: {is_flushed}");
        }
    }
}

/// A failure that each of three services wraps on its way up, and an alarm beside it that throws.
fn wrapped(trace: u64) -> [SpanBuilder; 5] {
    let at = trace * 100;
    let call =
        |id: u64, service: &str, name: &str| span(trace, id, service, name).at(at + id, at + 50);
    [
        call(1, "gateway", "POST /checkout").exception("CheckoutFailed", "declined: no"),
        call(2, "checkout", "place").parent(1).exception("CheckoutFailed", "declined: no"),
        call(3, "payment", "authorize").parent(2).exception("CardDeclined", "declined: no"),
        call(4, "payment", "charge").parent(3).exception("CardDeclined", "no"),
        call(5, "alarm", "ring").parent(2).exception("Muted", "nobody hears"),
    ]
}

/// An audit that throws, in every second trace above a stock that throws as well.
fn half_shared(trace: u64) -> [SpanBuilder; 2] {
    let at = trace * 100;
    let read = span(trace, 2, "stock", "read").parent(1).at(at + 1, at + 5);
    [
        span(trace, 1, "audit", "check").at(at, at + 9).exception("Refused", "no"),
        if trace.is_multiple_of(2) { read.exception("Stale", "old") } else { read },
    ]
}

/// Groups of exceptions in the order of the answer: place, place of the source, followers.
fn sources(list: &Json) -> Vec<Json> {
    let groups = list["groups"].as_array().unwrap();
    let place = |group: &Json| {
        let [service, operation] =
            ["service", "operation"].map(|key| group[key].as_str().unwrap().to_owned());
        format!("{service} {operation}")
    };
    let source = |group: &Json| {
        let id = group.get("followsId")?;
        let source = groups.iter().find(|other| other["id"] == *id).unwrap();
        assert_eq!(group["followsService"], source["service"], "{group}");
        Some(place(source))
    };
    let group = |group: &Json| json!([place(group), source(group), group["followerCount"]]);
    groups.iter().map(group).collect()
}

#[tokio::test]
async fn exceptions_that_wrap_one_another_follow_from_the_deepest() {
    for is_flushed in [false, true] {
        let harness = Harness::new().await;
        harness.send((1..9).flat_map(wrapped)).await;
        harness.send((11..21).flat_map(half_shared)).await;
        harness.send((21..27).map(|trace| thrown(trace, trace * 100, "BadAddress"))).await;
        if is_flushed {
            harness.store.flush().await.unwrap();
        }
        let list = harness.get("/exceptions?sources=true").await;
        let charge = "payment charge";
        let expected = [
            json!(["audit check", null, 0]),
            json!(["alarm ring", null, 0]),
            json!([charge, null, 3]),
            json!(["payment authorize", charge, 0]),
            json!(["checkout place", charge, 0]),
            json!(["gateway POST /checkout", charge, 0]),
            json!(["bank pay", null, 0]),
            json!(["stock read", null, 0]),
        ];
        assert_eq!(sources(&list), expected, "flushed: {is_flushed}");
        assert_eq!(list["searched"]["complete"], true);
        let compared = harness.get("/exceptions?sources=true&compare=true").await;
        assert_eq!(compared["groups"], list["groups"], "sources are of groups that are compared");
        let of_one = harness.get("/exceptions?sources=true&service=payment").await;
        assert_eq!(
            sources(&of_one),
            [json!([charge, null, 1]), json!(["payment authorize", charge, 0])]
        );
        let number = |name: &str| list[name].as_u64().unwrap();
        assert!(number("causeCount") > 0 && number("followCount") > 0, "{list}");
        assert_eq!(number("causeCount") + number("followCount"), number("count"));
        let plain = harness.get("/exceptions?compare=true").await;
        assert_eq!((plain.get("causeCount"), plain.get("followCount")), (None, None));
        for group in plain["groups"].as_array().unwrap() {
            assert_eq!((group.get("followsId"), &group["followerCount"]), (None, &json!(0)));
        }
    }
}

#[tokio::test]
async fn a_group_that_follows_is_listed_directly_after_its_source() {
    // The caller tries twice, and throws each time. Its source throws once.
    let harness = Harness::new().await;
    let retried = |trace: u64| {
        let at = trace * 100;
        [
            span(trace, 1, "gateway", "try").at(at, at + 9).exception("Failed", "no"),
            span(trace, 2, "gateway", "try").at(at + 10, at + 19).exception("Failed", "no"),
            span(trace, 3, "orders", "place")
                .parent(2)
                .at(at + 11, at + 18)
                .exception("NoOrder", "no"),
        ]
    };
    harness.send((1..7).flat_map(retried)).await;
    harness.send((11..20).map(|trace| thrown(trace, trace * 100, "BadAddress"))).await;
    let list = harness.get("/exceptions?compare=true").await;
    let by_count = ["gateway try", "bank pay", "orders place"].map(|place| json!([place, null, 0]));
    assert_eq!(sources(&list), by_count);
    let list = harness.get("/exceptions?sources=true").await;
    let as_one = [
        json!(["bank pay", null, 0]),
        json!(["orders place", null, 1]),
        json!(["gateway try", "orders place", 0]),
    ];
    assert_eq!(sources(&list), as_one);

    // A follower whose source is beyond the limit stays where its count has it.
    let cut = harness.get("/exceptions?sources=true&limit=2").await;
    assert_eq!(sources(&cut), by_count[..2]);
    assert_eq!(cut["groupCount"], 3);
}
