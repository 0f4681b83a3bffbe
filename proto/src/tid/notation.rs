//! The notations of trace ids.
//!
//! A text is cut into words of the characters that one family of notations uses, and each word is
//! compared whole, so that no id is found in the middle of a longer number. Linear in the text.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

use super::{Candidate, CandidateId};
use crate::{SpanId, TraceId};

const TRACE_DIGITS: usize = 32;
const SPAN_DIGITS: usize = 16;
/// Maximum bytes from a name to its value.
const NAME_BYTES_MAX: usize = 32;
/// Maximum number of words that are searched: far more than a line has ids.
const WORDS_MAX: usize = 1_024;

/// Finds all candidates, the likeliest first.
pub(super) fn all(text: &str) -> Vec<Candidate> {
    let mut found = Vec::new();
    found.extend(uber(text));
    found.extend(google(text));
    found.extend(skywalking(text));
    found.extend(sleuth(text));
    let mut words = WordCandidates::default();
    for (before, word) in words_of(text, |c| c.is_ascii_alphanumeric() || c == '-') {
        words.take(before, word, word.len() == text.len());
    }
    let span_id = words.span_id;
    found.extend(words.finish());
    found.extend(base64_id(text));
    if let Some(first) = found.first_mut() {
        first.span_id = first.span_id.or(span_id);
    }
    found
}

/// Returns the words of the characters that `belongs` accepts, each with the text before it.
fn words_of(text: &str, belongs: fn(char) -> bool) -> impl Iterator<Item = (&str, &str)> {
    let mut rest_at = 0;
    std::iter::from_fn(move || {
        let begin = rest_at + text[rest_at..].find(belongs)?;
        let length = text[begin..].find(|c| !belongs(c)).unwrap_or(text.len() - begin);
        rest_at = begin + length;
        Some((&text[..begin], &text[begin..rest_at]))
    })
    .take(WORDS_MAX)
}

/// Finds the ids of 32 or 16 hex digits in a text of any length, also a UUID with its dashes and the
/// ids in a `traceparent`.
pub(super) fn hex_ids(text: &str) -> impl Iterator<Item = CandidateId> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| word.len() >= SPAN_DIGITS).flat_map(|word| {
        let joined =
            word.contains('-').then(|| word.replace('-', "")).and_then(|word| hex_id(&word));
        word.split('-').filter_map(hex_id).chain(joined)
    })
}

fn hex_id(digits: &str) -> Option<CandidateId> {
    if is_hex(digits, TRACE_DIGITS) {
        return digits.parse().ok().map(CandidateId::Trace);
    }
    let low64 = is_hex(digits, SPAN_DIGITS).then(|| u64::from_str_radix(digits, 16).ok())??;
    Some(CandidateId::Low64(low64))
}

fn candidate(id: Option<TraceId>, span: Option<&str>, reason: &'static str) -> Option<Candidate> {
    let span_id = span.and_then(|digits| SpanId::from_short_hex(digits).ok());
    Some(Candidate { id: CandidateId::Trace(id?), span_id, reason })
}

fn low64(value: u64, reason: &'static str) -> Option<Candidate> {
    (value != 0).then_some(Candidate { id: CandidateId::Low64(value), span_id: None, reason })
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Reads `uber-trace-id: trace:span:parent:flags`, whose ids lose their leading zeros. In URLs the
/// colons are `%3A`.
fn uber(text: &str) -> Option<Candidate> {
    let text = text.replace("%3A", ":").replace("%3a", ":");
    words_of(&text, |c| c.is_ascii_alphanumeric() || c == ':').find_map(|(_, word)| {
        // A name may directly precede it: `uber-trace-id:`.
        let parts: Vec<&str> = word.split(':').collect();
        let [.., trace, span, parent, flags] = parts[..] else { return None };
        let short_hex = |part: &str, most: usize| part.len() <= most && is_hex(part, part.len());
        // Times and addresses of machines have colons too, but no part of 8 digits.
        let fits = trace.len() >= 8
            && short_hex(span, SPAN_DIGITS)
            && short_hex(parent, SPAN_DIGITS)
            && matches!(flags.len(), 1 | 2)
            && short_hex(flags, 2);
        let id = fits.then(|| TraceId::from_short_hex(trace).ok())?;
        candidate(id, Some(span), "uber-trace-id header")
    })
}

/// Reads `[application,trace,span]` at the start of a line, and
/// `[application,trace,span,exported]`, as Spring Cloud Sleuth writes them.
fn sleuth(text: &str) -> Option<Candidate> {
    text.split('[').skip(1).take(WORDS_MAX).find_map(|rest| {
        let (inside, _) = rest.split_once(']')?;
        let mut parts = inside.split(',').skip(1);
        let (trace, span) = (parts.next()?.trim(), parts.next()?.trim());
        let fits = (is_hex(trace, TRACE_DIGITS) || is_hex(trace, SPAN_DIGITS))
            && is_hex(span, SPAN_DIGITS)
            && parts.count() <= 1;
        fits.then(|| trace_or_low64(trace, Some(span), "Spring Cloud Sleuth log line"))?
    })
}

/// Reads `X-Cloud-Trace-Context: hex/decimal span;o=1` and `projects/P/traces/hex`.
fn google(text: &str) -> Option<Candidate> {
    words_of(text, |c| c.is_ascii_alphanumeric()).find_map(|(before, word)| {
        if !is_hex(word, TRACE_DIGITS) {
            return None;
        }
        let id = word.parse().ok();
        let path = before.strip_suffix("/traces/").unwrap_or_default();
        if path.rsplit_once('/').is_some_and(|(projects, _)| projects.ends_with("projects")) {
            return candidate(id, None, "Google Cloud trace path");
        }
        let after = text[before.len() + word.len()..].strip_prefix('/')?;
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let span: u64 = after[..digits].parse().ok()?;
        let ends = matches!(after[digits..].bytes().next(), None | Some(b';' | b' ' | b'"'));
        ends.then(|| candidate(id, Some(&format!("{span:x}")), "X-Cloud-Trace-Context header"))?
    })
}

/// Reads `sw8: sample-trace-segment-span-…`, eight parts of which the texts are in base64. The
/// trace's id is a UUID, or 32 digits, a thread and a moment. Collectors that translate it, as
/// OpenTelemetry's does, combine the thread and the moment with the digits, so that result is most
/// likely what is stored.
fn skywalking(text: &str) -> Vec<Candidate> {
    const PARTS: usize = 8;
    let of_header = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-');
    let id = words_of(text, of_header).find_map(|(_, word)| {
        let parts: Vec<&str> = word.splitn(PARTS + 1, '-').collect();
        let [sample, trace, _, span, ..] = parts[..] else { return None };
        // The header's name may directly precede it: `sw8=1-…`.
        let is_sample = matches!(sample.rsplit('=').next(), Some("0" | "1"));
        let is_span = !span.is_empty() && span.bytes().all(|byte| byte.is_ascii_digit());
        if parts.len() != PARTS || !is_sample || !is_span {
            return None;
        }
        let bytes = STANDARD_NO_PAD.decode(trace.trim_end_matches('=')).ok()?;
        String::from_utf8(bytes).ok()
    });
    let mut parts = id.as_deref().unwrap_or_default().splitn(3, '.');
    let digits = parts.next().unwrap_or_default().replace('-', "");
    if !is_hex(&digits, TRACE_DIGITS) {
        return Vec::new();
    }
    let plain: Option<TraceId> = digits.parse().ok();
    let (thread, moment) = (parts.next(), parts.next());
    let laid_over = plain.and_then(|plain| {
        let (thread, moment): (u64, u64) = (thread?.parse().ok()?, moment?.parse().ok()?);
        let mut bytes = *plain.as_bytes();
        let over = thread.to_le_bytes().into_iter().take(4).chain(moment.to_le_bytes());
        bytes[4..].iter_mut().zip(over).for_each(|(byte, over)| *byte ^= over);
        TraceId::from_bytes(bytes)
    });
    let reason = "sw8 header";
    [laid_over, plain].into_iter().filter_map(|id| candidate(id, None, reason)).collect()
}

/// Candidates in words of letters, digits and dashes, by likelihood.
#[derive(Default)]
struct WordCandidates {
    headers: Vec<Candidate>,
    whole_ids: Vec<Candidate>,
    short_ids: Vec<Candidate>,
    span_id: Option<SpanId>,
}

impl WordCandidates {
    fn finish(self) -> impl Iterator<Item = Candidate> {
        self.headers.into_iter().chain(self.whole_ids).chain(self.short_ids)
    }

    fn take(&mut self, before: &str, word: &str, alone: bool) {
        let parts: Vec<&str> = word.split('-').collect();
        let mut at = 0;
        while at < parts.len() {
            at += self.dashed(&parts[at..]).unwrap_or_else(|| {
                self.plain(before, parts[at], alone && parts.len() == 1);
                1
            });
        }
    }

    /// Reads a notation of several parts that begins here. Returns its number of parts.
    fn dashed(&mut self, parts: &[&str]) -> Option<usize> {
        let lengths: Vec<usize> = parts.iter().take(5).map(|part| part.len()).collect();
        let hex = |count: usize| parts[..count].iter().all(|part| is_hex(part, part.len()));
        let parse = |digits: &str| TraceId::from_short_hex(digits).ok();
        let (count, found) = match lengths[..] {
            [2, 32, 16, 2, ..] if hex(4) && !parts[0].eq_ignore_ascii_case("ff") => {
                (4, candidate(parse(parts[1]), Some(parts[2]), "traceparent header"))
            }
            [8, 4, 4, 4, 12] if hex(5) => {
                (5, candidate(parse(&parts[..5].concat()), None, "a UUID's digits"))
            }
            [1, 8, 24, ..] if hex(3) && parts[0] == "1" => {
                (3, candidate(parse(&parts[1..3].concat()), None, "X-Ray trace id"))
            }
            [16 | 32, 16, ..] if hex(2) => {
                let sampled = parts.get(2).is_some_and(|part| matches!(*part, "0" | "1" | "d"));
                let parent = sampled && parts.get(3).is_some_and(|part| is_hex(part, SPAN_DIGITS));
                let reason = if sampled { "b3 header" } else { "a trace id and a span id" };
                let count = 2 + usize::from(sampled) + usize::from(parent);
                (count, trace_or_low64(parts[0], Some(parts[1]), reason))
            }
            _ => return None,
        };
        // A UUID may be any id; the other notations are those of trace ids.
        let uuid = count == 5;
        if uuid { &mut self.whole_ids } else { &mut self.headers }.extend(found);
        Some(count)
    }

    fn plain(&mut self, before: &str, part: &str, alone: bool) {
        let digits = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")).unwrap_or(part);
        let name = name_before(before);
        let of_trace = name.contains("trace");
        let decimal = digits.len() == part.len() && part.bytes().all(|byte| byte.is_ascii_digit());
        // Any number in a line could be a decimal id, so it counts only alone or after a name. Hex
        // of more than 16 digits rarely lacks letters, so a text without them is read as decimal
        // first.
        let decimal_first = decimal && digits.len() > SPAN_DIGITS;
        if decimal_first && digits.len() != TRACE_DIGITS && (alone || of_trace) {
            self.short_ids.extend(decimal_id(part));
        }
        if is_hex(digits, SPAN_DIGITS) && (name.contains("span") || name.contains("parent")) {
            let span = name.contains("span") && !name.contains("parent");
            self.span_id = self.span_id.or(digits.parse().ok().filter(|_| span));
        } else if is_hex(digits, TRACE_DIGITS) {
            self.whole_ids.extend(candidate(digits.parse().ok(), None, "32 hex digits"));
        } else if is_hex(digits, SPAN_DIGITS) {
            self.short_ids.extend(trace_or_low64(digits, None, "16 hex digits"));
        } else if (alone || of_trace) && is_hex(digits, digits.len()) {
            let reason = "hex digits without leading zeros";
            self.short_ids.extend(match digits.len() {
                1..TRACE_DIGITS => trace_or_low64(digits, None, reason),
                _ => None,
            });
        }
        if decimal && !decimal_first && (alone || of_trace) {
            self.short_ids.extend(decimal_id(part));
        }
    }
}

/// An id of up to 16 digits may be whole or the end of a longer one. A lookup by 64 bits finds
/// both.
fn trace_or_low64(digits: &str, span: Option<&str>, reason: &'static str) -> Option<Candidate> {
    if digits.len() > SPAN_DIGITS {
        return candidate(TraceId::from_short_hex(digits).ok(), span, reason);
    }
    let span_id = span.and_then(|digits| SpanId::from_short_hex(digits).ok());
    let found = low64(u64::from_str_radix(digits, 16).ok()?, reason)?;
    Some(Candidate { span_id, ..found })
}

/// Reads Datadog's decimal ids: 64 bits, or 128.
fn decimal_id(digits: &str) -> Option<Candidate> {
    match digits.parse::<u64>() {
        Ok(value) => low64(value, "Datadog decimal id"),
        Err(_) => {
            let value: u128 = digits.parse().ok()?;
            candidate(TraceId::from_bytes(value.to_be_bytes()), None, "128-bit decimal id")
        }
    }
}

/// Returns the name before a value, as `dd.trace_id=`, in lower case.
fn name_before(before: &str) -> String {
    let begin = before.ceil_char_boundary(before.len().saturating_sub(NAME_BYTES_MAX));
    let near = before[begin..].trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let name = near
        .rfind(|c| !of_name(c))
        .map_or(near, |end| &near[end + near[end..].chars().next().map_or(1, char::len_utf8)..]);
    name.to_ascii_lowercase()
}

/// Reads 16 bytes in base64, as protobuf's JSON mapping writes ids.
fn base64_id(text: &str) -> Option<Candidate> {
    let of_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_' | '=');
    words_of(text, of_base64).find_map(|(_, word)| {
        let digits = match word.strip_suffix("==") {
            Some(digits) => digits,
            None if word.len() == text.len() => word,
            None => return None,
        };
        if digits.len() != 22 {
            return None;
        }
        let standard = digits.replace('-', "+").replace('_', "/");
        let bytes: [u8; 16] = STANDARD_NO_PAD.decode(standard).ok()?.try_into().ok()?;
        candidate(TraceId::from_bytes(bytes), None, "16 bytes in base64")
    })
}
