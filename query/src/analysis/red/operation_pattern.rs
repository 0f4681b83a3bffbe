//! Patterns of operations: names of spans with a wildcard for each part that looks like an id.
//!
//! Owns the rule and the count of patterns. It does not own groups. The wildcard is that of the
//! forms of log messages. Their rule is wider: it takes `/user/8123/orders` for one value, and
//! `v1` or `s3` for another. Somebody chose the words of an operation, so parts end at slashes,
//! dots and dashes, too, and a word with a single digit stays.

use std::{collections::HashSet, hash::Hash};

use tidings_storage::FORM_WILDCARD;

/// Length of a UUID in bytes.
const UUID_LENGTH: usize = 36;
/// Positions of the dashes of a UUID.
const UUID_DASHES: [usize; 4] = [8, 13, 18, 23];
/// Minimum length of a hexadecimal number with a single digit. A shorter part may be a word.
const HEX_LENGTH_MIN: usize = 4;
/// Characters between values that become one wildcard, as in a date or an address.
const JOINERS: [char; 5] = ['-', '_', '.', ':', ','];

/// Returns the name of an operation with a wildcard for each number, hexadecimal number and UUID:
/// `GET /user/<*>/orders`. The pattern of a pattern is itself.
pub(super) fn operation_pattern(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        if !first.is_alphanumeric() {
            pattern.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (part, after) = rest.split_at(part_length(rest));
        if is_id(part) {
            push_wildcard(&mut pattern);
        } else {
            pattern.push_str(part);
        }
        rest = after;
    }
    pattern
}

/// Counts the patterns of operations. Equal patterns count once for each value of the other keys of
/// their groups.
pub(super) fn count_patterns<'a, K: Eq + Hash>(groups: impl Iterator<Item = (&'a str, K)>) -> u64 {
    let patterns: HashSet<(String, K)> =
        groups.map(|(operation, others)| (operation_pattern(operation), others)).collect();
    patterns.len() as u64
}

/// Returns the length of the part at the start of a text: a UUID, or all letters and digits.
fn part_length(text: &str) -> usize {
    if starts_with_uuid(text) {
        return UUID_LENGTH;
    }
    text.find(|next: char| !next.is_alphanumeric()).unwrap_or(text.len())
}

fn starts_with_uuid(text: &str) -> bool {
    let Some((uuid, after)) = text.split_at_checked(UUID_LENGTH) else { return false };
    let is_whole = !after.starts_with(char::is_alphanumeric);
    is_whole
        && uuid.bytes().enumerate().all(|(at, byte)| {
            if UUID_DASHES.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() }
        })
}

/// Returns true for a part with two digits, for a digit, and for a hexadecimal number.
fn is_id(part: &str) -> bool {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    let is_hex =
        || part.len() >= HEX_LENGTH_MIN && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits > 1 || digits == 1 && (part.len() == 1 || is_hex())
}

/// Adds a wildcard, unless the value continues the previous one.
fn push_wildcard(pattern: &mut String) {
    let before = pattern.strip_suffix(JOINERS);
    let joined = before.filter(|before| before.ends_with(FORM_WILDCARD)).map(str::len);
    match joined {
        Some(length) => pattern.truncate(length),
        None => pattern.push_str(FORM_WILDCARD),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::{count_patterns, operation_pattern};

    #[test]
    fn ids_in_names_become_wildcards_and_words_stay() {
        for (name, pattern) in [
            ("GET /user/8123/orders", "GET /user/<*>/orders"),
            ("GET /item/7", "GET /item/<*>"),
            ("job-7f3a09", "job-<*>"),
            ("job-abc7", "job-<*>"),
            ("job 3f2a8c1e-aaaa-4bcd-bbbb-000000000001 done", "job <*> done"),
            ("3F2A8C1E-AAAA-4BCD-BBBB-00000000000A", "<*>"),
            ("3f2a8c1e-aaaa-4bcd-bbbb-000000000001x", "<*>-aaaa-<*>-bbbb-<*>"),
            ("report 2026-11-20 of 10.0.0.1:80", "report <*> of <*>"),
            ("order_1234.created", "order_<*>.created"),
            ("GET /a?ids=1,2,17&x=%20", "GET /a?ids=<*>&x=%<*>"),
            ("ключ/42/ä", "ключ/<*>/ä"),
            // A word with one digit is a name.
            ("POST /api/v1/oauth2/token", "POST /api/v1/oauth2/token"),
            ("S3.GetObject", "S3.GetObject"),
            ("grpc.health.v1.Health/Check", "grpc.health.v1.Health/Check"),
            ("EC2 db2 k8s", "EC2 db2 k8s"),
            ("GET /user/{id}", "GET /user/{id}"),
            ("", ""),
        ] {
            assert_eq!(operation_pattern(name), pattern);
        }
    }

    #[test]
    fn patterns_are_counted_with_the_other_keys_of_their_groups() {
        let groups = [("GET /1", 'a'), ("GET /2", 'a'), ("GET /2", 'b'), ("GET", 'a')];
        assert_eq!(count_patterns(groups.into_iter()), 3);
        assert_eq!(count_patterns(std::iter::empty::<(&str, char)>()), 0);
    }

    proptest! {
        #[test]
        fn a_pattern_is_its_own_pattern(
            name in "([a-z0-9]{1,9}|[A-F0-9]{4}|[-_./:, ä<*>]{1,3}){0,12}"
        ) {
            let pattern = operation_pattern(&name);
            prop_assert_eq!(operation_pattern(&pattern), pattern);
        }
    }
}
