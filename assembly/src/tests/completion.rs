//! The path to completion.

use super::notation::check;

#[test]
fn nothing_is_repeated_where_nothing_outlives_the_root() {
    check("a 10..20", "completion");
    check("a 10..30; b<a 12..20; c<a 14..28", "completion");
    check("a 10..30; b<a producer 12..14; c<b consumer 20..25", "completion; async c");
    check("a 10..30; b<a producer 12..14; c<b consumer 20..30", "completion; async c");
}

#[test]
fn a_message_waits_between_its_producer_and_its_consumer() {
    check(
        "a 10..30; b<a producer 12..14; c<b consumer 50..90",
        "path a10..12 b12..14 a14..30; completion a10..12 b12..14 ~c14..50 c50..90; async c",
    );
    check("a producer 10..14; b<a consumer 50..90", "completion a10..14 ~b14..50 b50..90");
    check("a producer 10..10; b<a consumer 50..90", "completion ~b10..50 b50..90");
}

#[test]
fn a_consumer_that_begins_before_its_producer_ends_did_not_wait() {
    check("a producer 10..30; b<a consumer 20..90", "completion a10..20 b20..90");
    check("a producer 10..30; b<a consumer 30..90", "completion a10..30 b30..90");
}

#[test]
fn a_span_is_divided_as_on_the_critical_path_until_its_handover() {
    // A call before the message, one beside it, and one that ends as it is sent.
    check(
        "a 10..40; b<a 12..20; c<a 19..35; d<a producer 30..32; e<d consumer 50..60",
        "completion a10..12 b12..20 a20..30 d30..32 ~e32..50 e50..60; async e",
    );
    check(
        "a 10..40; b<a 12..30; d<a producer 30..32; e<d consumer 50..60; f<e 52..58",
        "completion a10..12 b12..30 d30..32 ~e32..50 e50..52 f52..58 e58..60; async e",
    );
}

#[test]
fn messages_are_handed_on() {
    check(
        "a server 10..30; b<a producer 12..14; c<b consumer 50..60; \
         d<c producer 55..57; e<d consumer 70..90",
        "completion a10..12 b12..14 ~c14..50 c50..55 d55..57 ~e57..70 e70..90; async c e",
    );
    check(
        "a producer 10..12; b<a consumer 20..25; c<a consumer 30..35; d<b producer 22..23; \
         e<d consumer 24..99",
        "completion a10..12 ~b12..20 b20..22 d22..23 ~e23..24 e24..99; async b e c",
    );
}

#[test]
fn work_that_goes_on_after_its_parent_was_handed_over_when_it_began() {
    check("a 10..30; b<a 20..90", "completion a10..20 b20..90; async b");
    check("a 10..30; b<a 20..90; c<b 70..95", "completion a10..20 b20..70 c70..95; async b c");
    check("a 10..30; b<a 20..25; c<b 22..90", "completion a10..20 b20..22 c22..90; async c");
}

#[test]
fn work_that_begins_after_its_parent_was_handed_over_when_that_ended() {
    check("a 10..30; b<a 40..90", "completion a10..30 ~b30..40 b40..90; async b");
    check(
        "a 10..30; b<a 15..20; c<b 40..90",
        "completion a10..15 b15..20 ~c20..40 c40..90; async c",
    );
    check("a 10..30; b<a 30..90", "completion a10..30 b30..90; async b");
}

#[test]
fn the_path_leads_to_the_last_end_and_to_the_first_of_equal_ends() {
    check(
        "a producer 10..12; b<a consumer 20..50; c<a consumer 40..60",
        "completion a10..12 ~c12..40 c40..60; async b c",
    );
    check(
        "a producer 10..12; b<a consumer 20..60; c<a consumer 40..60",
        "completion a10..12 ~b12..20 b20..60; async b c",
    );
}

#[test]
fn clocks_that_disagree_make_no_time_negative() {
    check("a producer 10..20; b<a consumer 5..60", "completion b10..60; async b");
    check("a producer 10..20; b<a consumer 1..8; c<b 9..60", "completion c10..60; async b c");
}

#[test]
fn an_unfinished_span_was_open_until_the_last_moment_known_of_it() {
    check("a producer 10..?; b<a consumer 50..60", "completion ~b10..50 b50..60; odd a:NoEnd");
    check(
        "a producer 10..?; c<a 11..15; b<a consumer 50..?",
        "completion a10..11 c11..15 ~b15..50; async b; odd a:NoEnd b:NoEnd",
    );
    check(
        "a 10..20; b<a producer ?..?; c<b consumer 50..60",
        "completion a10..20 ~c20..50 c50..60; async c; odd b:NoStart b:NoEnd",
    );
    // A span without a start is known to be open from its children's start on.
    check(
        "a 10..30; b<a producer ?..20; d<b 12..15; c<b consumer 50..90",
        "completion a10..12 d12..15 b15..20 ~c20..50 c50..90; async c; odd b:NoStart",
    );
    check(
        "a 10..20; b<a producer ?..60; c<b consumer 50..90",
        "completion a10..20 ~c20..50 c50..90; async b c; odd b:NoStart",
    );
    check(
        "a 10..20; b<a producer ?..95; c<b consumer 50..90",
        "completion a10..20 ~c20..50 c50..90; async b c; odd b:NoStart",
    );
    check("a 10..20; b<a consumer ?..90", "completion; async b; odd b:NoStart");
    check("a ?..?; b<a consumer 50..60; c<b 55..90", "odd a:NoStart a:NoEnd; async c");
}

#[test]
fn only_what_is_below_the_first_root_takes_part() {
    check(
        "a producer 10..12; b<a consumer 20..50; c<x 5..90",
        "completion a10..12 ~b12..20 b20..50; async b; odd c:MissingParent",
    );
    check("a 10..12; b 20..50", "completion; odd trace:SeveralRoots");
    check(
        "a<x producer 10..12; b<a consumer 20..50; c<x 5..7",
        "completion; async b; odd c:MissingParent a:MissingParent",
    );
    check(
        "a<x producer 10..12; b<a consumer 20..50; c<x 15..70",
        "completion a10..12 ~b12..20 b20..50; async b; odd a:MissingParent c:MissingParent",
    );
}

#[test]
fn a_cycle_is_walked_from_where_it_was_cut() {
    check(
        "a<b producer 10..12; b<a consumer 20..50",
        "completion a10..12 ~b12..20 b20..50; async b; odd a:Cycle",
    );
    check("a<a 10..12; b<a 11..50", "completion a10..11 b11..50; async b; odd a:SelfParent");
}
