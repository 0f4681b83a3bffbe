//! From messages to templates.
//!
//! After [Drain](https://doi.org/10.1109/ICWS.2017.13): messages of equally many words that begin
//! alike are compared word by word, and the words that differ become `<*>`. Unlike Drain this takes
//! all forms at once, the most frequent first, so that the result does not depend on the order in
//! which records are read. Words with digits differ to begin with, values of `key=value` too.

use std::collections::BTreeMap;

/// Where a word differs.
pub(super) const WILDCARD: &str = "<*>";
/// Words of a message that are looked at.
const WORDS_MAX: usize = 60;
/// Characters of a message that are looked at.
const CHARS_MAX: usize = 600;
/// Templates that begin alike and are compared with a form.
const COMPARED_MAX: usize = 500;

/// The words of a message, those that surely differ already replaced.
pub(super) fn form(text: &str) -> Vec<String> {
    let end = text.char_indices().nth(CHARS_MAX).map_or(text.len(), |(at, _)| at);
    let mut words = text[..end].split_whitespace();
    let mut form: Vec<String> = words.by_ref().take(WORDS_MAX).map(word).collect();
    if end < text.len() || words.next().is_some() {
        form.push("…".to_owned());
    }
    form
}

fn word(word: &str) -> String {
    let has_digit = |text: &str| text.bytes().any(|byte| byte.is_ascii_digit());
    if !has_digit(word) {
        return word.to_owned();
    }
    match word.split_once('=') {
        Some((key, _)) if !key.is_empty() && !has_digit(key) => format!("{key}={WILDCARD}"),
        _ => WILDCARD.to_owned(),
    }
}

/// Puts forms together that are alike. Gives each template and the forms that it stands for, by
/// their places in `forms`, which come the most frequent first.
pub(super) fn templates(forms: &[Vec<String>]) -> Vec<(Vec<String>, Vec<usize>)> {
    let mut found: Vec<(Vec<String>, Vec<usize>)> = Vec::new();
    let mut alike: BTreeMap<(usize, &str), Vec<usize>> = BTreeMap::new();
    for (at, form) in forms.iter().enumerate() {
        let first = form.first().map_or("", String::as_str);
        let group = alike.entry((form.len(), first)).or_default();
        let best = group
            .iter()
            .take(COMPARED_MAX)
            .map(|template| (same_words(&found[*template].0, form), *template))
            .filter(|(same, _)| same * 2 > form.len())
            .max_by_key(|(same, template)| (*same, std::cmp::Reverse(*template)));
        match best {
            Some((_, template)) => {
                let (words, of) = &mut found[template];
                for (word, other) in words.iter_mut().zip(form) {
                    if word != other {
                        *word = WILDCARD.to_owned();
                    }
                }
                of.push(at);
            }
            None => {
                group.push(found.len());
                found.push((form.clone(), vec![at]));
            }
        }
    }
    found
}

/// Counts the positions at which both have the same word.
fn same_words(template: &[String], form: &[String]) -> usize {
    template.iter().zip(form).filter(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::{form, templates};

    fn check(messages: &[&str], expected: &[&str]) {
        let forms: Vec<Vec<String>> = messages.iter().map(|message| form(message)).collect();
        let found: Vec<String> =
            templates(&forms).into_iter().map(|(words, _)| words.join(" ")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn words_with_digits_and_words_that_differ_are_left_open() {
        check(&["order 17 took 3ms"], &["order <*> took <*>"]);
        check(&["id=7 user=bob"], &["id=<*> user=bob"]);
        check(
            &["user bob logged in from home", "user alice logged in from home"],
            &["user <*> logged in from home"],
        );
        check(&["user bob left", "disk is full"], &["user bob left", "disk is full"]);
        check(&["", "a"], &["", "a"]);
        check(&["a b c d", "a x y z"], &["a b c d", "a x y z"]);
    }

    #[test]
    fn long_messages_are_cut() {
        assert_eq!(form(&"word ".repeat(100)).len(), 61);
        assert_eq!(form(&"ä".repeat(10_000)).len(), 2);
    }

    /// The case that Drain's own tests have of sshd: two patterns.
    #[test]
    fn messages_of_a_daemon_fall_into_the_groups_that_drain_finds() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../shared/corpora/log-templates-drain3/cases.json"
        );
        let Ok(text) = std::fs::read_to_string(path) else {
            eprintln!("skipped: no {path}");
            return;
        };
        let cases: serde_json::Value = serde_json::from_str(&text).unwrap();
        let case = &cases[0];
        let entries = case["entries"].as_array().unwrap().iter();
        let forms: Vec<Vec<String>> = entries.map(|entry| form(entry.as_str().unwrap())).collect();
        let groups: Vec<Vec<usize>> = templates(&forms).into_iter().map(|(_, of)| of).collect();
        assert_eq!(groups, [vec![0, 1, 5], vec![2, 3, 4]]);
        assert_eq!(groups.len() as u64, case["expect_clusters"].as_u64().unwrap());
    }
}
