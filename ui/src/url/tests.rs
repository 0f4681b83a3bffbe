//! Round trips between states and addresses.

use proptest::{collection::vec, option, prelude::*};
use tidings_proto::{DurationNanos, SpanId, TraceId, UnixNanos};

use super::{
    AttributeFilter, COLUMNS_MAX, ExploreState, HeatmapBox, LogListing, LogState, ParsedParam,
    TimeRange, TraceFilters, TraceListQuery, TraceSort, UrlQuery, parse_duration,
};
use crate::api;

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z.-]{1,12}", "\\PC{1,16}", Just("a&b=c+d %2f#é?".to_owned())]
}

fn range() -> impl Strategy<Value = TimeRange> {
    prop_oneof![
        (1..10_000_000_u64).prop_map(|seconds| TimeRange::Last { seconds }),
        (any::<u32>(), any::<u32>()).prop_map(|(from, length)| TimeRange::Between {
            from_unix_ms: from.into(),
            to_unix_ms: u64::from(from) + u64::from(length),
        }),
        Just(TimeRange::All),
    ]
}

fn trace_id() -> impl Strategy<Value = TraceId> {
    any::<[u8; 16]>().prop_filter_map("zero", TraceId::from_bytes)
}

fn attributes() -> impl Strategy<Value = Vec<AttributeFilter>> {
    let attribute = ("[a-z.]{1,12}", option::of("\\PC{0,12}"))
        .prop_map(|(key, value)| AttributeFilter { key, value });
    vec(attribute, 0..4)
}

fn heatmap_box() -> impl Strategy<Value = HeatmapBox> {
    (1..1_000_000_u64, 1..1_000_u64, any::<u32>(), any::<u32>()).prop_map(
        |(from, length, shortest, more)| HeatmapBox {
            from: UnixNanos(from * 1_000_000),
            to: UnixNanos((from + length) * 1_000_000),
            shortest: DurationNanos(shortest.into()),
            longest: DurationNanos(u64::from(shortest) + u64::from(more)),
        },
    )
}

fn filters() -> impl Strategy<Value = TraceFilters> {
    let nanos =
        || option::of(any::<u64>().prop_map(|nanos| ParsedParam::Read(DurationNanos(nanos))));
    let text = || option::of(word());
    (text(), text(), text(), text(), nanos(), nanos(), attributes(), attributes()).prop_map(
        |(service, operation, status, kind, duration_min, duration_max, attributes, without)| {
            TraceFilters {
                service,
                operation,
                status,
                kind,
                duration_min,
                duration_max,
                attributes,
                without,
            }
        },
    )
}

proptest! {
    #[test]
    fn explore_survives_its_address(
        range in range(), filters in filters(), selected in option::of(trace_id()),
        query in option::of(word()), chosen in option::of(heatmap_box()),
        sort in option::of(prop_oneof![
            Just(TraceSort::Duration), Just(TraceSort::Errors), Just(TraceSort::Spans),
            Just(TraceSort::SpanDuration)
        ]),
        group in option::of(word()), hidden in vec("[a-z]{1,8}", 0..3),
        lists_spans: bool, columns in vec(word(), 0..=COLUMNS_MAX),
        seconds_before in option::of(1..10_000_000_u64),
    ) {
        let range_before = seconds_before.filter(|_| !range.is_open_ended());
        let range_before = range_before.map(|seconds| TimeRange::Last { seconds });
        let state = ExploreState {
            range, range_before, filters, query, chosen, sort, group, hidden, selected, lists_spans, columns,
        };
        let address = state.write().to_string();
        prop_assert!(address.is_ascii());
        prop_assert_eq!(ExploreState::read(&UrlQuery::parse(&address)), state);
    }

    #[test]
    fn logs_survive_their_address(
        range in range(), texts in (option::of(word()), option::of(word()), option::of(word())),
        trace_id in option::of(trace_id()), span in option::of(any::<[u8; 8]>()),
        open in option::of("[0-9a-f]{16}"), around in option::of(0..=200_u32),
        attributes in attributes(), listing in 0..3_usize, at in option::of(any::<u64>()),
        columns in vec(word(), 0..3), base in option::of((0..9_u64, 9..99_u64)),
    ) {
        let view = [LogListing::Lines, LogListing::Patterns, LogListing::Differences][listing];
        let (asked, service, severity) = texts;
        let span_id = span.and_then(SpanId::from_bytes).map(ParsedParam::Read);
        let trace_id = trace_id.map(ParsedParam::Read);
        let state = LogState {
            range, query: asked, service, severity, trace_id, span_id, attributes, view, columns, open, at,
            around, base,
        };
        prop_assert_eq!(LogState::read(&UrlQuery::parse(&state.write().to_string())), state);
    }

    #[test]
    fn any_text_is_read(text in "\\PC{0,64}") {
        let query = UrlQuery::parse(&text);
        let _read = (ExploreState::read(&query), LogState::read(&query));
        prop_assert_eq!(UrlQuery::parse(&query.to_string()), query);
    }
}

#[test]
fn the_plain_state_has_a_plain_address() {
    assert_eq!(ExploreState::default().write().on("/explore"), "/explore");
}

#[test]
fn addresses_stay_readable() {
    let query = UrlQuery::parse("?service=checkout&min=200ms&attr=order.id%3DA-1&range=15m");
    let state = ExploreState::read(&query);
    assert_eq!(state.filters.duration_min, Some(ParsedParam::Read(DurationNanos(200_000_000))));
    assert_eq!(state.write().to_string(), query.to_string());
    assert_eq!(query.to_string(), "service=checkout&min=200ms&attr=order.id%3DA-1&range=15m");
}

#[test]
fn a_page_keeps_the_live_switch_as_it_stands() {
    let current = UrlQuery::parse("service=cart&live=off");
    let next = ExploreState::default().write().with_switches_of(&current);
    assert_eq!(next.to_string(), "live=off");
    assert_eq!(next.with_switches_of(&UrlQuery::default()), UrlQuery::default());
}

#[test]
fn a_pair_without_a_key_is_left_out() {
    for text in ["", "?", "=", "&", "&=&", "=value", "?=value&&="] {
        assert_eq!(UrlQuery::parse(text), UrlQuery::default(), "{text}");
    }
    assert_eq!(UrlQuery::parse("=x&live=off&=").to_string(), "live=off");
}

#[test]
fn places_that_are_nonsense_are_left_out() {
    let query = UrlQuery::parse("selected=zz&range=1y&from=9&to=3&attr=&min=&service=%zz+y&&=");
    let state = ExploreState::read(&query);
    let filters = TraceFilters { service: Some("%zz y".to_owned()), ..TraceFilters::default() };
    assert_eq!(state, ExploreState { filters, ..ExploreState::default() });
}

#[test]
fn filters_that_are_nonsense_are_kept_and_asked_as_they_stand() {
    let text = "min=fast&max=1y&attr=%3Dx";
    let state = ExploreState::read(&UrlQuery::parse(text));
    assert_eq!(state.filters.duration_min, Some(ParsedParam::Unread("fast".to_owned())));
    assert_eq!(state.write().to_string(), text);
    let request = api::traces(&state.filters, TimeRange::All, UnixNanos(0), None);
    let asked = request.address();
    for part in ["minDuration=fast", "maxDuration=1y", "attribute=%3Dx"] {
        assert!(asked.contains(part), "{asked}");
    }

    let text = "trace=mine&span=0";
    let state = LogState::read(&UrlQuery::parse(text));
    assert_eq!(state.write().to_string(), text);
    let request = api::logs(&state, UnixNanos(0), None);
    let asked = request.address();
    assert!(asked.contains("traceId=mine") && asked.contains("spanId=0"), "{asked}");
}

#[test]
fn durations_are_read_as_people_type_them() {
    for (text, nanos) in [
        ("200ms", Some(200_000_000)),
        ("1.5 s", Some(1_500_000_000)),
        ("800µs", Some(800_000)),
        ("2min", Some(120_000_000_000)),
        ("250", Some(250_000_000)),
        ("0.0000000001s", None),
        ("18446744073709551615s", None),
        ("fast", None),
        (".5s", None),
        ("", None),
    ] {
        assert_eq!(parse_duration(text), nanos.map(DurationNanos), "{text}");
    }
}

#[test]
fn a_moving_range_is_open_at_the_end() {
    let now = UnixNanos(10_000_000_000_000);
    let hour = TimeRange::default();
    assert_eq!(hour.bounds(now), (Some(UnixNanos(6_400_000_000_000)), None));
    assert_eq!(TimeRange::All.bounds(now), (None, None));
    let fixed = TimeRange::Between { from_unix_ms: 1, to_unix_ms: 2 };
    assert_eq!(fixed.bounds(now), (Some(UnixNanos(1_000_000)), Some(UnixNanos(2_000_000))));
    assert!(hour.is_open_ended() && !fixed.is_open_ended());
}

#[test]
fn ranges_are_named_in_words() {
    let label = |range: TimeRange| range.label(UnixNanos(1_000_000_000_000), 0);
    assert_eq!(label(TimeRange::default()), "Last 1 h");
    assert_eq!(label(TimeRange::Last { seconds: 300 }), "Last 5 min");
    assert_eq!(label(TimeRange::All), "All time");
    let fixed = TimeRange::Between { from_unix_ms: 1_000_500, to_unix_ms: 1_060_000 };
    assert_eq!(label(fixed), "00:16:40 to 00:17:40");
}

fn minute_box() -> HeatmapBox {
    HeatmapBox {
        from: UnixNanos(60_000_000_000),
        to: UnixNanos(120_000_000_000),
        shortest: DurationNanos(1_000_000),
        longest: DurationNanos(9_000_000),
    }
}

#[test]
fn parameters_of_a_range_that_cannot_be_read_are_named() {
    for (text, unread) in [
        ("", None),
        ("range=15m", None),
        ("range=all", None),
        ("from=3&to=9", None),
        ("from=3&to=9&range=zzz", None),
        ("range=zzz", Some("range=zzz")),
        ("range=0s", Some("range=0s")),
        ("from=abc", Some("from=abc")),
        ("from=9&to=3", Some("from=9&to=3")),
        ("to=9&range=15m", Some("to=9")),
    ] {
        assert_eq!(TimeRange::unread(&UrlQuery::parse(text)).as_deref(), unread, "{text}");
    }
}

#[test]
fn a_box_fixes_a_moving_range_until_it_is_dropped() {
    let (hour, now) = (TimeRange::default(), UnixNanos(3_700_000_000_000));
    let mut state = ExploreState::default();
    state.choose_box(minute_box(), now);
    let fixed = TimeRange::Between { from_unix_ms: 100_000, to_unix_ms: 3_700_000 };
    assert_eq!((state.range, state.range_before), (fixed, Some(hour)));
    let later = UnixNanos(now.0 + 60_000_000_000);
    state.choose_box(minute_box(), later);
    assert_eq!((state.range, state.range_before), (fixed, Some(hour)), "of the same time");
    let mut query = state.write();
    state.drop_box();
    assert_eq!(state, ExploreState::default());

    // Another range that was chosen meanwhile stays.
    TimeRange::Between { from_unix_ms: 1, to_unix_ms: 2 }.write(&mut query);
    let mut chosen = ExploreState::read(&query);
    chosen.drop_box();
    assert_eq!(chosen.range, TimeRange::Between { from_unix_ms: 1, to_unix_ms: 2 });
    let mut all = ExploreState { range: TimeRange::All, ..ExploreState::default() };
    all.choose_box(minute_box(), now);
    assert_eq!(all.range, TimeRange::All);
}

#[test]
fn a_box_narrows_what_filters_find() {
    let chosen = minute_box();
    let filters = TraceFilters {
        service: Some("shop".to_owned()),
        duration_min: Some(ParsedParam::Read(DurationNanos(2_000_000))),
        ..TraceFilters::default()
    };
    let list_query = TraceListQuery {
        filters,
        chosen: Some(chosen),
        sort: Some(TraceSort::Errors),
        ..TraceListQuery::default()
    };
    let request = api::explored_traces(&list_query, UnixNanos(0), None);
    for part in [
        "service=shop",
        "minDuration=2000000",
        "maxDuration=9000000",
        "start=60000000000",
        "end=120000000000",
        "sort=errors",
    ] {
        assert!(request.address().contains(part), "{part} in {}", request.address());
    }
}

#[test]
fn filters_that_exclude_are_asked_as_a_query() {
    let mut list_query = TraceListQuery::default();
    list_query.filters.service = Some("shop".to_owned());
    list_query.filters.without = vec![AttributeFilter::parse("service.version=2").unwrap()];
    let request = api::explored_traces(&list_query, UnixNanos(0), None);
    let query = UrlQuery::parse(request.address().split_once('?').unwrap().1);
    assert_eq!(
        query.get("q"),
        Some(
            "{ resource.service.name = \"shop\" && (.service.version != 2 || .service.version != \"2\") }"
        )
    );
    assert_eq!(query.get("service"), None);
}

#[test]
fn a_list_of_spans_or_with_columns_is_asked_as_a_query_with_their_values() {
    let mut list_query = TraceListQuery { lists_spans: true, ..TraceListQuery::default() };
    let asked = |list_query: &TraceListQuery| {
        let request = api::explored_traces(list_query, UnixNanos(0), None);
        let query = UrlQuery::parse(request.address().split_once('?').unwrap().1);
        (query.get("q").unwrap().to_owned(), query.get("spansPerSpanset").map(str::to_owned))
    };
    let spans = Some("20".to_owned());
    assert_eq!(asked(&list_query), ("{ } | select(status)".to_owned(), spans.clone()));
    list_query.lists_spans = false;
    list_query.columns = vec!["order.id".to_owned()];
    list_query.query = Some("{ status = error } | count() > 2".to_owned());
    let wanted = "{ status = error } | count() > 2 | select(status, .order.id)";
    assert_eq!(asked(&list_query), (wanted.to_owned(), spans));
}

#[test]
fn a_box_survives_the_address() {
    let chosen = HeatmapBox {
        from: UnixNanos(1_795_161_600_000_000_000),
        to: UnixNanos(1_795_161_660_000_000_000),
        shortest: DurationNanos(83_886_080),
        longest: DurationNanos(100_663_295),
    };
    assert_eq!(HeatmapBox::parse(&chosen.write()), Some(chosen));
    for wrong in ["", "1-2-3", "2-1-3-4", "1-2-4-3", "1-2-3-x", "1-2-3-4-5"] {
        assert_eq!(HeatmapBox::parse(wrong), None, "{wrong}");
    }
}
