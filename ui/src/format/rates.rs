//! Rates, shares, factors and sizes as text: three digits each, and the unit beside the number.

use tidings_proto::UnixNanos;

use super::{count, date, time_of_day};

/// A number with three digits: `1,238`, `41.9`, `4.10`, `0.05`. Zero is `0`.
#[must_use]
pub fn three_digits(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() {
        return "–".to_owned();
    }
    let decimals = match size {
        0.0 => 0,
        _ if size < 0.005 => return "<0.01".to_owned(),
        _ if size >= 99.95 => 0,
        _ if size >= 9.995 => 1,
        _ => 2,
    };
    let sign = if number < 0.0 { "−" } else { "" };
    if size >= 999.5 {
        return format!("{sign}{}", count(whole(size.round())));
    }
    format!("{sign}{size:.decimals$}")
}

/// A number as [`three_digits`] has it, without zeros at the end of its fraction: `40`, `2.5`.
#[must_use]
pub fn without_zeros(number: f64) -> String {
    let text = three_digits(number);
    match text.split_once('.') {
        Some((integer, fraction)) => match fraction.trim_end_matches('0') {
            "" => integer.to_owned(),
            fraction => format!("{integer}.{fraction}"),
        },
        None => text,
    }
}

/// Calls in a minute, for a column whose heading has the unit.
#[must_use]
pub fn per_minute(per_second: f64) -> String {
    three_digits(per_second * 60.0)
}

/// A share from 0 to 1 in percent: `10.2 %`, `<0.1 %`, `0 %`, `100 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        _ if !percent.is_finite() => "–".to_owned(),
        _ if percent <= 0.0 => "0 %".to_owned(),
        _ if percent < 0.1 => "<0.1 %".to_owned(),
        _ if percent >= 100.0 => format!("{percent:.0} %"),
        _ if percent > 99.9 => ">99.9 %".to_owned(),
        _ => format!("{percent:.1} %"),
    }
}

/// A factor: `3.9×`, `61×`, `1,200×`.
#[must_use]
pub fn factor(factor: f64) -> String {
    match factor {
        _ if !factor.is_finite() => "–".to_owned(),
        _ if factor < 9.95 => format!("{factor:.1}×"),
        _ => format!("{}×", count(whole(factor.round()))),
    }
}

/// A size in binary units: `812 B`, `64.0 KiB`, `1.92 GiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1_024.0;
        unit += 1;
    }
    format!("{} {}", three_digits(size), UNITS[unit])
}

/// The minute of a moment: `14:01`, with the date in front on another day than `now`.
#[must_use]
pub fn minute(time: UnixNanos, now: UnixNanos, zone_minutes: i32) -> String {
    clock(time, now, zone_minutes, "14:01".len())
}

/// The second of a moment: `14:01:07`, with the date in front on another day than `now`.
#[must_use]
pub fn second(time: UnixNanos, now: UnixNanos, zone_minutes: i32) -> String {
    clock(time, now, zone_minutes, "14:01:07".len())
}

/// The first characters of the time of day, with the date in front on another day than `now`.
fn clock(time: UnixNanos, now: UnixNanos, zone_minutes: i32, characters: usize) -> String {
    let clock: String = time_of_day(time, zone_minutes).chars().take(characters).collect();
    let day = date(time, zone_minutes);
    if day == date(now, zone_minutes) { clock } else { format!("{day} {clock}") }
}

/// A number that is not negative without its fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float-to-int cast saturates, and the number is not negative"
)]
pub(crate) fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use tidings_proto::UnixNanos;

    use super::{bytes, factor, minute, per_minute, percent, second, three_digits, without_zeros};

    #[test]
    fn numbers_have_three_digits() {
        let written = [0.0, 0.001, 0.05, 4.1, 9.999, 41.94, 99.96, 1238.4, f64::NAN];
        let expected = ["0", "<0.01", "0.05", "4.10", "10.0", "41.9", "100", "1,238", "–"];
        assert_eq!(written.map(three_digits), expected);
        assert_eq!([-4.1, -41.94, -250.0].map(three_digits), ["−4.10", "−41.9", "−250"]);
        assert_eq!(per_minute(20.634), "1,238");
    }

    #[test]
    fn numbers_of_an_axis_have_no_digits_they_do_not_need() {
        let written = [0.0, 0.001, 0.5, 2.5, 20.0, -40.0, 100.0, 12_000.0, f64::NAN];
        let expected = ["0", "<0.01", "0.5", "2.5", "20", "−40", "100", "12,000", "–"];
        assert_eq!(written.map(without_zeros), expected);
    }

    #[test]
    fn shares_that_are_almost_nothing_or_all_say_so() {
        let written = [0.0, 0.0004, 0.001, 0.1023, 0.9995, 0.99999, 1.0, f64::NAN];
        let expected = ["0 %", "<0.1 %", "0.1 %", "10.2 %", ">99.9 %", ">99.9 %", "100 %", "–"];
        assert_eq!(written.map(percent), expected);
    }

    #[test]
    fn factors_have_two_digits_or_are_whole() {
        let written = [0.51, 3.9, 9.96, 61.2, 1_200.0, f64::INFINITY];
        assert_eq!(written.map(factor), ["0.5×", "3.9×", "10×", "61×", "1,200×", "–"]);
    }

    #[test]
    fn sizes_choose_their_unit() {
        let written = [0, 1_023, 1_024, 65_536, 1_047_000, 2_061_584_302, u64::MAX];
        let expected =
            ["0 B", "1023 B", "1.00 KiB", "64.0 KiB", "1.00 MiB", "1.92 GiB", "16.0 EiB"];
        assert_eq!(written.map(bytes), expected);
    }

    #[test]
    fn a_minute_of_another_day_has_its_date() {
        let (noon, day) = (UnixNanos(43_200_000_000_000), 86_400_000_000_000);
        assert_eq!(minute(noon, noon, 60), "13:00");
        assert_eq!(second(noon, noon, 60), "13:00:00");
        assert_eq!(minute(noon, UnixNanos(noon.0 + day), 0), "1970-01-01 12:00");
    }
}
