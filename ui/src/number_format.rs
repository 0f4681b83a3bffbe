//! Rates, shares, factors and differences as text, in addition to [`crate::format`].
//!
//! A number has three digits and a unit. A number that changed is written beside its baseline, so
//! both have the same format.

use std::cmp::Ordering;

use tidings_proto::{DurationNanos, OffsetNanos};

use crate::format;

/// Factor from which a change is written as a factor. Below it, percent show its direction.
pub const FACTOR_MIN: f64 = 1.5;
/// The word for two values that differ by less than 1 %.
pub const SAME: &str = "same";

/// A number in three digits, above a thousand with its thousands set apart.
#[must_use]
pub fn three_digits(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        size if size < 999.5 => format!("{value:.0}"),
        _ => {
            let sign = if value < 0.0 { "−" } else { "" };
            format!("{sign}{}", format::count(whole(value.abs())))
        }
    }
}

/// A rate: by the minute, by the second where that is many, by the hour where it is few.
#[must_use]
pub fn rate(per_second: f64) -> String {
    let (number, unit) = rate_parts(per_second);
    format!("{number} {unit}")
}

/// A rate's number and its unit apart.
#[must_use]
pub fn rate_parts(per_second: f64) -> (String, &'static str) {
    let (factor, unit) = rate_unit(per_second);
    (three_digits(per_second * factor), unit)
}

/// A rate in the unit of another rate beside it.
#[must_use]
pub fn rate_in_unit_of(per_second: f64, other_per_second: f64) -> String {
    let (factor, unit) = rate_unit(other_per_second);
    format!("{} {unit}", three_digits(per_second * factor))
}

/// The unit of a rate, and the factor from one by the second.
fn rate_unit(per_second: f64) -> (f64, &'static str) {
    let per_minute = per_second * 60.0;
    if per_minute >= 100_000.0 {
        (1.0, "/s")
    } else if per_minute >= 0.995 || per_minute == 0.0 {
        (60.0, "/min")
    } else {
        (3_600.0, "/h")
    }
}

/// A share, 0 to 1: `10.2 %`, `<0.1 %`, `100 %`.
#[must_use]
pub fn share(share: f64) -> String {
    let percent = share * 100.0;
    if !percent.is_finite() || percent <= 0.0 {
        "0 %".to_owned()
    } else if percent < 0.1 {
        "<0.1 %".to_owned()
    } else if percent < 99.95 {
        format!("{percent:.1} %")
    } else {
        "100 %".to_owned()
    }
}

/// A part of a whole as a number from 0 to 1; of nothing it is 0.
#[must_use]
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A factor from before to now: `3.9×`, `61×`. A smaller or negative change is in percent, `+2 %`,
/// `−27 %`, and one below 1 % is `same`.
#[must_use]
pub fn factor_text(factor: f64) -> String {
    let difference = factor - 1.0;
    if !factor.is_finite() || factor >= FACTOR_MIN {
        format::rates::factor(factor)
    } else if difference.abs() < 0.01 {
        SAME.to_owned()
    } else {
        // Something that remains is never rounded to nothing.
        let least = if factor > 0.0 { -99.0 } else { -100.0 };
        let percent = (difference * 100.0).round().max(least);
        format!("{}{:.0} %", sign(percent), percent.abs())
    }
}

/// A difference of lengths of time with its sign: `+699 ms`, `−3.00 ms`, `±0`.
#[must_use]
pub fn duration_difference(now: DurationNanos, before: DurationNanos) -> String {
    signed_duration(now.0.cmp(&before.0), DurationNanos(now.0.abs_diff(before.0)))
}

/// A difference of lengths of time that the API computed, with its sign: `+312 ms`, `−4.00 ms`.
#[must_use]
pub fn offset(difference: OffsetNanos) -> String {
    signed_duration(difference.0.cmp(&0), DurationNanos(difference.0.unsigned_abs()))
}

fn signed_duration(direction: Ordering, size: DurationNanos) -> String {
    match direction {
        Ordering::Equal => "±0".to_owned(),
        Ordering::Greater => format!("+{}", format::duration(size)),
        Ordering::Less => format!("−{}", format::duration(size)),
    }
}

/// A text truncated to this number of letters, with an ellipsis for the rest.
#[must_use]
pub fn truncate(text: &str, letters_max: usize) -> String {
    match text.char_indices().nth(letters_max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Returns the width of a letter in letters of average width.
const fn width_of(letter: char) -> f64 {
    match letter {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | '.' | ',' | ':' | '\'' | '|' => 0.6,
        'm' | 'w' | 'M' | 'W' | '@' => 1.6,
        'A'..='Z' | '0'..='9' | '_' => 1.3,
        '\u{1100}'.. => 2.0,
        _ => 1.0,
    }
}

/// The width of a text, in letters of average width.
#[must_use]
pub fn width_in_letters(text: &str) -> f64 {
    text.chars().map(width_of).sum()
}

/// A text cut to a width in letters of average width.
#[must_use]
pub fn truncate_to_width(text: &str, room: f64) -> String {
    // A cut text ends in an ellipsis.
    let room = if width_in_letters(text) > room { room - 1.5 } else { room };
    let mut width = 0.0;
    let fits = |letter: &char| {
        width += width_of(*letter);
        width <= room + 1e-9
    };
    truncate(text, text.chars().take_while(fits).count())
}

fn sign(number: f64) -> char {
    if number < 0.0 { '−' } else { '+' }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float-to-int cast saturates, and no count on screen is negative"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, OffsetNanos};

    use super::{
        duration_difference, factor_text, offset, rate, ratio, share, truncate, truncate_to_width,
    };

    #[test]
    fn texts_of_wide_letters_are_cut_earlier_than_those_of_narrow_ones() {
        assert_eq!(truncate_to_width("web-gateway", 13.0), "web-gateway");
        assert_eq!(truncate_to_width("MMMMMMMMMMMM", 8.5), "MMMM…");
        assert_eq!(truncate_to_width("支払い支払い", 8.0), "支払い…");
        assert_eq!(truncate_to_width("illillill", 5.6), "illillill");
    }

    #[test]
    fn rates_have_the_unit_in_which_they_are_read() {
        let rates = [20.633, 0.0, 0.41, 12_000.0, 0.001, f64::NAN];
        let texts = rates.map(rate);
        assert_eq!(
            texts,
            ["1,238 /min", "0 /min", "24.6 /min", "12,000 /s", "3.60 /h", "– /h"]
                .map(str::to_owned)
        );
    }

    #[test]
    fn a_small_share_is_not_nothing() {
        let texts = [0.0, 0.0001, 0.102, 0.9999, 1.0].map(share);
        assert_eq!(texts, ["0 %", "<0.1 %", "10.2 %", "100 %", "100 %"].map(str::to_owned));
    }

    #[test]
    fn shares_of_a_whole_never_round_something_to_nothing() {
        for (part, whole, expected) in [
            (0, 10, "0 %"),
            (1, 0, "0 %"),
            (1, 100_000, "<0.1 %"),
            (41, 1_000, "4.1 %"),
            (60, 100, "60.0 %"),
        ] {
            assert_eq!(share(ratio(part, whole)), expected);
        }
    }

    #[test]
    fn differences_carry_their_signs() {
        let time = |now, before| duration_difference(DurationNanos(now), DurationNanos(before));
        assert_eq!(time(402_000_000, 103_000_000), "+299 ms");
        assert_eq!(time(1_000, 4_000), "−3.00 µs");
        assert_eq!(time(5, 5), "±0");
        let offsets = [312_000_000, -4_000_000, 0].map(|nanos| offset(OffsetNanos(nanos)));
        assert_eq!(offsets, ["+312 ms", "−4.00 ms", "±0"]);
    }

    #[test]
    fn a_small_factor_is_a_percentage_with_its_direction() {
        for (factor, expected) in [
            (3.9, "3.9×"),
            (61.0, "61×"),
            (1.5, "1.5×"),
            (1.49, "+49 %"),
            (1.024, "+2 %"),
            (1.009, "same"),
            (1.0, "same"),
            (0.991, "same"),
            (0.97, "−3 %"),
            (0.25, "−75 %"),
            (0.0001, "−99 %"),
            (0.0, "−100 %"),
            (f64::INFINITY, "–"),
        ] {
            assert_eq!(factor_text(factor), expected, "{factor}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        assert_eq!(truncate("häuser", 2), "hä…");
        assert_eq!(truncate("ab", 2), "ab");
    }
}
