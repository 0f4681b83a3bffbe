//! Rules that placed spans, missing parents, and messages that wait.

use super::notation::check;

#[test]
fn each_span_says_which_rule_placed_it() {
    check("a 1..9; b<a 2..3", "rule");
    check("a 1..9; b<a client 2..8; b' server 3..7", "rule b':CalledSide");
    let pair = "b client @web 1..9; b' server @api 2..8";
    check(&format!("{pair}; c<b @api 3..4"), "rule b':CalledSide c:SharedIdOwnService");
    check(&format!("{pair}; c<b @db 3..4"), "rule b':CalledSide c:SharedIdCalledSide");
    check(
        "b client @web 1..9; b' internal @api 2..8; c<b @db 3..4",
        "rule c:SharedIdOther; odd trace:SeveralRoots b:SharedSpanId b':SharedSpanId",
    );
    check(
        "a<a 1..2; b<x 2..3; c<d 3..4; d<c 4..5",
        "rule a:SelfParent b:MissingParent c:CutCycle; odd a:SelfParent b:MissingParent c:Cycle",
    );
}

#[test]
fn a_missing_parent_is_one_gap_however_many_name_it() {
    check("a 1..9; b<a 2..3", "gaps");
    check(
        "a 1..9; b<x 2..3; c<y 2..?; d<x 4..8",
        "gaps x(b d)2..8 y(c)2..2; odd b:MissingParent c:MissingParent c:NoEnd d:MissingParent",
    );
    check("b<x ?..?; c<b 4..5", "gaps x(b)4..5; odd b:MissingParent b:NoStart b:NoEnd");
    check("b<x ?..?", "gaps x(b)0..0; odd b:MissingParent b:NoStart b:NoEnd");
}

#[test]
fn a_message_waits_from_its_producers_end_to_its_consumers_start() {
    let sent = "a producer 10..20";
    check(&format!("{sent}; b<a consumer 50..60"), "queues a>b20..50");
    check(&format!("{sent}; b<a consumer 15..60"), "queues");
    check(&format!("{sent}; b<a server 50..60"), "queues; async b");
    check(
        &format!("{sent}; b<a consumer 50..60; c<a consumer 30..40; d<c consumer 45..47"),
        "queues a>c20..30 a>b20..50",
    );
    check("a producer 10..?; b<a consumer 50..60", "queues a>b10..50; odd a:NoEnd");
    check("a producer 10..?; c<a 11..15; b<a consumer 50..60", "queues a>b15..50; odd a:NoEnd");
    check("a producer ?..?; b<a consumer 50..60", "queues; odd a:NoStart a:NoEnd");
    check("a producer 10..20; b<a consumer ?..60", "queues; odd b:NoStart");
}
