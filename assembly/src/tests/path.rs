//! The critical path.

use super::notation::check;

#[test]
fn the_last_child_to_finish_held_the_span_up() {
    check("a 10..20", "path a10..20");
    check("a 10..20; b<a 12..15", "path a10..12 b12..15 a15..20; critical a=7 b=3");
    check("a 10..30; b<a 12..20; c<a 14..28", "path a10..14 c14..28 a28..30");
    check("a 10..30; b<a 12..20; c<a 22..28", "path a10..12 b12..20 a20..22 c22..28 a28..30");
    check("a 10..30; b<a 12..28; c<b 14..20", "path a10..12 b12..14 c14..20 b20..28 a28..30");
}

#[test]
fn siblings_that_touch_are_both_on_the_path() {
    check("a 10..30; b<a 10..20; c<a 20..30", "path b10..20 c20..30; critical a=0 b=10 c=10");
    check("a 10..30; b<a 10..15; c<a 15..20; d<a 20..30", "path b10..15 c15..20 d20..30");
}

#[test]
fn a_sibling_that_overlaps_the_one_on_the_path_is_not() {
    check("a 10..30; b<a 11..21; c<a 20..30", "path a10..20 c20..30");
    check("a 10..30; b<a 12..28; c<a 12..28", "path a10..12 b12..28 a28..30");
    check("a 10..30; b<a 15..28; c<a 12..28", "path a10..12 c12..28 a28..30");
}

#[test]
fn children_are_cut_to_their_parent() {
    check("a 10..30; b<a 15..40", "path a10..15 b15..30; async b");
    check("a 10..30; b<a 15..40; c<b 20..50", "path a10..15 b15..20 c20..30; async b c");
    check("a 10..30; b<a 5..35", "path b10..30; async b; odd b:StartsBeforeParent");
    check("a 10..30; b<a 15..40; c<b 32..38", "path a10..15 b15..30; async b");
    check("a 10..30; b<a 12..40; c<a 15..35", "path a10..12 b12..30; async b c");
    check("a 10..30; b<a 12..40; c<a 11..35", "path a10..12 b12..30; async c b");
}

#[test]
fn children_outside_their_parent_are_not_on_the_path() {
    check("a 10..20; b<a 25..30; c<b 26..28", "path a10..20; async b");
    check("a 10..20; b<a 20..30", "path a10..20; async b");
    check("a 10..20; b<a 1..10", "path a10..20; odd b:StartsBeforeParent");
}

#[test]
fn a_sender_does_not_wait_for_the_reader_of_its_message() {
    check("a producer 10..30; b<a consumer 12..20; c<b 13..15", "path a10..30; async b");
    check(
        "a 10..30; b<a producer 12..14; c<b consumer 13..90",
        "path a10..12 b12..14 a14..30; async c",
    );
}

#[test]
fn spans_of_no_length_are_not_on_the_path() {
    check("a 10..10", "path");
    check("a 10..20; b<a 15..15", "path a10..20");
    check("a 10..20; b<a 12..18; c<a 18..18; d<a 12..12", "path a10..12 b12..18 a18..20");
}

#[test]
fn the_parentless_root_keeps_its_time_and_the_others_have_the_rest() {
    check("a 10..30; b<x 15..20", "path a10..30; odd b:MissingParent");
    check("a 10..30; b<x 25..50", "path a10..30 b30..50; odd b:MissingParent");
    check("a 10..30; b<x 5..12", "path b5..10 a10..30; odd b:MissingParent");
    check(
        "a 10..30; b<x 5..50; c<b 8..40",
        "path b5..8 c8..10 a10..30 c30..40 b40..50; odd b:MissingParent",
    );
    check("a 10..30; b<x 40..50", "path a10..30 b40..50; odd b:MissingParent");
    check("a 10..30; b 20..50", "path a10..30 b30..50; odd trace:SeveralRoots");
    check(
        "a ?..?; b 20..50; c<x 40..60",
        "path b20..50 c50..60; odd trace:SeveralRoots c:MissingParent a:NoStart a:NoEnd",
    );
}

#[test]
fn without_a_parentless_root_the_last_to_finish_comes_first() {
    let odd = "odd a:MissingParent b:MissingParent";
    check("a<x 10..30; b<x 20..50", &format!("path a10..20 b20..50; {odd}"));
    check("a<x 10..30; b<x 40..50", &format!("path a10..30 b40..50; {odd}"));
    check("a<x 10..60; b<x 20..50", &format!("path a10..60; {odd}"));
    check("a<x 10..60; b<x 10..60", &format!("path a10..60; {odd}"));
}

#[test]
fn a_called_side_with_its_callers_id_is_on_its_callers_path() {
    check(
        "a 10..30; b<a client 12..28; b'<a server 14..26",
        "path a10..12 b12..14 b'14..26 b26..28 a28..30",
    );
}
