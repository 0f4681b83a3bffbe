//! Regular expressions, in linear time and of a bounded size.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, StringArray};
use arrow_schema::DataType;
use datafusion::{
    error::{DataFusionError, Result},
    logical_expr::ScalarUDF,
};
use regex::{Regex, RegexBuilder};
use tidings_sql::{limits::PATTERN_BYTES_MAX, meter::Meter};

use super::text_functions::{Arguments, Function};

/// `regexp_like(text, pattern[, flags])`: true if the text matches the pattern.
pub(super) fn like(meter: &Arc<Meter>) -> Arc<ScalarUDF> {
    Function::new("regexp_like", 2..=3, DataType::Boolean, likes, meter).build()
}

/// `regexp_extract(text, pattern[, group])`: the first match of the pattern, or of its first group.
pub(super) fn extract(meter: &Arc<Meter>) -> Arc<ScalarUDF> {
    Function::new("regexp_extract", 2..=3, DataType::Utf8, extracts, meter).build()
}

fn likes(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let flags = match arguments.len() {
        3 => arguments.constant(2, "the flags of a pattern")?.unwrap_or_default(),
        _ => "",
    };
    let Some(pattern) = pattern(arguments, flags)? else {
        return Ok(Arc::new(BooleanArray::new_null(arguments.rows)));
    };
    let found = arguments.each(&arguments.texts(0)?, |text| Some(pattern.is_match(text)))?;
    Ok(Arc::new(BooleanArray::from(found)))
}

fn extracts(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let Some(pattern) = pattern(arguments, "")? else {
        return Ok(Arc::new(StringArray::new_null(arguments.rows)));
    };
    let group = match arguments.len() {
        3 => arguments.constant(2, "the number of a group")?.map(str::parse),
        _ => Some(Ok(usize::from(pattern.captures_len() > 1))),
    };
    let group =
        group.unwrap_or(Ok(0)).ok().filter(|group| *group < pattern.captures_len()).ok_or_else(
            || DataFusionError::Execution("the pattern has no such group".to_owned()),
        )?;
    let texts = arguments.texts(0)?;
    let found = arguments.each(&texts, |text| {
        let found = pattern.captures(text)?.get(group)?;
        Some(found.as_str().to_owned())
    })?;
    Ok(Arc::new(StringArray::from(found)))
}

fn pattern(arguments: &Arguments<'_>, flags: &str) -> Result<Option<Regex>> {
    let Some(pattern) = arguments.constant(1, "a pattern")? else { return Ok(None) };
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            other => {
                let reason = format!("a pattern has no flag {other:?}: i, m and s are");
                return Err(DataFusionError::Execution(reason));
            }
        };
    }
    let compiled = builder.build().map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().next_back().unwrap_or_default().to_owned();
        DataFusionError::Execution(format!("the pattern cannot be used: {reason}"))
    });
    compiled.map(Some)
}
