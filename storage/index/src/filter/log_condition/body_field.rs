//! Finds the blocks whose bodies can have a field with a value, by the n-grams of the bodies.
//!
//! A body is JSON: a name stands in quotes without escapes, and a value may have escapes of signs and
//! of letters that are not ASCII. A body with other escapes has no fields, so runs of ASCII letters
//! and digits narrow the blocks.

use tidings_proto::Signal;

use super::ValuePredicate;
use crate::IndexLookup;

/// Adds the n-gram bits of a field's path and of its value.
pub(super) fn narrow(path: &str, predicate: &ValuePredicate, wanted: &mut IndexLookup) {
    let (first, last) = match path.split_once('.') {
        None => (format!("\"{path}\""), String::new()),
        Some((first, rest)) => {
            let last = rest.rsplit('.').next().unwrap_or(rest);
            (format!("\"{first}"), format!("{last}\""))
        }
    };
    wanted.and_text(crate::text_bits(first.as_bytes()));
    wanted.and_text(crate::text_bits(last.as_bytes()));
    let lists = match predicate {
        ValuePredicate::Equals(value) => vec![vec![value.clone()]],
        ValuePredicate::Words { text, .. } | ValuePredicate::Text(text) => text.literals(),
        ValuePredicate::Any | ValuePredicate::Numbers(..) | ValuePredicate::Texts(..) => return,
    };
    if lists.is_empty() {
        return;
    }
    let lookup = |literals: &Vec<String>| {
        let mut lookup = IndexLookup::new(Signal::Logs, None);
        for run in literals.iter().flat_map(|literal| stable_runs(literal)) {
            lookup.and_text(crate::text_bits(run.as_bytes()));
        }
        lookup
    };
    wanted.and_one_of(lists.iter().map(lookup).collect());
}

/// Returns the parts of a literal that JSON writes as they are. A number has several forms, so a part
/// has a letter other than that of an exponent.
fn stable_runs(literal: &str) -> impl Iterator<Item = &str> {
    let is_in_number = |byte: u8| byte.is_ascii_digit() || b"eE_".contains(&byte);
    literal
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(move |run| !run.bytes().all(is_in_number))
}

#[cfg(test)]
mod tests {
    use super::stable_runs;

    #[test]
    fn only_parts_with_one_form_narrow_a_search() {
        for (literal, expected) in [
            ("payment/declined", &["payment", "declined"][..]),
            ("ORD-00042-x9", &["ORD", "x9"]),
            ("1200", &[]),
            ("12e5", &[]),
            ("cafés_au", &["caf", "s_au"]),
            ("a\"b\\c", &["a", "b", "c"]),
            ("", &[]),
        ] {
            assert_eq!(stable_runs(literal).collect::<Vec<_>>(), expected, "{literal}");
        }
    }
}
