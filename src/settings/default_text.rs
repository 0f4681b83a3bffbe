//! Formats values of settings as users would write them: the defaults of crates.
//!
//! Each function has the name of the one in [`super::setting_value`] that reads its text.

use std::{fmt::Display, path::Path, time::Duration};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

pub(super) fn path(path: &Path) -> String {
    path.display().to_string()
}

pub(super) fn address(address: &impl Display) -> String {
    address.to_string()
}

pub(super) fn truth(truth: &impl Display) -> String {
    truth.to_string()
}

pub(super) fn count(number: &impl Display) -> String {
    number.to_string()
}

pub(super) fn sql_queries(number: &impl Display) -> String {
    count(number)
}

pub(super) fn seconds(time: &Duration) -> String {
    time.as_secs().to_string()
}

pub(super) fn list(items: &[String]) -> String {
    items.join(",")
}

/// Formats it in the largest unit of which it is a multiple.
pub(super) fn bytes<N: Copy + TryInto<u64>>(bytes: &N) -> String {
    match (*bytes).try_into().unwrap_or(u64::MAX) {
        bytes if bytes.is_multiple_of(GIB) => format!("{}GiB", bytes / GIB),
        bytes if bytes.is_multiple_of(MIB) => format!("{}MiB", bytes / MIB),
        bytes => bytes.to_string(),
    }
}

pub(super) fn rate(rate: &u64) -> String {
    if *rate == 0 { "none".to_owned() } else { bytes(rate) }
}

pub(super) fn duration(time: &Duration) -> String {
    if *time == Duration::MAX { "forever".to_owned() } else { duration_text(*time) }
}

pub(super) fn age(age: &Option<Duration>) -> String {
    age.map_or("forever".to_owned(), duration_text)
}

/// Formats it in the largest unit of which it has two or more: an hour is 60m.
fn duration_text(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds.is_multiple_of(DAY) && seconds > DAY => format!("{}d", seconds / DAY),
        seconds if seconds.is_multiple_of(HOUR) && seconds > HOUR => format!("{}h", seconds / HOUR),
        seconds => format!("{}m", seconds / MINUTE),
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Debug, path::PathBuf, time::Duration};

    use super::super::{default_text as write, setting_value as read};

    /// Writes a value and reads it again.
    #[track_caller]
    fn check<T: Debug + PartialEq>(
        value: T,
        text: &str,
        written: &str,
        reads: fn(&str) -> Result<T, String>,
    ) {
        assert_eq!(written, text);
        assert_eq!(reads(written), Ok(value));
    }

    #[test]
    fn values_are_read_from_their_texts() {
        let folder = PathBuf::from("./data");
        check(folder.clone(), "./data", &write::path(&folder), read::path);
        check(false, "false", &write::truth(&false), read::truth);
        check(7_u64, "7", &write::count(&7), read::count);
        check(64, "64", &write::sql_queries(&64), read::sql_queries);
        let list = vec!["a".to_owned(), "b.c".to_owned()];
        check(list.clone(), "a,b.c", &write::list(&list), read::list);
        check(Vec::new(), "", &write::list(&[]), read::list);
        for (bytes, text) in
            [(5, "5"), (3 << 20, "3MiB"), (2 << 30, "2GiB"), (2560 << 20, "2560MiB")]
        {
            check(bytes, text, &write::bytes(&bytes), read::bytes::<u64>);
            check(bytes, text, &write::rate(&bytes), read::rate);
        }
        check(0, "none", &write::rate(&0), read::rate);
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        check(minutes(1), "60", &write::seconds(&minutes(1)), read::seconds);
        for (time, text) in [(1, "1m"), (60, "60m"), (120, "2h"), (1440, "24h"), (43_200, "30d")] {
            check(minutes(time), text, &write::duration(&minutes(time)), read::duration);
            check(Some(minutes(time)), text, &write::age(&Some(minutes(time))), read::age);
        }
        check(Duration::MAX, "forever", &write::duration(&Duration::MAX), read::duration);
        check(None, "forever", &write::age(&None), read::age);
    }
}
