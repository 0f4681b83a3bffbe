use super::{
    super::{logs_index::LogIndex, model::TraceModel, samples},
    Matches,
};

fn rows(text: &str) -> Vec<u32> {
    let shop = TraceModel::new(samples::shop());
    let logs =
        LogIndex::new(&shop, vec![samples::log(Some(samples::id(2)), 1, "Pool WAIT 812 ms")]);
    Matches::find(&shop, Some(&logs), text).rows().to_vec()
}

#[test]
fn names_ids_and_log_records_match_whatever_their_case() {
    assert_eq!(rows("Operation-4"), [9]);
    assert_eq!(rows("SERVICE-4"), [9, 10]);
    assert_eq!(rows("pool wait"), [2]);
    assert_eq!(rows("000000000000000b"), [10]);
    assert_eq!(rows("no such thing"), [0_u32; 0]);
    assert_eq!(rows("  "), [0_u32; 0]);
}

#[test]
fn every_word_must_be_somewhere_in_the_row() {
    assert_eq!(rows("service-4 operation-5"), [10]);
    assert_eq!(rows("service-4 operation-0"), [0_u32; 0]);
}

#[test]
fn matches_are_visited_from_anywhere_and_around_the_end() {
    let shop = TraceModel::new(samples::shop());
    let matches = Matches::find(&shop, None, "service-4");
    assert_eq!((matches.next(None, true), matches.next(None, false)), (Some(9), Some(10)));
    assert_eq!((matches.next(Some(3), true), matches.next(Some(3), false)), (Some(9), Some(10)));
    assert_eq!((matches.next(Some(9), true), matches.next(Some(10), true)), (Some(10), Some(9)));
    assert_eq!((matches.place(10), matches.place(3)), (Some(2), None));
    assert!(matches.contains(9) && !matches.contains(8));
}

#[test]
fn rows_that_the_server_found_are_joined_in_order_and_once() {
    let shop = TraceModel::new(samples::shop());
    let matches = Matches::find(&shop, None, "service-4").joined(&[2, 9, 4_000_000], 11);
    assert_eq!(matches.rows(), [2, 9, 10]);
    assert_eq!(Matches::find(&shop, None, "{ name = \"operation-4\" }").rows(), [0_u32; 0]);
}
