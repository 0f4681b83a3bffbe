use proptest::{
    prelude::{Just, ProptestConfig, Strategy, any, prop_assert, proptest},
    sample::select,
    strategy::Union,
    string::string_regex,
};
use regex::Regex;

use super::ParameterForm;

const FORMS: [ParameterForm; 14] = [
    ParameterForm::Time,
    ParameterForm::Duration,
    ParameterForm::Above,
    ParameterForm::Severity,
    ParameterForm::Attribute,
    ParameterForm::Keys,
    ParameterForm::TraceId,
    ParameterForm::TraceName,
    ParameterForm::TraceIds,
    ParameterForm::TraceIdsOrTypical,
    ParameterForm::SpanId,
    ParameterForm::RecordId,
    ParameterForm::Cursor,
    ParameterForm::Text,
];

/// Look-aheads, which the tests' regular expressions lack: an id is not all zero.
const NOT_ZERO: [&str; 2] = ["(?!0+$)", "(?!0{32})"];

fn without_look_ahead(pattern: &str) -> String {
    NOT_ZERO.iter().fold(pattern.to_owned(), |pattern, ahead| pattern.replace(ahead, ""))
}

/// Generates a form with a text that matches its pattern.
fn said() -> impl Strategy<Value = (ParameterForm, String)> {
    let texts = FORMS.map(|form| {
        let pattern = form.pattern().unwrap_or("^.+$");
        let pattern = without_look_ahead(pattern).replace("^[^=]", "^[^=](.|\n)*");
        let texts = string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).unwrap();
        (Just(form), texts).boxed()
    });
    Union::new(texts)
}

/// Generates texts that are nearly of some form.
fn changed() -> impl Strategy<Value = String> {
    const ODD: [&str; 14] = ["0", "p", " ", "=", ",", "T", "00", ".", "\n", "é", "-", "", "s", "f"];
    (said(), any::<proptest::sample::Index>(), select(&ODD[..])).prop_map(|((_, text), at, odd)| {
        let mut chars: Vec<char> = text.chars().collect();
        if !chars.is_empty() {
            let at = at.index(chars.len());
            chars.splice(at..=at, odd.chars());
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn texts_that_match_the_pattern_are_accepted((form, text) in said()) {
        // A description cannot express the length of months, the end of times, or that no id is
        // zero.
        let beyond = form == ParameterForm::Time || text.split(',').any(|id| id.trim_matches('0').is_empty());
        prop_assert!(text.is_empty() || beyond || form.accepts(&text), "{:?} {}", form, text);
    }

    #[test]
    fn accepted_texts_match_the_pattern(text in changed()) {
        for form in FORMS.into_iter().filter(|form| form.accepts(&text)) {
            if let Some(pattern) = form.pattern() {
                let described = Regex::new(&without_look_ahead(pattern)).unwrap().is_match(&text);
                prop_assert!(text.is_empty() || described, "{:?} {:?}", form, text);
            }
        }
    }
}
