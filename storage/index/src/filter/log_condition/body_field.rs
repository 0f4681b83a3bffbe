//! Finds the blocks whose bodies can have a field with a value.
//!
//! A block has a term when one of its bodies is a JSON object. The n-grams of the bodies narrow the
//! blocks further: a name stands in quotes without escapes, and a value has parts that JSON writes in
//! one way only.

use tidings_proto::{Signal, json_field::is_plain_in_json};

use super::ValuePredicate;
use crate::{IndexLookup, LegacyTerms};

/// Adds the term of objects, and the n-gram bits of a field's path and of its value.
pub(super) fn narrow(path: &str, predicate: &ValuePredicate, wanted: &mut IndexLookup) {
    wanted.and_any_since(vec![crate::object_term()], LegacyTerms::Nothing);
    match path.split_once('.') {
        None => wanted.and_text(crate::text_bits(format!("\"{path}\"").as_bytes())),
        Some((first, rest)) => {
            let last = rest.rsplit('.').next().unwrap_or(rest);
            // Each dot stands in a key or leads into an object.
            wanted
                .and_one_of(lookups(&[vec![format!("\"{first}\"")], vec![format!("\"{first}.")]]));
            wanted.and_one_of(lookups(&[vec![format!("\"{last}\"")], vec![format!(".{last}\"")]]));
        }
    }
    match predicate {
        ValuePredicate::Equals(value) => wanted.and_one_of(lookups(&[equal_runs(value)])),
        ValuePredicate::Words { text, .. } | ValuePredicate::Text(text) => {
            let lists = text.literals();
            let runs = |literals: &Vec<String>| {
                literals.iter().flat_map(|literal| word_runs(literal)).map(str::to_owned).collect()
            };
            let lists: Vec<Vec<String>> = lists.iter().map(runs).collect();
            if !lists.is_empty() {
                wanted.and_one_of(lookups(&lists));
            }
        }
        ValuePredicate::Any | ValuePredicate::Numbers(..) | ValuePredicate::Texts(..) => {}
    }
}

/// Returns lookups of the bodies that have all parts of a list.
fn lookups(lists: &[Vec<String>]) -> Vec<IndexLookup> {
    let lookup = |parts: &Vec<String>| {
        let mut lookup = IndexLookup::new(Signal::Logs, None);
        parts.iter().for_each(|part| lookup.and_text(crate::text_bits(part.as_bytes())));
        lookup
    };
    lists.iter().map(lookup).collect()
}

/// Returns the parts of a whole value that JSON writes in one way, with the quotes of a text.
fn equal_runs(value: &str) -> Vec<String> {
    let is_other = value.parse::<f64>().is_ok() || value.parse::<bool>().is_ok();
    if is_other || value.starts_with(['[', '{']) {
        return word_runs(value).map(str::to_owned).collect();
    }
    let mut runs: Vec<String> = value.split(|c| !is_plain_in_json(c)).map(str::to_owned).collect();
    if let Some(first) = runs.first_mut() {
        first.insert(0, '"');
    }
    if let Some(last) = runs.last_mut() {
        last.push('"');
    }
    runs
}

/// Returns the words of a literal that JSON writes in one way. A number has several forms, so a word
/// has a letter other than that of an exponent. A literal with a backslash has none, because the text
/// of a list has an escape that its sender may have written in another way.
fn word_runs(literal: &str) -> impl Iterator<Item = &str> {
    let is_in_number = |byte: u8| byte.is_ascii_digit() || b"eE_".contains(&byte);
    let literal = if literal.contains('\\') { "" } else { literal };
    literal
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(move |run| !run.bytes().all(is_in_number))
}

#[cfg(test)]
mod tests {
    use super::{equal_runs, word_runs};

    #[test]
    fn a_whole_text_has_its_quotes_and_a_number_has_several_forms() {
        for (value, expected) in [
            ("ord-00042", &["\"ord-00042\""][..]),
            ("a/b c", &["\"a", "b c\""]),
            ("<x>", &["\"", "x", "\""]),
            ("é", &["\"", "\""]),
            ("", &["\"\""]),
            ("1200", &[]),
            ("1e3", &[]),
            ("true", &["true"]),
            ("[\"a1\",12]", &["a1"]),
        ] {
            assert_eq!(equal_runs(value), expected, "{value}");
        }
    }

    #[test]
    fn only_parts_with_one_form_narrow_a_search() {
        for (literal, expected) in [
            ("payment/declined", &["payment", "declined"][..]),
            ("ORD-00042-x9", &["ORD", "x9"]),
            ("1200", &[]),
            ("12e5", &[]),
            ("cafés_au", &["caf", "s_au"]),
            ("a\"b", &["a", "b"]),
            ("a\\nb", &[]),
            ("", &[]),
        ] {
            assert_eq!(word_runs(literal).collect::<Vec<_>>(), expected, "{literal}");
        }
    }
}
