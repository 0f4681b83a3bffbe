//! From the forms of messages to templates.
//!
//! Forms of equally many words that begin alike and share half of their words are one group, as in
//! [Drain](https://doi.org/10.1109/ICWS.2017.13). All forms of a window are known at once, so the
//! most frequent is taken first and the order of records does not matter. The whole group also
//! distinguishes a state from a value. At a position with few distinct words (`started`,
//! `stopped`), each word has a template of its own. At a position with many words, or with words
//! that look like parameters, all become `<*>`. Decision 0083 compares the groups with manual ones
//! on public logs.

use std::collections::{BTreeMap, HashMap};

use tidings_storage::FORM_WILDCARD as WILDCARD;

/// The number of [`WILDCARD`] as a word; it also stands for a parameter.
const WILDCARD_NUMBER: usize = 0;
/// Maximum number of templates with the same beginning that are compared with a form.
const COMPARED_MAX: usize = 500;
/// Maximum number of distinct words at a position that count as states and not as parameters.
const STATES_MAX: usize = 4;

/// Units of sizes and times that follow a number.
const UNITS: [&str; 23] = [
    "B", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB", "bytes", "ns", "us", "µs", "ms", "s",
    "sec", "secs", "seconds", "min", "minutes", "h", "hours", "days",
];
/// Days and months in the form of timestamps.
const CALENDAR: [&str; 19] = [
    "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Jan", "Feb", "Mar", "Apr", "May", "Jun",
    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// Words that a user name follows.
const BEFORE_NAMES: [&str; 3] = ["user", "User", "username"];

/// Returns true when the word at this position looks like a parameter: a bare value, a path, a
/// dotted name, an address, the unit of a number, a part of a date, the name of a user.
fn is_parameter(form: &[&str], at: usize) -> bool {
    let bare = |word: &str| -> String {
        word.trim_matches(|outer: char| !outer.is_alphanumeric()).to_owned()
    };
    let word = form[at];
    let name = bare(word);
    let has_letters = word.split(WILDCARD).any(|part| part.contains(char::is_alphanumeric));
    if !has_letters || word.contains(['/', '@']) || name.matches('.').count() >= 2 {
        return true;
    }
    if name.contains('.') && word.trim_end_matches(',').ends_with(":<*>") {
        return true;
    }
    let before = at.checked_sub(1).map(|at| form[at]);
    let after = form.get(at + 1).copied();
    let is_date = |word: &str| CALENDAR.contains(&bare(word).as_str());
    UNITS.contains(&name.as_str()) && before.is_some_and(|number| number.ends_with(WILDCARD))
        || is_date(word)
            && (before.is_some_and(is_date)
                || after.is_some_and(|after| is_date(after) || after.contains(WILDCARD)))
        || before.is_some_and(|before| BEFORE_NAMES.contains(&bare(before).as_str()))
}

/// Merges similar forms into templates. Returns each template with the indexes of its forms in
/// `forms`, which are ordered by frequency, the most frequent first.
pub(super) fn templates<'a>(forms: &[Vec<&'a str>]) -> Vec<(Vec<&'a str>, Vec<usize>)> {
    let mut found = Vec::new();
    for group in groups(forms) {
        split_by_states(forms, &group, &mut found);
    }
    found
}

/// Groups the forms that begin alike, have equally many words and share half of them with the
/// group's current template. Words are compared by number for speed: a hostile window has 20,000
/// forms of 60 words, each compared with 500 templates.
fn groups(forms: &[Vec<&str>]) -> Vec<Vec<usize>> {
    let mut numbers: HashMap<&str, usize> = HashMap::from([(WILDCARD, WILDCARD_NUMBER)]);
    let mut found: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
    let mut alike: HashMap<(usize, usize), Vec<usize>> = HashMap::new();
    for (at, form) in forms.iter().enumerate() {
        let mut number = |word| {
            let next = numbers.len();
            *numbers.entry(word).or_insert(next)
        };
        let words: Vec<usize> = form.iter().map(|&word| number(word)).collect();
        let first = match words.first() {
            Some(first) if !is_parameter(form, 0) => *first,
            _ => WILDCARD_NUMBER,
        };
        let group = alike.entry((words.len(), first)).or_default();
        let best = group
            .iter()
            .take(COMPARED_MAX)
            .map(|template| (same_words(&found[*template].0, &words), *template))
            .filter(|(same, _)| same * 2 >= words.len() || words.len() == 1)
            .max_by_key(|(same, template)| (*same, std::cmp::Reverse(*template)));
        match best {
            Some((_, template)) => {
                let (template, members) = &mut found[template];
                replace_differing(template, &words, &WILDCARD_NUMBER);
                members.push(at);
            }
            None => {
                group.push(found.len());
                found.push((words, vec![at]));
            }
        }
    }
    found.into_iter().map(|(_, members)| members).collect()
}

/// Counts the positions at which both have the same word.
fn same_words(template: &[usize], form: &[usize]) -> usize {
    template.iter().zip(form).filter(|(one, other)| one == other).count()
}

/// Puts a wildcard at each position where the form's word differs from the template's.
fn replace_differing<T: Clone + PartialEq>(template: &mut [T], form: &[T], wildcard: &T) {
    for (word, other) in template.iter_mut().zip(form) {
        if word != other {
            word.clone_from(wildcard);
        }
    }
}

/// Splits a group by the words at all positions that have few words, none of which looks like a
/// parameter. Adds the template of each part.
fn split_by_states<'a>(
    forms: &[Vec<&'a str>],
    group: &[usize],
    found: &mut Vec<(Vec<&'a str>, Vec<usize>)>,
) {
    let has_states = |position: &usize| {
        let mut distinct: Vec<&str> = Vec::new();
        for &form in group {
            let word = forms[form][*position];
            if !distinct.contains(&word) {
                if distinct.len() == STATES_MAX || is_parameter(&forms[form], *position) {
                    return false;
                }
                distinct.push(word);
            }
        }
        distinct.len() > 1
    };
    let states: Vec<usize> = (0..forms[group[0]].len()).filter(has_states).collect();
    let mut parts: BTreeMap<Vec<&str>, Vec<usize>> = BTreeMap::new();
    for &form in group {
        let words = states.iter().map(|position| forms[form][*position]).collect();
        parts.entry(words).or_default().push(form);
    }
    for part in parts.into_values() {
        let mut template = forms[part[0]].clone();
        for form in &part[1..] {
            replace_differing(&mut template, &forms[*form], &WILDCARD);
        }
        found.push((template, part));
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, path::Path};

    use proptest::prelude::*;
    use tidings_storage::FormWriter;

    use super::WILDCARD;

    /// The words of a message's form.
    fn form(message: &str) -> Vec<String> {
        FormWriter::default().write(message).split_whitespace().map(str::to_owned).collect()
    }

    /// Templates of the forms, with owned words.
    fn templates(forms: &[Vec<String>]) -> Vec<(Vec<String>, Vec<usize>)> {
        let words: Vec<Vec<&str>> =
            forms.iter().map(|form| form.iter().map(String::as_str).collect()).collect();
        let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
        super::templates(&words).into_iter().map(|(words, of)| (owned(words), of)).collect()
    }

    fn check(messages: &[&str], expected: &[&str]) {
        let forms: Vec<Vec<String>> = messages.iter().map(|message| form(message)).collect();
        let found: Vec<String> =
            templates(&forms).into_iter().map(|(words, _)| words.join(" ")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn few_words_at_a_position_are_states_and_many_are_values() {
        let vm = ["VM paused now", "VM resumed now", "VM started now", "VM stopped now"];
        check(&vm, &vm);
        check(&[&vm[..], &["VM lost now"]].concat(), &["VM <*> now"]);
        check(
            &["disk limit missing", "cpu limit missing"],
            &["disk limit missing", "cpu limit missing"],
        );
        check(&["a b c d", "a x y z"], &["a b c d", "a x y z"]);
    }

    #[test]
    fn words_that_look_like_parameters_are_values_however_few() {
        check(
            &["user bob logged in from home", "user alice logged in from home"],
            &["user <*> logged in from home"],
        );
        check(&["read /etc/a failed", "read /tmp failed"], &["read <*> failed"]);
        check(&["mail to a@b sent", "mail to c@d sent"], &["mail to <*> sent"]);
        check(&["call of a.b.C done", "call of a.d.E done"], &["call of <*> done"]);
        check(&["open a.com:80 by tls", "open b.org:443 by tls"], &["open <*> by tls"]);
        check(&["free 3 KB left", "free 2.5 MB left"], &["free <*> <*> left"]);
        check(
            &["since Sun Jul 3 10:05:25 2005", "since Fri Jun 17 07:07:00 2005"],
            &["since <*> <*> <*> <*> <*>"],
        );
    }

    proptest! {
        #[test]
        fn each_form_is_of_one_template_that_has_its_words(
            messages in proptest::collection::vec("([a-d]|[a-d]=[1-9]|/[a-d]){0,4}( [a-f]{1,2}){0,4}", 0..60)
        ) {
            let forms: Vec<Vec<String>> = messages.iter().map(|message| form(message)).collect();
            let mut members = Vec::new();
            for (template, of) in templates(&forms) {
                for at in of {
                    prop_assert_eq!(template.len(), forms[at].len());
                    for (word, other) in template.iter().zip(&forms[at]) {
                        prop_assert!(word == WILDCARD || word == other, "{template:?} {:?}", forms[at]);
                    }
                    members.push(at);
                }
            }
            members.sort_unstable();
            prop_assert_eq!(members, (0..forms.len()).collect::<Vec<usize>>());
        }
    }

    /// The sshd example from Drain's own tests: two patterns.
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

    /// Logs of Kafka brokers, whose records begin with time and level. Each number is the maximum
    /// of patterns.
    #[test]
    fn records_of_a_broker_fall_into_few_patterns() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../shared/corpora/kafka-logs-elastic-examples"
        );
        for (name, records, patterns_max) in [
            ("kafka1-state-change.log.2016-12-19-19", 583, 29),
            ("kafka0-controller.log.2016-12-19-17", 96, 9),
            ("kafka0-server.log.2016-12-19-16", 399, 39),
            ("kafka1-server.log.2016-12-19-20", 426, 39),
        ] {
            let Ok(text) = std::fs::read_to_string(format!("{folder}/{name}")) else {
                eprintln!("skipped: no {folder}/{name}");
                return;
            };
            let mut counts: HashMap<Vec<String>, usize> = HashMap::new();
            for record in text.split("\n[20") {
                let (_, rest) = record.split_once("] ").unwrap();
                let (_, message) = rest.split_once(' ').unwrap();
                *counts.entry(form(message)).or_default() += 1;
            }
            assert_eq!(counts.values().sum::<usize>(), records, "{name}");
            let mut forms: Vec<(Vec<String>, usize)> = counts.into_iter().collect();
            forms.sort_by(|(form, one), (other_form, other)| {
                other.cmp(one).then_with(|| form.cmp(other_form))
            });
            let forms: Vec<Vec<String>> = forms.into_iter().map(|(form, _)| form).collect();
            let found: Vec<String> =
                templates(&forms).into_iter().map(|(words, _)| words.join(" ")).collect();
            assert!(found.len() <= patterns_max, "{name}: {}\n{}", found.len(), found.join("\n"));
        }
    }

    /// Grouping accuracy on one file of Loghub, which has event ids assigned by people, and
    /// messages.
    fn accuracy_of(csv: &Path) -> f64 {
        let mut reader = csv::Reader::from_path(csv).unwrap();
        let headers = reader.headers().unwrap().clone();
        let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
        let (event, content) = (column("EventId"), column("Content"));
        let lines: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let mut of_forms: HashMap<Vec<String>, Vec<usize>> = HashMap::new();
        let mut of_events: HashMap<&str, usize> = HashMap::new();
        for (at, line) in lines.iter().enumerate() {
            of_forms.entry(form(&line[content])).or_default().push(at);
            *of_events.entry(&line[event]).or_default() += 1;
        }
        let mut forms: Vec<(Vec<String>, Vec<usize>)> = of_forms.into_iter().collect();
        forms.sort_by(|(form, one), (other_form, other)| {
            other.len().cmp(&one.len()).then_with(|| form.cmp(other_form))
        });
        let (forms, records): (Vec<Vec<String>>, Vec<Vec<usize>>) = forms.into_iter().unzip();
        let mut right = 0;
        for (_, members) in templates(&forms) {
            let group: Vec<usize> =
                members.iter().flat_map(|form| &records[*form]).copied().collect();
            let of_event = &lines[group[0]][event];
            let is_pure = group.iter().all(|line| &lines[*line][event] == of_event);
            if is_pure && of_events[of_event] == group.len() {
                right += group.len();
            }
        }
        right as f64 / lines.len() as f64
    }

    /// Grouping accuracy on the sets of [Loghub](https://github.com/logpai/loghub), in the folder
    /// that the environment variable `LOGHUB` names. It is the share of records whose group has
    /// exactly the records of their event. Drain's published figures average 0.866.
    #[test]
    fn groups_of_public_logs_are_those_of_people() {
        let Some(folder) = std::env::var_os("LOGHUB") else {
            eprintln!("skipped: LOGHUB names no folder");
            return;
        };
        let mut accuracies: Vec<(String, f64)> = std::fs::read_dir(folder)
            .unwrap()
            .flat_map(|system| std::fs::read_dir(system.unwrap().path()).into_iter().flatten())
            .map(|file| file.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with("_2k.log_structured.csv"))
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, accuracy_of(&path))
            })
            .collect();
        accuracies.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (name, accuracy) in &accuracies {
            eprintln!("{name} {accuracy:.3}");
        }
        let mean = accuracies.iter().map(|(_, one)| one).sum::<f64>() / accuracies.len() as f64;
        eprintln!("mean of {} sets {mean:.3}", accuracies.len());
        assert!(mean >= 0.93, "{mean}");
    }
}
