//! The parameters of Tempo's API. Unknown parameters are ignored, known ones are checked strictly.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, Query, Request},
};
use tidings_proto::UnixNanos;
use tidings_query::{QueryError, traceql::filter::Levels};
use tidings_storage::TimeRange;

use super::TempoError;
use crate::params::{
    go::boolean,
    raw::{is_form, unescaped},
};

const SECOND: u64 = 1_000_000_000;
/// Go's and Prometheus's units in nanoseconds. A unit comes before those that are its prefixes.
const UNITS: [(&str, u64); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", 24 * 3_600 * SECOND),
    ("w", 7 * 24 * 3_600 * SECOND),
];

/// The parameters of a request, from its URL and, when it is a form, its body.
#[derive(Debug, Default)]
pub(super) struct TempoParams {
    given: Vec<(String, String)>,
}

impl<S: Send + Sync> FromRequest<S> for TempoParams {
    type Rejection = TempoError;

    async fn from_request(request: Request, state: &S) -> Result<Self, TempoError> {
        let broken = |reason: String| TempoError(QueryError::parameter("", reason));
        let Query(mut given) = Query::<Vec<(String, String)>>::try_from_uri(request.uri())
            .map_err(|rejected| broken(rejected.body_text()))?;
        if is_form(request.headers()) {
            let body = Bytes::from_request(request, state).await;
            let body = body.map_err(|rejected| broken(rejected.body_text()))?;
            given.extend(form_of(&body).map_err(broken)?);
        }
        Ok(Self { given })
    }
}

/// Parses the pairs of a form. `&&` does not separate pairs, because people write queries into
/// forms unencoded.
fn form_of(body: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the form is not UTF-8".to_owned())?;
    let decoded = |text: &str| decode(&text.replace('+', " "));
    let pairs = pairs_of(text).into_iter().filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    });
    Ok(pairs.collect())
}

/// Splits a text at single ampersands.
fn pairs_of(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let is = |at: Option<usize>| at.and_then(|at| bytes.get(at)) == Some(&b'&');
    let mut pairs = Vec::new();
    let mut from = 0;
    for at in (0..bytes.len()).filter(|at| is(Some(*at))) {
        if !is(at.checked_sub(1)) && !is(at.checked_add(1)) {
            pairs.push(&text[from..at]);
            from = at + 1;
        }
    }
    pairs.push(&text[from..]);
    pairs
}

/// Decodes escapes such as `%41`; returns the text unchanged when the result is not UTF-8.
pub(super) fn decode(text: &str) -> String {
    String::from_utf8(unescaped(text).0).unwrap_or_else(|_| text.to_owned())
}

impl TempoParams {
    /// Returns the first value that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let mut values = self.given.iter().filter(|(given, _)| given == name);
        values.find(|(_, value)| !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Every parameter in the order given.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.given.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn parsed<T>(
        &self,
        name: &str,
        form: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, TempoError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match parse(value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(invalid(name, &format!("it must be {form}"))),
        }
    }

    /// Parses a flag as Go's `strconv.ParseBool` does.
    pub(super) fn flag(&self, name: &str) -> Result<bool, TempoError> {
        Ok(self.parsed(name, "true or false", |text| boolean(text).ok())?.unwrap_or_default())
    }

    /// Parses a whole number.
    pub(super) fn integer(&self, name: &str, form: &str) -> Result<Option<i64>, TempoError> {
        self.parsed(name, form, |text| text.parse().ok())
    }

    /// Refuses a value that is not a UUID.
    pub(super) fn uuid(&self, name: &str) -> Result<(), TempoError> {
        self.parsed(name, "a UUID", |text| is_uuid(text).then_some(())).map(drop)
    }

    /// Parses a number of tree levels; -1 stands for all.
    pub(super) fn levels(&self, name: &str) -> Result<Option<Levels>, TempoError> {
        self.parsed(name, "a number from -1 on", |text| match text.parse::<i64>().ok()? {
            -1 => Some(Levels::All),
            number => u32::try_from(number).ok().map(Levels::Upto),
        })
    }

    /// Parses a positive number, at most `max`.
    pub(super) fn count(
        &self,
        name: &str,
        default: usize,
        max: usize,
    ) -> Result<usize, TempoError> {
        let form = "a positive number";
        let parse = |text: &str| text.parse::<u32>().ok().and_then(|n| usize::try_from(n).ok());
        let given = self.parsed(name, form, |text| parse(text).filter(|count| *count > 0))?;
        Ok(given.unwrap_or(default).min(max))
    }

    /// Parses a number from 0, which stands for no bound.
    pub(super) fn bound(
        &self,
        name: &str,
        default: usize,
        max: usize,
    ) -> Result<usize, TempoError> {
        let form = "a number";
        let given = self.parsed(name, form, |text| text.parse::<u32>().ok())?;
        let given = given.and_then(|number| usize::try_from(number).ok()).unwrap_or(default);
        Ok(if given == 0 { max } else { given.min(max) })
    }

    /// Parses a duration in Go's form, in nanoseconds.
    pub(super) fn duration(&self, name: &str) -> Result<Option<u64>, TempoError> {
        self.parsed(name, "a duration, as 1.5s or 100ms", duration)
    }

    /// Parses `start` and `end` of a search, in seconds. Spans start in the range from the first
    /// second to the last.
    pub(super) fn seconds(&self) -> Result<TimeRange, TempoError> {
        let form = "a time in seconds since 1970";
        let seconds = |name| {
            let parse = |text: &str| text.parse::<u32>().ok().map(|s| u64::from(s) * SECOND);
            self.parsed(name, form, parse)
        };
        let (start, end) = (seconds("start")?.unwrap_or(0), seconds("end")?.unwrap_or(0));
        if (start, end) == (0, 0) {
            return Ok(TimeRange::default());
        }
        if end <= start {
            return Err(invalid("start", "start must be before end"));
        }
        Ok(TimeRange { start: Some(UnixNanos(start)), end: Some(UnixNanos(end)) })
    }

    /// Parses `start`, `end` and `since` of a metrics query, in nanoseconds. The default is the
    /// last hour.
    pub(super) fn bounds(&self, now: UnixNanos) -> Result<(u64, u64), TempoError> {
        let form = "a time in seconds or nanoseconds since 1970, or RFC 3339";
        let since = self.duration("since")?.unwrap_or(3_600 * SECOND);
        let end = self.parsed("end", form, time)?.unwrap_or(now.0);
        let start = self.parsed("start", form, time)?;
        let start = start.unwrap_or_else(|| end.min(now.0).saturating_sub(since));
        if end <= start {
            return Err(invalid("start", "start must be before end"));
        }
        Ok((start, end))
    }

    /// Parses `step`, which is a number of seconds or a duration, in nanoseconds.
    pub(super) fn step(&self) -> Result<Option<u64>, TempoError> {
        let form = "a positive number of seconds or a duration";
        let step = |text: &str| seconds(text).or_else(|| duration(text)).filter(|step| *step > 0);
        self.parsed("step", form, step)
    }
}

/// Error for this parameter, in Tempo's wording.
pub(super) fn invalid(name: &str, reason: &str) -> TempoError {
    TempoError(QueryError::parameter(name, format!("invalid {name}: {reason}")))
}

/// Reports whether Google's UUID library, which Tempo uses, parses the text as a UUID.
fn is_uuid(text: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let braced = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let urn = text.get(..9).filter(|urn| urn.eq_ignore_ascii_case("urn:uuid:"));
    let bare = braced.or_else(|| urn.and(text.get(9..))).unwrap_or(text);
    let lengths = bare.split('-').map(str::len);
    let is_divided = lengths.eq([8, 4, 4, 4, 12]) && is_hex(&bare.replace('-', ""));
    is_divided || (text.len() == 32 && is_hex(text))
}

/// Parses seconds with a fraction, rounded to microseconds, because a float is not more precise.
fn seconds(text: &str) -> Option<u64> {
    let seconds: f64 = text.parse().ok()?;
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from((duration.as_nanos() + 500) / 1_000 * 1_000).ok()
}

/// Parses a time. Up to ten digits are seconds; more are nanoseconds.
fn time(text: &str) -> Option<u64> {
    const SECONDS_DIGITS: usize = 10;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: u64 = text.parse().ok()?;
        return if text.len() <= SECONDS_DIGITS {
            number.checked_mul(SECOND)
        } else {
            Some(number)
        };
    }
    crate::params::rfc_3339(text).map(|time| time.0).or_else(|| seconds(text))
}

fn duration(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut sum) = (text.strip_prefix('+').unwrap_or(text), 0_f64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(digits);
        let (unit, nanos) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        #[expect(clippy::cast_precision_loss, reason = "units are far below 2^52")]
        let nanos = *nanos as f64;
        sum += number.parse::<f64>().ok()? * nanos;
        rest = &after[unit.len()..];
    }
    u64::try_from(Duration::try_from_secs_f64(sum / 1e9).ok()?.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::{decode, duration, form_of, is_uuid, seconds, time};

    #[test]
    fn uuids_are_those_of_go() {
        let uuid = "12345678-0000-0000-1235-00000124000F";
        let bare = uuid.replace('-', "");
        let (urn, braced) = (format!("urn:uuid:{uuid}"), format!("{{{uuid}}}"));
        for text in [uuid, &bare, &urn, &braced] {
            assert!(is_uuid(text), "{text}");
        }
        let (braced, cut) = (format!("{{{bare}}}"), &uuid[1..]);
        let other = uuid.replace('F', "g");
        for text in
            ["", "0000", "12345678-0000-0000-1235", &braced, cut, &other, "é".repeat(16).as_str()]
        {
            assert!(!is_uuid(text), "{text}");
        }
    }

    #[test]
    fn times_are_seconds_nanoseconds_or_rfc_3339() {
        let cases = [
            ("1795161600", Some(1_795_161_600_000_000_000)),
            ("1795161600000000000", Some(1_795_161_600_000_000_000)),
            ("1795161600.5", Some(1_795_161_600_500_000_000)),
            ("2026-11-20T08:00:00Z", Some(1_795_161_600_000_000_000)),
            ("yesterday", None),
            ("-1", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(time(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_those_of_go_and_prometheus() {
        let cases = [
            ("1.5s", Some(1_500_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("100ms", Some(100_000_000)),
            ("1d", Some(86_400_000_000_000)),
            ("0", Some(0)),
            ("5", None),
            ("s", None),
            ("", None),
            ("-5s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(duration(text), expected, "{text}");
        }
        assert_eq!(seconds("15"), Some(15_000_000_000));
        assert_eq!(seconds("inf"), None);
    }

    #[test]
    fn names_in_paths_and_forms_are_decoded() {
        assert_eq!(decode("span.http%2Eroute%20x"), "span.http.route x");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%ff"), "%ff");
        let pair = ("q".to_owned(), "{name=\"a b\"}".to_owned());
        assert_eq!(form_of(b"q=%7Bname=%22a+b%22}&").unwrap(), [pair]);
        let pairs = form_of(b"q={.a && .b}&limit=3&").unwrap();
        let pairs: Vec<(&str, &str)> =
            pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("q", "{.a && .b}"), ("limit", "3")]);
    }
}
