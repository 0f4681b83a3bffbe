mod candidates;
mod evaluation;
mod records;
mod relations;

use std::time::Duration;

use super::ReadBudget;

#[test]
fn a_second_reading_has_half_of_the_rows_and_of_the_time() {
    let seconds = Duration::from_secs;
    let whole = ReadBudget { rows_max: 101, scan_end: seconds(50), fetch_end: seconds(70) };
    let first = whole.first_half(seconds(0));
    let expected = ReadBudget { rows_max: 51, scan_end: seconds(25), fetch_end: seconds(35) };
    assert_eq!(first, expected);
    let second = whole.rest(seconds(35), first.rows_max);
    let expected = ReadBudget { rows_max: 50, scan_end: seconds(60), fetch_end: seconds(70) };
    assert_eq!(second, expected);
    // A first reading that is small leaves its share to the second one.
    assert_eq!(whole.rest(seconds(0), 1), ReadBudget { rows_max: 100, ..whole });
    assert_eq!(whole.rest(seconds(80), 200).rows_max, 0);
}
