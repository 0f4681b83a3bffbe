//! Durations, self times, the critical path and odd times.

use super::notation::check;

#[test]
fn self_time_is_what_no_child_covers() {
    check("a 10..20", "self a=10");
    check("a 10..20; b<a 12..15", "self a=7 b=3");
    check("a 10..20; b<a 12..15; c<a 14..18", "self a=4 b=3 c=4");
    check("a 10..20; b<a 12..18; c<a 13..14", "self a=4 b=6 c=1");
}
