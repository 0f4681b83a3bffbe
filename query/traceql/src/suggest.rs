//! Suggestions for misspelt words.

/// Returns the closest of the known words, if one is close enough; the first of several.
#[must_use]
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Hostile words may be long; the known words are short.
    const WORD_BYTES_MAX: usize = 64;
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&lower, &known.to_lowercase());
    let best = known.into_iter().map(|known| (distance(known), known)).min_by_key(|best| best.0)?;
    let near = word.chars().count().div_ceil(4).min(4);
    (best.0 <= near).then_some(best.1)
}

/// Returns `: did you mean …?`, or an empty text.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, known).map_or_else(String::new, |known| format!(": did you mean `{known}`?"))
}
