use tidings_proto::{
    DurationNanos,
    api::{RedResult, Searched},
};
use tidings_storage::SpanFilter;

use super::{RedKey, RedKeys, RedSearch, red};
use crate::{
    QueryLimits,
    execution::stored_calls::{HOUR, StoredCalls},
};

/// Number of operations in each of two hours. There is room for those of one hour.
const OPERATIONS: u64 = 6_000;
const GROUPS_MAX: u64 = 10_000;

/// Returns the name of an operation, in which nothing looks like an id.
fn operation(number: u64) -> String {
    let letter = |digit: u8| char::from(digit - b'0' + b'g');
    format!("{number:05}").bytes().map(letter).collect()
}

#[tokio::test]
async fn any_number_of_threads_lists_the_same_groups() {
    let operations = |hour: u64| -> Vec<String> {
        (hour * OPERATIONS..(hour + 1) * OPERATIONS).map(operation).collect()
    };
    let stored = StoredCalls::new(&[operations(0), operations(1)]).await;
    for key in [RedKey::Operation, RedKey::OperationPattern] {
        let search = RedSearch {
            filter: SpanFilter { start: stored.range(), ..SpanFilter::default() },
            step: Some(DurationNanos(HOUR)),
            by: RedKeys { keys: vec![key], attribute: None },
            limit: usize::MAX,
            ..RedSearch::default()
        };
        let result = |helper_threads: usize| {
            let reader = stored.reader(helper_threads, QueryLimits::default());
            RedResult { searched: Searched::default(), ..red(&reader, &search).unwrap() }
        };
        let expected = result(0);
        let counts = (expected.group_count, expected.other_count);
        assert_eq!(counts, (GROUPS_MAX, 2 * OPERATIONS - GROUPS_MAX), "{key:?}");
        assert!(result(1) == expected, "{key:?}");
    }
}
