//! Clock offsets. The services of the notation stand for hosts here.

use proptest::prelude::*;
use tidings_proto::{OffsetNanos, UnixNanos};

use super::notation::read;
use crate::{Clocks, SpanFacts, assemble, clocks};

fn compare(facts: &[SpanFacts]) -> (Vec<u32>, Clocks) {
    let hosts: Vec<Option<u32>> =
        facts.iter().map(|span| (span.service != 0).then_some(span.service)).collect();
    let assembled = assemble(facts);
    let order = assembled.nodes.iter().map(|node| node.fact).collect();
    (order, clocks(&assembled, facts, &hosts))
}

/// The offsets of the spans that have one, in the order of the tree.
#[track_caller]
fn check(trace: &str, expected: &str) {
    let (names, facts) = read(trace);
    let (order, clocks) = compare(&facts);
    let moved = order.iter().zip(&clocks.offsets).filter(|(_, offset)| offset.0 != 0);
    let moved: Vec<String> =
        moved.map(|(fact, offset)| format!("{}{:+}", names[*fact as usize], offset.0)).collect();
    assert_eq!(moved.join(" "), expected, "{trace}");
}

#[test]
fn calls_that_fit_move_nothing() {
    check("a client @x 10..110; b<a server @y 20..100", "");
    check("a client @x 10..110; b<a server @y 10..110", "");
    check("a client @x 10..110; b<a server @x 500..550", "");
    check("a client 10..110; b<a server @y 500..550", "");
}

#[test]
fn a_call_that_does_not_fit_is_brought_to_the_middle_of_its_parent() {
    check("a client @x 10..110; b<a server @y 1..51", "b+34");
    check("a client @x 10..110; b<a server @y 500..550", "b-465");
    check("a @x 10..110; b<a @y 1..51", "b+34");
}

#[test]
fn all_calls_between_two_hosts_bound_the_offset() {
    // Call b alone allows offsets of 9..59 and call c alone 4..11; both together allow 9..11.
    check(
        "a client @x 10..110; b<a server @y 1..51; r client @x 205..310; c<r server @y 201..299",
        "b+10 c+10",
    );
    // A call back bounds the offset from the other side.
    check(
        "a client @x 10..110; b<a server @y 1..51; c<b client @y 5..45; d<c server @x 20..58",
        "b+14 c+14",
    );
}

#[test]
fn a_call_that_contradicts_the_others_is_left_out() {
    check(
        "a @x 1000..2000; b<a client @x 1010..1110; b'<a server @y 10..110 #1; c<a client @x 1200..1300; \
         d<c server @y 200..300; e<a client @x 1400..1500; f<e server @y 400..500; g<a client @x 1600..1700; \
         h<g server @y 1640..1660",
        "b'+1000 d+1000 f+1000 h+1000",
    );
    check(
        "a client @x 100..200; b<a server @y 10..100; c client @x 300..400; d<c server @y 900..990",
        "",
    );
}

#[test]
fn calls_that_no_parent_waits_for_are_no_evidence_and_keep_their_times() {
    check("a producer @x 10..20; b<a consumer @y 1..5", "");
    check("a client @x 10..20; b<a server @y 1..50", "");
    check("a @x 10..110; b<a @y 90..150", "");
    check("a @x 10..110; b<a @y 200..250", "");
    check(
        "a client @x 1010..1110; b<a server @y 10..110; p<a producer @x 1050..1060; q<p consumer @y 70..80",
        "b+1000",
    );
}

#[test]
fn spans_move_with_their_host_and_offsets_add_up() {
    check(
        "a client @x 1010..1110; b<a server @y 10..110; c<b @y 500..900; d<b 20..30",
        "b+1000 d+1000 c+1000",
    );
    check(
        "a client @x 1010..1110; b<a server @y 10..110; c<b client @y 20..90; d<c server @z 520..590",
        "b+1000 c+1000 d+500",
    );
    check("a client @x 1010..1110; b<a server @y 10..110; o<m @y 60..70", "o+1000 b+1000");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// With wrong clocks and symmetric networks, every offset is found to within the time that the
    /// fastest call spent on the network, and the corrected times make every call fit.
    #[test]
    fn offsets_are_found_within_their_uncertainty(
        wrong in prop::collection::vec(-1_000_000_i64..1_000_000, 4),
        calls in prop::collection::vec((0..4_u32, 0..4_u32, 1..200_u64, 1..200_u64, 10..1_000_u64), 1..30),
    ) {
        let mut facts = Vec::new();
        let begin = 10_000_000_u64;
        let shown = |host: u32, time: u64| UnixNanos(time.checked_add_signed(wrong[host as usize]).unwrap());
        for (number, (from, to, there, back, work)) in (1_u64..).zip(calls) {
            let start = begin + number * 5_000;
            let (_, pair) = read("a client; b<a server");
            let span_id = |n: u64| tidings_proto::SpanId::from_bytes(n.to_be_bytes()).unwrap();
            let end = start + there + work + back;
            facts.push(SpanFacts { span_id: span_id(number * 2), start: shown(from, start), end: shown(from, end), service: from + 1, ..pair[0] });
            facts.push(SpanFacts {
                span_id: span_id(number * 2 + 1),
                parent_span_id: Some(span_id(number * 2)),
                start: shown(to, start + there),
                end: shown(to, start + there + work),
                service: to + 1,
                ..pair[1]
            });
        }
        let (order, found) = compare(&facts);
        for host in &found.hosts {
            prop_assert!(host.agreeing == host.calls && host.calls > 0);
        }
        let moved = |at: u32| {
            let place = order.iter().position(|fact| *fact == at).unwrap();
            let OffsetNanos(offset) = found.offsets[place];
            let span = facts[at as usize];
            (i128::from(span.start.0) + i128::from(offset), i128::from(span.end.0) + i128::from(offset))
        };
        let calls = u32::try_from(facts.len() / 2).unwrap();
        // A ring of calls has one pair more than offsets: only the pairs that were compared fit.
        for call in 0..calls {
            let (caller, called) = (facts[call as usize * 2].service, facts[call as usize * 2 + 1].service);
            let compared = found.hosts.iter().any(|host| {
                (host.host, host.compared_with) == (caller, called) || (host.compared_with, host.host) == (caller, called)
            });
            if caller == called || compared {
                let (parent, child) = (moved(call * 2), moved(call * 2 + 1));
                prop_assert!(parent.0 <= child.0 && child.1 <= parent.1, "{parent:?} {child:?}");
            }
        }
    }
}
