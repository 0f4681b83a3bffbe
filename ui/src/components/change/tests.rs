use tidings_proto::api::{
    AttributeName, Cause, CauseKind, Change, ChangeKind, StatsSince, Subject, SubjectKind,
};

use super::{
    ChangeSentence, ChangedGroup, MAY_BE_CHANCE, Tone, badge_text, badge_time, badge_title,
    badge_tone, before_title, called_change, cause_text, change_text, change_tone, felt_text,
    full_text, join_names, number_text, number_title, row_numbers, row_text, sentence_of,
    subject_text, truncate_name, unchanged_text,
};

fn change(kind: ChangeKind, before: f64, now: f64) -> Change {
    Change {
        kind,
        is_worse: now > before,
        before,
        now,
        factor: (before > 0.0).then(|| now / before),
        difference: now - before,
        quantile: None,
        worse_quantiles: Vec::new(),
        since_unix_nano: None,
        tested_since_unix_nano: None,
        p_value: 0.001,
        text: Some("CardDeclined".to_owned()),
        id: None,
    }
}

#[test]
fn a_change_is_written_in_the_unit_that_reads_best() {
    let cases = [
        (ChangeKind::Latency, 103e6, 402e6, "3.9× slower"),
        (ChangeKind::Latency, 402e6, 103e6, "3.9× faster"),
        (ChangeKind::Latency, 132e6, 180e6, "48.0 ms slower"),
        (ChangeKind::Latency, 0.0, 180e6, "180 ms slower"),
        (ChangeKind::Errors, 0.001, 0.102, "10.2 % fail"),
        (ChangeKind::Throughput, 20.0, 18.0, "10.0 % fewer calls"),
        (ChangeKind::Throughput, 20.0, 60.0, "3.0× more calls"),
        (ChangeKind::Throughput, 0.0, 60.0, "more calls"),
        (ChangeKind::NewException, 0.0, 3.0, "new exception CardDeclined"),
        (ChangeKind::NewLogPattern, 0.0, 3.0, "new log pattern: CardDeclined"),
        (ChangeKind::Missing, 2.0, 0.0, "no calls any more"),
        (ChangeKind::Missing, 0.0, 0.667, "sends no span for 66.7 % of its calls"),
        (ChangeKind::New, 0.0, 2.0, "new, 120 calls a minute"),
        (ChangeKind::Callees, 0.0, 0.5, "calls others than before"),
        (ChangeKind::Repeats, 1.0, 700.0, "called 700 times by one span"),
    ];
    for (kind, before, now, expected) in cases {
        assert_eq!(change_text(&change(kind, before, now)), expected, "{before} to {now}");
    }
}

#[test]
fn a_change_is_written_with_the_value_before() {
    let now = tidings_proto::UnixNanos(1);
    let mut slower = change(ChangeKind::Latency, 103e6, 402e6);
    for (quantile, of) in [(None, ""), (Some(0), "mean "), (Some(50), "p50 ")] {
        slower.quantile = quantile;
        let expected = format!("3.9× slower ({of}402 ms, it was 103 ms)");
        assert_eq!(full_text(&slower, now), expected);
    }
    assert_eq!(full_text(&change(ChangeKind::Callees, 0.0, 0.5), now), "calls others than before");
}

#[test]
fn a_row_names_the_quantile_of_a_change_that_its_numbers_are_not_of() {
    let mut slower = change(ChangeKind::Latency, 103e6, 402e6);
    for (quantile, expected) in
        [(Some(50), "p50 3.9× slower"), (Some(95), "3.9× slower"), (None, "3.9× slower")]
    {
        slower.quantile = quantile;
        assert_eq!(row_text(&slower, 95), expected);
    }
    slower.quantile = Some(50);
    let now = tidings_proto::UnixNanos(1);
    assert_eq!(number_title(&slower, now), "3.9× slower: p50 103 → 402 ms");
    let failing = change(ChangeKind::Errors, 0.001, 0.102);
    assert_eq!(row_text(&failing, 95), "10.2 % fail");
    let callees = change(ChangeKind::Callees, 0.0, 0.5);
    assert_eq!(number_title(&callees, now), "calls others than before");
}

#[test]
fn numbers_of_a_change_name_their_quantile_and_stand_in_order_of_time() {
    let mut slower = change(ChangeKind::Latency, 212e6, 457e6);
    slower.quantile = Some(50);
    assert_eq!(number_text(&slower).as_deref(), Some("p50 212 → 457 ms"));
    slower.now = 1.34e9;
    assert_eq!(number_text(&slower).as_deref(), Some("p50 212 ms → 1.34 s"));
    (slower.before, slower.now) = (125e9, 185e9);
    assert_eq!(number_text(&slower).as_deref(), Some("p50 2 min 5 s → 3 min 5 s"));
    let failing = change(ChangeKind::Errors, 0.001, 0.102);
    assert_eq!(number_text(&failing).as_deref(), Some("0.1 → 10.2 %"));
    let more = change(ChangeKind::Throughput, 0.5, 2.0);
    assert_eq!(number_text(&more).as_deref(), Some("30.0 → 120 /min"));
    for kind in [ChangeKind::New, ChangeKind::NewException, ChangeKind::ClockSkew] {
        assert_eq!(number_text(&change(kind, 1.0, 2.0)), None, "{kind:?}");
    }
}

/// Returns a service without a change, with as many calls now as before.
fn service(name: &str) -> ChangedGroup {
    let stats = serde_json::json!({
        "count": 9, "ratePerSecond": 1.0, "errorCount": 0, "errorShare": 0.0,
        "p50Nano": "1", "p95Nano": "1",
    });
    serde_json::from_value(serde_json::json!({
        "service": name, "now": stats, "before": stats, "steps": [], "baselineSteps": [],
        "changes": [], "score": 0.0,
    }))
    .unwrap()
}

/// Returns the headline that `northpay`, called by `payment`, is slower with a version of
/// `mesh`.
fn headline() -> ChangeSentence {
    let subject = Subject {
        kind: SubjectKind::Peer,
        service: "payment".to_owned(),
        operation: None,
        peer: Some("northpay".to_owned()),
    };
    let cause = Cause {
        kind: CauseKind::Version,
        service: "mesh".to_owned(),
        attribute: None,
        value: Some("1.9.0".to_owned()),
        changed_share: 0.9,
        rest_share: 0.1,
        before_share: 0.0,
        first_seen_unix_nano: None,
    };
    let change = change(ChangeKind::Latency, 103e6, 402e6);
    ChangeSentence { subject, change, with: vec![cause], explained_share: None }
}

#[test]
fn a_service_that_the_headline_names_is_not_as_usual_and_feels_nothing() {
    let headline = headline();
    let role = |group: &ChangedGroup| {
        let (sentence, only_feels) = sentence_of(group, Some(&headline))?;
        let name = (group.service.as_str(), None);
        Some(badge_text(sentence, name, only_feels, ""))
    };
    let northpay = ChangedGroup { uninstrumented: true, ..service("northpay") };
    let feels = |name: &str| ChangedGroup {
        sentence: Some(headline.clone()),
        only_feels: true,
        ..service(name)
    };
    for (group, expected) in [
        (northpay, Some("3.9× slower")),
        (service("northpay"), None),
        (service("payment"), Some("northpay 3.9× slower")),
        (feels("payment"), Some("northpay 3.9× slower")),
        (service("mesh"), Some("1.9.0: northpay 3.9× slower")),
        (feels("web"), Some("northpay")),
        (service("cart"), None),
    ] {
        assert_eq!(role(&group).as_deref(), expected, "{group:?}");
    }
}

#[test]
fn the_numbers_of_a_change_do_not_contradict_those_of_its_row() {
    let p99 = Change { quantile: Some(99), ..change(ChangeKind::Latency, 1.39e9, 4.9e9) };
    let mut group = service("web");
    let minute = |_: tidings_proto::UnixNanos| "14:22".to_owned();
    let numbers = |group: &ChangedGroup, change: &Change| {
        row_numbers(group, change, "its ", minute).map(|(_, text)| text)
    };
    let words = |group: &ChangedGroup| numbers(group, &p99);
    group.now.p99_nano = tidings_proto::DurationNanos(1_530_000_000);
    assert_eq!(words(&group).as_deref(), Some("numbers of the whole range"));
    group.now.p99_nano = tidings_proto::DurationNanos(4_800_000_000);
    assert_eq!(words(&group).as_deref(), Some("its p99 1.39 → 4.90 s"));
    let complete = change(ChangeKind::New, 0.0, 2.0);
    assert_eq!(numbers(&group, &complete), None, "the badge has its number");
    // Those of a last part of the range have its begin.
    group.now.p99_nano = tidings_proto::DurationNanos(1_530_000_000);
    let late = Change { tested_since_unix_nano: Some(tidings_proto::UnixNanos(7)), ..p99.clone() };
    assert_eq!(numbers(&group, &late).as_deref(), Some("its p99 1.39 → 4.90 s from 14:22"));
}

#[test]
fn a_badge_names_the_time_of_the_numbers_beside_it() {
    let (own, of_row) = (tidings_proto::UnixNanos(7), tidings_proto::UnixNanos(9));
    let slower = change(ChangeKind::Latency, 103e6, 402e6);
    let begun = Change { since_unix_nano: Some(own), ..slower.clone() };
    let new = change(ChangeKind::New, 0.0, 2.0);
    let time = |change: &Change, begin| badge_time(change, begin, |time| time.0.to_string());
    assert_eq!(time(&begun, Some(of_row)), " since 7");
    assert_eq!(time(&slower, Some(of_row)), " since 9", "its subject changed at an unknown time");
    assert_eq!(time(&begun, None), " in this range", "the row has no begin");
    assert_eq!(time(&slower, None), " in this range");
    assert_eq!([None, Some(of_row)].map(|begin| time(&new, begin)), ["", ""]);
    // The time is that of the numbers of the group.
    let exception =
        Change { since_unix_nano: Some(own), ..change(ChangeKind::NewException, 0.0, 3.0) };
    assert_eq!(time(&exception, super::begin_of(&service("cart"))), " in this range");
    let stats = service("cart").now;
    let since = Some(StatsSince { start_unix_nano: of_row, stats });
    let group = ChangedGroup { since, ..service("cart") };
    assert_eq!(time(&exception, super::begin_of(&group)), " since 7");
}

#[test]
fn the_words_and_the_title_of_a_badge_say_that_a_group_only_feels_a_change() {
    let (headline, now) = (headline(), tidings_proto::UnixNanos(1));
    let feels = |name: &str| ChangedGroup {
        sentence: Some(headline.clone()),
        only_feels: true,
        ..service(name)
    };
    let felt = |group: &ChangedGroup| felt_text(group, Some(&headline), now);
    assert_eq!(felt(&feels("web")).as_deref(), Some("northpay in this range"));
    assert_eq!(felt(&feels("payment")), None, "the headline names it");
    assert_eq!(felt(&service("cart")), None);
    let titles = [true, false].map(|only_feels| badge_title(&headline, only_feels, now));
    assert_eq!(titles[0], format!("affected by {}", titles[1]));
    assert!(titles[1].starts_with("northpay: 3.9× slower"), "{titles:?}");
}

#[test]
fn a_service_that_calls_the_changed_endpoint_has_its_name_and_the_words_of_the_badge() {
    let (mut headline, now) = (headline(), tidings_proto::UnixNanos(1));
    let called = |group: &ChangedGroup, headline: &ChangeSentence| {
        let called = called_change(group, Some(headline), now)?;
        Some((called.name, called.badge))
    };
    let badge = "northpay 3.9× slower in this range".to_owned();
    let expected = Some(("northpay".to_owned(), badge));
    assert_eq!(called(&service("payment"), &headline), expected);
    let northpay = ChangedGroup { uninstrumented: true, ..service("northpay") };
    for group in [northpay, service("mesh"), service("cart")] {
        assert_eq!(called(&group, &headline), None, "{group:?}");
    }
    headline.with[0].service = "payment".to_owned();
    assert_eq!(called(&service("payment"), &headline), None, "the cause is its own");
    headline.with.clear();
    headline.change.is_worse = false;
    assert_eq!(called(&service("payment"), &headline), None, "better is no alarm");
}

#[test]
fn nothing_is_as_usual_without_enough_calls_to_compare_with() {
    let mut group = service("cart");
    assert_eq!(unchanged_text(&group), "as usual");
    group.is_uncertain = true;
    assert_eq!(unchanged_text(&group), "worse, but may be chance");
    group.now.count = 0;
    assert_eq!(unchanged_text(&group), "no calls now");
    group.before.count = 0;
    assert_eq!(unchanged_text(&group), "no calls before");
}

#[test]
fn the_title_of_a_number_says_where_chance_may_explain_it() {
    let before = || Some("3.0 %".to_owned());
    assert_eq!(before_title(before(), false).as_deref(), Some("it was 3.0 %"));
    let both = "it was 3.0 %; worse, but may be chance";
    assert_eq!(before_title(before(), true).as_deref(), Some(both));
    assert_eq!(before_title(None, true).as_deref(), Some(MAY_BE_CHANCE));
    assert_eq!(before_title(None, false), None);
}

#[test]
fn a_subject_is_named_by_what_it_is() {
    let mut subject = Subject {
        kind: SubjectKind::Service,
        service: "payment".to_owned(),
        operation: Some("charge".to_owned()),
        peer: Some("northpay".to_owned()),
    };
    assert_eq!(subject_text(&subject), "payment");
    subject.kind = SubjectKind::Operation;
    assert_eq!(subject_text(&subject), "charge of payment");
    subject.kind = SubjectKind::Peer;
    assert_eq!(subject_text(&subject), "northpay");
    assert_eq!(truncate_name(&"x".repeat(10_000)).chars().count(), 61);
}

#[test]
fn a_cause_is_named_by_what_it_is() {
    let cause = |kind, key: Option<&str>, value: Option<&str>| {
        cause_text(&Cause {
            kind,
            service: "payment".to_owned(),
            attribute: key
                .map(|key| AttributeName { scope: "resource".to_owned(), key: key.to_owned() }),
            value: value.map(str::to_owned),
            changed_share: 0.9,
            rest_share: 0.1,
            before_share: 0.0,
            first_seen_unix_nano: None,
        })
    };
    let version = cause(CauseKind::Version, Some("service.version"), Some("2.14.0"));
    assert_eq!(version, "payment 2.14.0");
    assert_eq!(
        cause(CauseKind::Host, Some("host.name"), Some("node-4")),
        "host.name = node-4 of payment"
    );
    assert_eq!(cause(CauseKind::Attribute, Some("tenant"), None), "no tenant in payment");
    assert_eq!(cause(CauseKind::Exception, None, Some("Timeout")), "Timeout in payment");
    assert_eq!(cause(CauseKind::MoreCalls, None, None), "more calls of payment");
}

#[test]
fn red_is_kept_for_what_hurts() {
    assert_eq!(change_tone(&change(ChangeKind::Errors, 0.0, 0.5)), Tone::Error);
    assert_eq!(change_tone(&change(ChangeKind::Latency, 1.0, 1.5)), Tone::Warning);
    assert_eq!(change_tone(&change(ChangeKind::Latency, 2.0, 1.0)), Tone::Good);
    let slower = change(ChangeKind::Latency, 1.0, 3.0);
    let tones = [false, true].map(|is_elsewhere| badge_tone(&slower, is_elsewhere));
    assert_eq!(tones, [Tone::Error, Tone::Warning]);
}

#[test]
fn a_list_reads_as_a_sentence() {
    let words = ["a", "b", "c"].map(str::to_owned);
    assert_eq!(
        [&words[..0], &words[..1], &words[..2], &words].map(join_names),
        ["", "a", "a and b", "a, b and c"]
    );
}
