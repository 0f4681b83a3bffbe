use proptest::prelude::*;

use super::{CANDIDATES_MAX, Candidate, CandidateId, TEXT_BYTES_MAX, recognise};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// Formats a candidate as `trace/span reason`; 64 bits as `..low`.
fn shown(candidate: &Candidate) -> String {
    let id = match &candidate.id {
        CandidateId::Trace(id) => id.to_string(),
        CandidateId::Low64(low) => format!("..{low:016x}"),
    };
    let span = candidate.span_id.map_or(String::new(), |span| format!("/{span}"));
    format!("{id}{span} {}", candidate.reason)
}

fn found(text: &str) -> Vec<String> {
    recognise(text).iter().map(shown).collect()
}

#[test]
fn every_notation_is_recognised_alone() {
    let id = |reason: &str| format!("{TRACE} {reason}");
    let spanned = |reason: &str| format!("{TRACE}/{SPAN} {reason}");
    let cases = [
        (TRACE.to_owned(), id("32 hex digits")),
        (TRACE.to_uppercase(), id("32 hex digits")),
        (format!("0x{TRACE}"), id("32 hex digits")),
        (format!("  \"{TRACE}\"\n"), id("32 hex digits")),
        ("4bf92f35-77b3-4da6-a3ce-929d0e0e4736".to_owned(), id("a UUID's digits")),
        ("{4BF92F35-77B3-4DA6-A3CE-929D0E0E4736}".to_owned(), id("a UUID's digits")),
        ("1-4bf92f35-77b34da6a3ce929d0e0e4736".to_owned(), id("X-Ray trace id")),
        (format!("00-{TRACE}-{SPAN}-01"), spanned("traceparent header")),
        (format!("{TRACE}-{SPAN}-1"), spanned("b3 header")),
        (format!("{TRACE}-{SPAN}-d-05e3ac9a4f6e3b90"), spanned("b3 header")),
        (format!("{TRACE}-{SPAN}"), spanned("a trace id and a span id")),
        (format!("{TRACE}:f067aa0ba902b7:0:1"), spanned("uber-trace-id header")),
        (format!("[shop,{TRACE},{SPAN}]"), spanned("Spring Cloud Sleuth log line")),
        (format!("INFO [shop, {TRACE}, {SPAN},true] x"), spanned("Spring Cloud Sleuth log line")),
        (format!("projects/shop/traces/{TRACE}"), id("Google Cloud trace path")),
        (format!("{TRACE}/67667974448284343;o=1"), spanned("X-Cloud-Trace-Context header")),
        ("S/kvNXezTaajzpKdDg5HNg==".to_owned(), id("16 bytes in base64")),
        ("S/kvNXezTaajzpKdDg5HNg".to_owned(), id("16 bytes in base64")),
        ("S_kvNXezTaajzpKdDg5HNg==".to_owned(), id("16 bytes in base64")),
        ("100985939111033328018442752961257817910".to_owned(), id("128-bit decimal id")),
        // 4bf92f35-77b3-4da6-a3ce-929d0e0e4736, as agents without threads send it.
        (skywalking("NGJmOTJmMzUtNzdiMy00ZGE2LWEzY2UtOTI5ZDBlMGU0NzM2"), id("sw8 header")),
    ];
    for (text, expected) in cases {
        assert_eq!(found(&text).first(), Some(&expected), "{text}");
    }
}

fn skywalking(id: &str) -> String {
    format!("1-{id}-ZGVm-3-c2hvcA==-djE=-L2NhcnQ=-MTI3LjAuMC4xOjgw")
}

#[test]
fn the_id_in_a_skywalking_header_is_the_one_that_collectors_make_of_it() {
    // 4bf92f3577b34da6a3ce929d0e0e4736.12.16563474296430001
    let header =
        skywalking("NGJmOTJmMzU3N2IzNGRhNmEzY2U5MjlkMGUwZTQ3MzYuMTIuMTY1NjM0NzQyOTY0MzAwMDE=");
    let expected = [
        "4bf92f357bb34da612933dfc6ad67d36 sw8 header",
        "4bf92f3577b34da6a3ce929d0e0e4736 sw8 header",
    ];
    for text in [header.clone(), format!("sw8: {header}"), format!("GET / sw8=\"{header}\" 200")] {
        assert_eq!(found(&text)[..2], expected, "{text}");
    }
    for other in ["1-YWJj-ZGVm-3-c2hvcA==-djE=", "1-zzzz-yyyy-3-a-b-c-d", "1-2-3-4-5-6-7-8-9"] {
        assert!(found(other).iter().all(|one| !one.contains("sw8")), "{other}");
    }
}

#[test]
fn ids_of_64_bits_are_recognised_alone() {
    let hex = "a3ce929d0e0e4736";
    let cases: &[(&str, &[&str])] = &[
        (hex, &["..a3ce929d0e0e4736 16 hex digits"]),
        ("0XA3CE929D0E0E4736", &["..a3ce929d0e0e4736 16 hex digits"]),
        (
            "11803532876627986230",
            &[
                "..a3ce929d0e0e4736 Datadog decimal id",
                "00000000000011803532876627986230 hex digits without leading zeros",
            ],
        ),
        ("a3ce929d0e0e4736-00f067aa0ba902b7-0", &["..a3ce929d0e0e4736/00f067aa0ba902b7 b3 header"]),
        ("e0e4736", &["..000000000e0e4736 hex digits without leading zeros"]),
        (
            "f92f3577b34da6a3ce929d0e0e4736",
            &["00f92f3577b34da6a3ce929d0e0e4736 hex digits without leading zeros"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(found(text), *expected, "{text}");
    }
}

#[test]
fn ids_are_found_in_lines_and_addresses() {
    let id = |reason: &str| vec![format!("{TRACE} {reason}")];
    let spanned = |reason: &str| vec![format!("{TRACE}/{SPAN} {reason}")];
    let cases = [
        (format!("GET / traceparent: 00-{TRACE}-{SPAN}-01 200"), spanned("traceparent header")),
        (
            format!(
                "X-Amzn-Trace-Id: Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent={SPAN};Sampled=1"
            ),
            id("X-Ray trace id"),
        ),
        (format!("uber-trace-id:{TRACE}%3A{SPAN}%3A0%3A1"), spanned("uber-trace-id header")),
        (
            format!("https://jaeger.example/trace/{TRACE}?uiFind={SPAN}"),
            vec![format!("{TRACE} 32 hex digits"), format!("..{SPAN} 16 hex digits")],
        ),
        (
            format!("2024-05-17T10:11:12.123Z ERROR [web,{TRACE},{SPAN}] boom"),
            vec![
                format!("{TRACE}/{SPAN} Spring Cloud Sleuth log line"),
                format!("..{SPAN} 16 hex digits"),
            ],
        ),
        (format!("level=info trace_id={TRACE} span_id={SPAN} msg=hi"), spanned("32 hex digits")),
        (
            format!(r#"{{"traceId":"{TRACE}","spanId":"{SPAN}","parentId":"05e3ac9a4f6e3b90"}}"#),
            spanned("32 hex digits"),
        ),
        (
            "dd.trace_id=11803532876627986230 dd.span_id=5".to_owned(),
            vec![
                "..a3ce929d0e0e4736 Datadog decimal id".to_owned(),
                "00000000000011803532876627986230 hex digits without leading zeros".to_owned(),
            ],
        ),
        ("[opentelemetry trace_id=\"\" span_id=\"\"]".to_owned(), Vec::new()),
    ];
    for (text, expected) in cases {
        assert_eq!(found(&text), expected, "{text}");
    }
}

#[test]
fn texts_without_an_id_give_nothing() {
    for text in [
        "order-4711",
        "2024-05-17T10:11:12.123+02:00 took 1234 ms",
        "00000000000000000000000000000000",
        "00-00000000000000000000000000000000-0000000000000000-00",
        "de:ad:be:ef:00:01",
        "12:30:45:12",
        "4bf92f3577b34da6a3ce929d0e0e47360",
        "x4bf92f3577b34da6a3ce929d0e0e4736",
        "Übergröße ❄",
        "0",
    ] {
        assert_eq!(found(text), Vec::<String>::new(), "{text}");
    }
    for blank in ["", " \n\t", "\"\""] {
        assert_eq!(recognise(blank), [], "{blank:?}");
    }
}

#[test]
fn ids_and_text_are_bounded() {
    let many: String = (1..2_000).map(|number: u32| format!("{number:032x} ")).collect();
    assert_eq!(recognise(&many).len(), CANDIDATES_MAX);
    let wide = "é".repeat(TEXT_BYTES_MAX);
    assert_eq!(recognise(&wide), []);
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in "\\PC{0,200}") {
        prop_assert!(recognise(&text).len() <= CANDIDATES_MAX);
    }

    #[test]
    fn texts_like_ids_are_never_too_odd(text in "[0-9a-fA-F:x=/%-]{0,80}") {
        prop_assert!(recognise(&text).len() <= CANDIDATES_MAX);
    }

    #[test]
    fn a_traceparent_is_found_anywhere(before in "[ a-z=:\"]{0,20}", trace in "[0-9a-f]{31}[1-9]") {
        let candidates = recognise(&format!("{before} 00-{trace}-{SPAN}-01, more"));
        prop_assert_eq!(shown(&candidates[0]), format!("{trace}/{SPAN} traceparent header"));
    }
}
