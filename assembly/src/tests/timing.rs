//! Durations, self times, asynchronous spans, and problems of times.

use super::notation::check;

#[test]
fn self_time_is_the_time_that_no_child_covers() {
    check("a 10..20", "self a=10");
    check("a 10..20; b<a 12..15", "self a=7 b=3");
    check("a 10..20; b<a 12..15; c<a 14..18", "self a=4 b=3 c=4");
    check("a 10..20; b<a 12..18; c<a 13..14", "self a=4 b=6 c=1");
    check("a 10..20; b<a 10..20", "self a=0 b=10");
    check("a 10..20; b<a 12..18; c<b 13..14", "self a=4 b=5 c=1");
}

#[test]
fn children_count_only_while_their_parent_is_open() {
    check("a 10..20; b<a 5..12", "self a=8 b=7; odd b:StartsBeforeParent");
    check("a 10..20; b<a 15..40", "self a=5 b=25; async b");
    check("a 10..20; b<a 30..40", "self a=10 b=10; async b");
    check("a 10..20; b<a 1..9", "self a=10 b=8; odd b:StartsBeforeParent");
    check("a producer 10..20; b<a consumer 15..40", "self a=5 b=25; async b");
}

#[test]
fn a_child_is_asynchronous_when_its_parent_did_not_wait_for_it() {
    check("a 10..20; b<a 10..20", "async");
    check("a 10..20; b<a 12..21", "async b");
    check("a 10..20; b<a 20..21", "async b");
    check("a 10..20; b<a 20..20", "async");
    check("a 10..20; b<a 20..?", "async b; odd b:NoEnd");
    check("a 10..20; b<a 12..?; c<b 13..30", "async b; odd b:NoEnd");
    check("a 10..20; b<a 12..?", "async; odd b:NoEnd");
    check("a 10..?; b<a 20..30", "async; odd a:NoEnd");
    check("a producer 10..20; b<a consumer 12..14", "async b");
    check("a 10..20; b<a consumer 12..14", "async");
}

#[test]
fn a_span_without_a_start_has_no_duration() {
    check("a ?..20", "duration a=0; self a=0; path; odd a:NoStart");
    check("a ?..?", "duration a=0; self a=0; path; odd a:NoStart a:NoEnd");
    check(
        "a ?..20; b<a 10..15",
        "duration a=0 b=5; self a=0 b=5; path b10..15 a15..20; odd a:NoStart",
    );
    check("a ?..?; b<a 10..15", "duration a=0 b=5; path b10..15; odd a:NoStart a:NoEnd");
    check("a ?..20; b<a 25..30", "path; async b; odd a:NoStart");
}

#[test]
fn an_unfinished_span_was_open_as_long_as_its_children_show() {
    check("a 10..?", "duration a=0; self a=0; path; odd a:NoEnd");
    check(
        "a 10..?; b<a 12..14",
        "duration a=0 b=2; self a=0 b=2; critical a=2 b=2; path a10..12 b12..14; odd a:NoEnd",
    );
    check("a 10..?; b<a 12..14; c<a 20..?", "path a10..12 b12..14 a14..20; odd a:NoEnd c:NoEnd");
    check("a 10..30; b<a 12..?; c<b 14..16", "self a=16 b=0 c=2; odd b:NoEnd");
    check("a producer 10..?; b<a consumer 50..60", "path; async b; odd a:NoEnd");
}

#[test]
fn a_span_that_ends_before_it_starts_lasts_no_time() {
    check("a 20..10", "duration a=0; self a=0; path; odd a:EndBeforeStart");
    check(
        "a 10..30; b<a 20..15",
        "duration a=20 b=0; self a=20 b=0; path a10..30; odd b:EndBeforeStart",
    );
}

#[test]
fn an_early_start_is_a_problem_except_after_a_message() {
    check("a 10..20; b<a 9..15", "odd b:StartsBeforeParent");
    check("a producer 10..20; b<a consumer 9..15", "");
    check("a 10..20; b<a ?..15", "odd b:NoStart");
    check("a ?..20; b<a 9..15", "odd a:NoStart");
}

#[test]
fn an_implausible_time_is_not_used_and_reported_for_its_span_only() {
    let odd = "odd a:ImplausibleTime";
    check("a 10..2262", &format!("duration a=0; self a=0; path; bounds 10..10; {odd}"));
    check("a 10..late", &format!("duration a=0; bounds 10..10; {odd}"));
    check("a 10..20; b<a 12..2262", "path a10..20; bounds 10..20; async; odd b:ImplausibleTime");
    check(
        "a 10..20; b<a 2262..2262; c<a 11..12; d<a max..11",
        "tree a(c b d); duration a=10 c=1 b=0 d=0; bounds 10..20; \
         odd b:ImplausibleTime d:ImplausibleTime",
    );
    check("a 10..2262; b<a 12..14", &format!("path a10..12 b12..14; bounds 10..14; {odd}"));
}

#[test]
fn a_span_without_a_start_does_not_move_the_bounds() {
    check("a 10..20; b<a ?..900", "bounds 10..20; odd b:NoStart");
    check("a 10..20; b<a 12..?", "bounds 10..20; odd b:NoEnd");
    check("a 10..20; b<a 30..?", "bounds 10..30; odd b:NoEnd");
    check("a ?..20; b<a ?..30", "bounds 20..30; odd a:NoStart b:NoStart");
    check("a ?..?", "bounds 0..0; odd a:NoStart a:NoEnd");
}
