//! Placement of spans.

use super::notation::check;

#[test]
fn children_come_in_order_of_start_then_id_then_content_and_unknown_starts_last() {
    check("a 1..9; d<a 4..5; c<a 2..3; b<a 4..5", "tree a(c b d)");
    check("a 1..9; b<a ?..5; c<a 2..3", "tree a(c b); odd b:NoStart");
    check(
        "b' 1..9 #2; b 1..9 #1",
        "tree b b'; odd trace:SeveralRoots b:SharedSpanId b':SharedSpanId",
    );
}

#[test]
fn a_span_sent_twice_is_shown_once() {
    check("a 1..9; b<a 2..3 #5; b<a 2..3 #5", "tree a(b); odd b:DuplicateSpan");
    check(
        "a 1..9 #5; a 1..9 #5; a 1..9 #5; b<a 2..3",
        "tree a(b); odd a:DuplicateSpan a:DuplicateSpan",
    );
}

#[test]
fn a_finished_span_supersedes_its_report_from_before_the_end() {
    check("a 1..9; a' 1..?", "tree a; odd a:SupersededSpan; duration a=8");
    check("a 1..9; b<a @x 2..3; b'<a @x 2..?", "tree a(b); odd b:SupersededSpan");
    check(
        "a 1..9; a' 1..? #7; a' 1..? #7; a'' 1..? #8",
        "tree a; odd a:SupersededSpan a:SupersededSpan a:SupersededSpan",
    );
    // The finished span may also name a parent that its report did not.
    check("a 1..9; b<a 2..3; b' 2..?", "tree a(b); odd b:SupersededSpan");
}

#[test]
fn only_a_span_that_is_surely_the_same_supersedes() {
    let both = "odd trace:SeveralRoots a:SharedSpanId a':SharedSpanId a':NoEnd";
    check("a 1..9; a' 2..?", both);
    check("a @x 1..9; a' @y 1..?", both);
    check(
        "a 1..? #1; a' 1..? #2",
        "odd trace:SeveralRoots a:SharedSpanId a:NoEnd a':SharedSpanId a':NoEnd",
    );
    check("a client 1..9; a' server 1..?", "tree a(a'); odd a':NoEnd");
}

#[test]
fn different_spans_with_one_id_are_all_shown() {
    check("a 1..9; b<a 2..3; b'<a 4..5", "tree a(b b'); odd b:SharedSpanId b':SharedSpanId");
    check(
        "a 1..9; b<a server 2..3; b'<a server 4..5",
        "tree a(b b'); odd b:SharedSpanId b':SharedSpanId",
    );
}

#[test]
fn a_called_side_hangs_under_the_calling_side_whose_id_it_shares() {
    let forest = "tree a(b(b'))";
    check("a 1..9; b<a client 2..8; b'<a server 3..7", forest);
    check("a 1..9; b<a client 2..8; b' server 3..7", forest);
    check("a 1..9; b<a client 2..8; b'<b server 3..7", forest);
    check("a 1..9; b<a client 2..8; b'<x server 3..7", forest);
    check("a 1..9; b<a producer 2..8; b'<a consumer 3..7", forest);
    check("a 1..9; b<a unspecified 2..8; b'<a server 3..7", forest);
    check(
        "a 1..9; b<a client 2..8; b'<a consumer 3..7",
        "tree a(b b'); odd b:SharedSpanId b':SharedSpanId",
    );
}

#[test]
fn of_several_calling_sides_the_one_that_had_started_last_is_the_caller() {
    check(
        "b client 1..3; b'' client 5..9; b' server 6..8",
        "tree b b''(b'); odd trace:SeveralRoots b:SharedSpanId b'':SharedSpanId b':SharedSpanId",
    );
}

#[test]
fn children_of_a_shared_id_go_to_their_own_service_then_to_the_called_side() {
    let pair = "b client @web 1..9; b' server @api 2..8";
    check(&format!("{pair}; c<b @api 3..4"), "tree b(b'(c))");
    check(&format!("{pair}; c<b @web 3..4"), "tree b(b' c)");
    check(&format!("{pair}; c<b @db 3..4"), "tree b(b'(c))");
    check("b client @web 1..9; b' server @web 2..8; c<b @web 3..4", "tree b(b'(c))");
}

#[test]
fn each_of_several_servers_keeps_its_own_children() {
    check(
        "b client @web 1..9; b' server @foo 2..8; b'' server @bar 3..7; c<b @bar 4..5; d<b @foo 4..5",
        "tree b(b'(d) b''(c))",
    );
    let retry = "b client @web 1..9; b' server @api 2..4; b'' server @api 5..8";
    check(&format!("{retry}; c<b @api 3..4; d<b @api 6..7"), "tree b(b'(c) b''(d))");
    check(&format!("{retry}; c<b @db 3..4; d<b @db 6..7"), "tree b(b'(c) b''(d))");
    check(&format!("{retry}; c<b @api ?..?"), "tree b(b'(c) b''); odd c:NoStart c:NoEnd");
}

#[test]
fn a_span_whose_parent_is_missing_is_a_root() {
    check("b<a 1..2", "tree b; odd b:MissingParent");
    check("a 1..9; c<x 2..3", "tree a c; odd c:MissingParent");
}

#[test]
fn a_span_that_is_its_own_parent_is_a_root() {
    check("a<a 1..9; b<a 2..3", "tree a(b); odd a:SelfParent");
}

#[test]
fn a_cycle_is_cut_at_its_earliest_span() {
    check("a<c 5..9; b<a 2..3; c<b 3..4", "tree b(c(a)); odd b:Cycle");
    check("b<a 2..3; a<b 2..3", "tree a(b); odd a:Cycle");
    check("a<b ?..9; b<a 7..9; x<a 1..2", "tree b(a(x)); odd b:Cycle a:NoStart");
    check(
        "a<b 1..2; b<a 2..3; c<d 3..4; d<c 4..5; e<b 2..3",
        "tree a(b(e)) c(d); odd a:Cycle c:Cycle",
    );
    check("c<d client 2..8; c' server 3..7; d<c 4..5", "tree c(c'(d)); odd c:Cycle");
}

#[test]
fn several_roots_are_all_kept_and_reported_once() {
    check("a 1..2; b 3..4; c 5..6", "tree a b c; odd trace:SeveralRoots");
    check("a 1..2; b<x 3..4", "tree a b; odd b:MissingParent");
}
