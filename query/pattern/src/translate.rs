//! Translation of a pattern of Go's `regexp` (RE2) to the syntax of the engine here.
//!
//! Owns the differences. `\Q…\E` is text. A `{` that begins no repetition count stands for itself,
//! and so do `[`, `&` and `~` in a class. A repetition of a repetition is an error, and so is a
//! count above [`REPEATS_MAX`], multiplied through groups. Other errors are left to the engine.
//! Groups that are not read become non-capturing, because the engine holds the positions of all
//! captures for each state of a pattern.

use std::iter::Peekable;

use super::PatternError;

/// Maximum repetition count in Go.
pub(super) const REPEATS_MAX: u32 = 1_000;

/// Returns the pattern in the engine's syntax, with its groups or with non-capturing ones.
pub(super) fn translate(pattern: &str, keeps_groups: bool) -> Result<String, PatternError> {
    let mut translator = Translator {
        pattern,
        chars: pattern.char_indices().peekable(),
        out: String::with_capacity(pattern.len()),
        repeat: None,
        times: 1,
        groups: vec![1],
        keeps_groups,
    };
    while let Some((at, c)) = translator.chars.next() {
        translator.step(at, c)?;
    }
    Ok(translator.out)
}

struct Translator<'a> {
    pattern: &'a str,
    chars: Peekable<std::str::CharIndices<'a>>,
    out: String,
    /// Position at which the repetition began that ended just before.
    repeat: Option<usize>,
    /// Maximum number of repetitions inside the previous element.
    times: u32,
    /// The maximum of these numbers so far in each open group.
    groups: Vec<u32>,
    keeps_groups: bool,
}

impl Translator<'_> {
    fn step(&mut self, at: usize, c: char) -> Result<(), PatternError> {
        match c {
            '*' | '+' | '?' => {
                self.out.push(c);
                return self.repeated(at, 1);
            }
            '{' => return self.braces(at),
            '\\' => self.escape(),
            '[' => self.class(),
            '(' => {
                self.out.push(c);
                self.begin_group();
                self.groups.push(1);
                self.times = 1;
                self.repeat = None;
                return Ok(());
            }
            ')' => {
                self.out.push(c);
                self.times = self.groups.pop().unwrap_or(1);
                self.note();
                self.repeat = None;
                return Ok(());
            }
            other => self.out.push(other),
        }
        self.times = 1;
        self.repeat = None;
        Ok(())
    }

    /// Begins a group after its parenthesis, where a `?` is not a repetition.
    fn begin_group(&mut self) {
        let has_mark = self.chars.next_if(|next| next.1 == '?').is_some();
        if !has_mark {
            self.out.push_str(if self.keeps_groups { "" } else { "?:" });
            return;
        }
        self.out.push('?');
        let rest = self.chars.peek().map_or("", |next| &self.pattern[next.0..]);
        let named = rest.strip_prefix("P<").or_else(|| rest.strip_prefix('<'));
        let named = named.and_then(|named| named.split_once('>')).filter(|_| !self.keeps_groups);
        if let Some((_, after)) = named {
            let end = self.pattern.len() - after.len();
            while self.chars.next_if(|next| next.0 < end).is_some() {}
            self.out.push(':');
        }
    }

    /// Updates the open group with the repetitions of the previous element.
    fn note(&mut self) {
        if self.groups.is_empty() {
            self.groups.push(1);
        }
        if let Some(group) = self.groups.last_mut() {
            *group = self.times.max(*group);
        }
    }

    /// Ends a repetition that began here and was just copied, with the `?` that makes it lazy.
    fn repeated(&mut self, at: usize, times: u32) -> Result<(), PatternError> {
        self.out.extend(self.chars.next_if(|next| next.1 == '?').map(|next| next.1));
        let end = self.chars.peek().map_or(self.pattern.len(), |next| next.0);
        if let Some(before) = self.repeat {
            return Err(PatternError::Nested(self.pattern[before..end].to_owned()));
        }
        self.times = self.times.saturating_mul(times.max(1));
        if self.times > REPEATS_MAX {
            return Err(PatternError::Repeats(self.pattern[at..end].to_owned()));
        }
        self.note();
        self.repeat = Some(at);
        Ok(())
    }

    /// Reads `{2}`, `{2,}` or `{2,3}`; any other brace stands for itself.
    fn braces(&mut self, at: usize) -> Result<(), PatternError> {
        let rest = &self.pattern[at..];
        let Some((shown, least, most)) = times_of(rest) else {
            self.out.push_str("\\{");
            (self.times, self.repeat) = (1, None);
            return Ok(());
        };
        let most = most.unwrap_or(least);
        if least.max(most) > REPEATS_MAX || most < least {
            return Err(PatternError::Repeats(shown.to_owned()));
        }
        self.out.push_str(shown);
        while self.chars.next_if(|next| next.0 < at + shown.len()).is_some() {}
        self.repeated(at, most)
    }

    fn escape(&mut self) {
        let Some((at, next)) = self.chars.next() else {
            self.out.push('\\');
            return;
        };
        if next != 'Q' {
            self.out.extend(['\\', next]);
            // The braces of `\x{41}` and `\p{Greek}` are not repetitions.
            if matches!(next, 'x' | 'p' | 'P')
                && self.chars.peek().is_some_and(|next| next.1 == '{')
            {
                for (_, inner) in self.chars.by_ref() {
                    self.out.push(inner);
                    if inner == '}' {
                        break;
                    }
                }
            }
            return;
        }
        let text = &self.pattern[at + 1..];
        let length = text.find("\\E").unwrap_or(text.len());
        let end = (at + 1 + length + 2).min(self.pattern.len());
        self.out.push_str(&regex::escape(&text[..length]));
        while self.chars.next_if(|next| next.0 < end).is_some() {}
    }

    /// Copies a class up to its end.
    fn class(&mut self) {
        self.out.push('[');
        self.out.extend(self.chars.next_if(|next| next.1 == '^').map(|next| next.1));
        let mut is_first = true;
        while let Some((at, c)) = self.chars.next() {
            match c {
                ']' if !is_first => {
                    self.out.push(c);
                    return;
                }
                '\\' => {
                    self.out.push(c);
                    self.out.extend(self.chars.next().map(|next| next.1));
                }
                '[' if self.pattern[at..].starts_with("[:") => {
                    match self.pattern[at..].find(":]") {
                        Some(length) => {
                            self.out.push_str(&self.pattern[at..at + length + 2]);
                            while self.chars.next_if(|next| next.0 < at + length + 2).is_some() {}
                        }
                        None => self.out.push_str("\\["),
                    }
                }
                '[' | ']' | '&' | '~' => self.out.extend(['\\', c]),
                other => self.out.push(other),
            }
            is_first = false;
        }
    }
}

/// Parses a repetition count at the start of the text. Returns its text, the minimum, and the
/// maximum if it has one.
fn times_of(text: &str) -> Option<(&str, u32, Option<u32>)> {
    let shown = &text[..=text.find('}')?];
    let inner = shown.strip_prefix('{')?.strip_suffix('}')?;
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // A number that does not fit is too large in any case.
        is_number.then(|| digits.parse().unwrap_or(u32::MAX))
    };
    Some(match inner.split_once(',') {
        None => (shown, number(inner)?, None),
        Some((least, "")) => (shown, number(least)?, None),
        Some((least, most)) => (shown, number(least)?, Some(number(most)?)),
    })
}
