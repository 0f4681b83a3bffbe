//! The number of a log record: the value of a field, or a number that a pattern captures in a
//! field's text.
//!
//! Owns the form of the parameter: `FIELD`, or `FIELD:/PATTERN/`, whose first group is the number.

use regex::{CaptureLocations, Regex};
use tidings_log_query::{LogField, LogQueryError};
use tidings_pattern::Patterns;
use tidings_storage::{ConditionNumber, LogRows, Projection};

use super::field_reader::FieldReader;
use crate::QueryError;

/// Maximum number of bytes of a text that a pattern searches. A match cannot be interrupted: a
/// query is cancelled only between two records.
const SEARCHED_BYTES_MAX: usize = 64 << 10;

/// Reads numbers.
#[derive(Debug)]
pub(super) struct NumberReader {
    field: FieldReader,
    capture: Option<NumberCapture>,
}

/// A pattern whose first group is a number.
#[derive(Debug)]
struct NumberCapture {
    regex: Regex,
    groups: CaptureLocations,
    /// True when the pattern searches the message. The message is searched in place and not cut to
    /// the length of a value.
    is_of_body: bool,
}

impl NumberReader {
    /// Creates the reader of a field, or of a field and a pattern.
    ///
    /// # Errors
    /// `Parameter` names the position at which `text` should have a pattern with a group.
    pub(super) fn new(text: &str) -> Result<Self, QueryError> {
        // The slashes of `http://` do not begin a pattern.
        let parts = text.split_once(":/").filter(|(_, rest)| !rest.starts_with('/'));
        let (name, pattern) = parts.map_or((text, None), |(name, rest)| (name, Some(rest)));
        let field = LogField::of_name(name);
        let is_of_body = field == LogField::Body;
        let capture = pattern
            .map(|pattern| NumberCapture::new(text, pattern, is_of_body))
            .transpose()
            .map_err(|error| QueryError::parameter("number", format!("invalid number {error}")))?;
        Ok(Self { field: FieldReader::new(field), capture })
    }

    /// The columns that reading the number needs.
    pub(super) fn detail(&self) -> Projection {
        self.field.detail()
    }

    /// Returns the number of a record; `None` when it has none.
    pub(super) fn number(&mut self, rows: &LogRows, row: usize) -> Option<f64> {
        match &mut self.capture {
            None => number(&self.field.text(rows, row)?),
            Some(capture) if capture.is_of_body => capture.number(rows.text(row)),
            Some(capture) => capture.number(&self.field.text(rows, row)?),
        }
    }
}

impl NumberCapture {
    /// The pattern that follows the slash in `text`.
    fn new(text: &str, pattern: &str, is_of_body: bool) -> Result<Self, LogQueryError> {
        let end = text.chars().count() + 1;
        let slash = end - pattern.chars().count() - 1;
        let error = |character, message| LogQueryError { character, message };
        let Some(pattern) = pattern.strip_suffix('/') else {
            return Err(error(end, "`/` was expected at the end of the pattern".to_owned()));
        };
        let regex = Patterns::with_groups()
            .compile_unanchored(&pattern.replace("\\/", "/"))
            .map_err(|cause| error(slash, format!("this is not a regular expression: {cause}")))?
            .regex;
        if regex.captures_len() < 2 {
            let message = "a group was expected around the number, as in `/took (\\d+) ms/`";
            return Err(error(slash, message.to_owned()));
        }
        Ok(Self { groups: regex.capture_locations(), regex, is_of_body })
    }

    /// Returns the number that the first match captures.
    fn number(&mut self, text: &str) -> Option<f64> {
        let text = &text[..text.floor_char_boundary(SEARCHED_BYTES_MAX)];
        self.regex.captures_read(&mut self.groups, text)?;
        let (start, end) = self.groups.get(1)?;
        number(&text[start..end])
    }
}

fn number(text: &str) -> Option<f64> {
    ConditionNumber::new(text).map(ConditionNumber::double)
}

#[cfg(test)]
mod tests {
    use super::{NumberReader, SEARCHED_BYTES_MAX};

    /// Returns the number in a text, or the error.
    fn check(number: &str, text: &str) -> Result<Option<f64>, String> {
        let reader = NumberReader::new(number).map_err(|error| error.to_string())?;
        Ok(reader.capture.and_then(|mut capture| capture.number(text)))
    }

    #[test]
    fn the_first_group_of_the_first_match_is_the_number() {
        for (pattern, text, expected) in [
            (r"/took (\d+) ms/", "GET / took 12 ms, then took 90 ms", Some(12.0)),
            (r"/took (?P<ms>[0-9.]+)(ms|s)/", "took 1.5ms", Some(1.5)),
            (r"/(?:GET|PUT) \S+ (-?\d+)/", "PUT /cart -7", Some(-7.0)),
            (r"/cart/v(\d)/", "/cart/v3", Some(3.0)),
            (r"/cart\/v(\d)/", "/cart/v3", Some(3.0)),
            (r"/é took (\d+)/", "é took 4", Some(4.0)),
            (r"/took (\w+)/", "took ages", None),
            (r"/took (\d+)|left/", "left", None),
            (r"/took (\d+)/", "no time", None),
        ] {
            assert_eq!(check(&format!("body:{pattern}"), text), Ok(expected), "{pattern}");
        }
        let long = format!("é{} 7 ms", "x".repeat(SEARCHED_BYTES_MAX - 5));
        assert_eq!(check(r"body:/ (\d) ?/", &long), Ok(Some(7.0)), "within the searched bytes");
        assert_eq!(check(r"body:/ (\d) ms/", &long), Ok(None), "behind the searched bytes");
        let cut_inside = format!("took 7 ms{}", "é".repeat(SEARCHED_BYTES_MAX));
        assert_eq!(check(r"body:/^took (\d) msé+$/", &cut_inside), Ok(Some(7.0)));
        assert_eq!(check("took_ms", "took 5 ms"), Ok(None), "it is a field");
        assert!(NumberReader::new("http://took").is_ok(), "it is a field");
    }

    #[test]
    fn errors_name_the_character_and_the_cause() {
        for (number, expected) in [
            (r"body:/took (\d+)", "at character 17: `/` was expected at the end of the pattern"),
            (r"é:/took (\d+/", "at character 3: this is not a regular expression: "),
            (r"body:/took (\d+)**/", "at character 6: this is not a regular expression: `**` "),
            (r"body:/\w{900}(\d)/", "at character 6: this is not a regular expression: "),
            (r"body:/took \d+/", "at character 6: a group was expected around the number"),
        ] {
            let error = check(number, "").unwrap_err();
            assert!(error.starts_with(&format!("invalid number {expected}")), "{number}: {error}");
        }
    }
}
