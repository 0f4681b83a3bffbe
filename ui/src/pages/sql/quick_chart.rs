//! A chart of a result: a column of times or numbers horizontally, a column of numbers vertically,
//! one line for each value of a column of names.

use serde_json::Value;
use tidings_proto::{CivilDate, UnixNanos, api::SqlResult};

use super::results::{is_numeric, text_of};
use crate::{
    charts::{
        axis::{ROUND_SECONDS, Tick, time_ticks},
        lines::{LineSeries, UnfinishedStep},
    },
    format::rates::{self, without_zeros},
};

/// Maximum number of points that are drawn. More points than pixels show nothing more.
const POINTS_MAX: usize = 4_000;

/// Maximum number of lines that are drawn on request.
pub(super) const LINES_MAX: usize = 50;

/// The columns of a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChartColumns {
    /// The horizontal column.
    pub(super) x: String,
    /// The vertical column.
    pub(super) y: String,
    /// The column with one line for each value.
    pub(super) by: Option<String>,
}

/// Lines and the labels of the horizontal axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chart {
    pub(super) series: Vec<LineSeries>,
    pub(super) ticks: Vec<Tick>,
    /// Number of values of `by` without a line.
    pub(super) left_out: usize,
    /// The last step of times where the answer has only a part of it.
    pub(super) unfinished: Option<UnfinishedStep>,
}

/// Returns the columns for the horizontal axis: times and numbers.
pub(super) fn x_columns(result: &SqlResult) -> Vec<String> {
    let fits = |kind: &str| kind == "timestamp" || kind == "date" || is_numeric(kind);
    let columns = result.columns.iter().filter(|column| fits(&column.r#type));
    columns.map(|column| column.name.clone()).collect()
}

/// Returns the columns for the vertical axis: numbers.
pub(super) fn y_columns(result: &SqlResult) -> Vec<String> {
    let columns = result.columns.iter().filter(|column| is_numeric(&column.r#type));
    columns.map(|column| column.name.clone()).collect()
}

/// Returns the columns that can separate lines: texts and booleans.
pub(super) fn series_columns(result: &SqlResult) -> Vec<String> {
    let columns =
        result.columns.iter().filter(|column| matches!(column.r#type.as_str(), "text" | "boolean"));
    columns.map(|column| column.name.clone()).collect()
}

/// Returns the default chart of a result: the first time (else number) horizontally, the first
/// other number vertically, the first column of names to separate lines. `None` when no line can be
/// drawn.
pub(super) fn default_columns(result: &SqlResult) -> Option<ChartColumns> {
    let is_time = |column: &&tidings_proto::api::SqlColumn| {
        matches!(column.r#type.as_str(), "timestamp" | "date")
    };
    let time = result.columns.iter().find(is_time).map(|column| column.name.clone());
    let x = time.or_else(|| x_columns(result).into_iter().next())?;
    let y = y_columns(result).into_iter().find(|name| *name != x)?;
    (result.rows.len() > 1).then(|| ChartColumns {
        x,
        y,
        by: series_columns(result).into_iter().next(),
    })
}

/// Returns the chart of these columns with at most `most` lines, or `None` when one of the columns
/// does not exist. The rows were read at `read`.
pub(super) fn chart(
    result: &SqlResult,
    columns: &ChartColumns,
    most: usize,
    zone_minutes: i32,
    read: UnixNanos,
) -> Option<Chart> {
    let index = |name: &str| result.columns.iter().position(|column| column.name == name);
    let (x, y) = (index(&columns.x)?, index(&columns.y)?);
    let by = columns.by.as_deref().and_then(index);
    let is_time = matches!(result.columns.get(x)?.r#type.as_str(), "timestamp" | "date");
    let is_of_services = columns.by.as_deref() == Some("service");
    let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    let mut known = std::collections::HashMap::<String, usize>::new();
    for row in &result.rows {
        let Some(place) =
            row.get(x).and_then(|value| if is_time { moment(value) } else { value.as_f64() })
        else {
            continue;
        };
        let value = row.get(y).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let name = by
            .and_then(|by| row.get(by))
            .map(|name| text_of(name).unwrap_or_else(|| "null".to_owned()));
        let name = name.unwrap_or_default();
        let at = *known.entry(name).or_insert_with_key(|name| {
            lines.push((name.clone(), Vec::new()));
            lines.len() - 1
        });
        lines[at].1.push((place, value));
    }
    // The lines with the greatest numbers are drawn, otherwise in the order of the result.
    let size = |points: &[(f64, f64)]| {
        points.iter().map(|(_, value)| value.abs()).filter(|value| value.is_finite()).sum::<f64>()
    };
    lines.sort_by(|left, right| size(&right.1).total_cmp(&size(&left.1)));
    let left_out = lines.len().saturating_sub(most);
    lines.truncate(most);
    let places = || lines.iter().flat_map(|(_, points)| points.iter().map(|(place, _)| *place));
    let first = places().fold(f64::INFINITY, f64::min);
    let last = places().fold(f64::NEG_INFINITY, f64::max);
    if !first.is_finite() {
        return None;
    }
    let length = if last > first { last - first } else { 1.0 };
    let unfinished = if is_time { unfinished_step(places().collect(), read) } else { None };
    let series = lines.into_iter().map(|(name, mut points)| {
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
        points.truncate(POINTS_MAX);
        for (place, _) in &mut points {
            *place = (*place - first) / length;
        }
        let service = is_of_services.then(|| name.clone());
        LineSeries { name, points, service }
    });
    Some(Chart {
        series: series.collect(),
        ticks: if is_time {
            time_axis(first, last, zone_minutes)
        } else {
            number_axis(first, length)
        },
        left_out,
        unfinished,
    })
}

/// Returns the last step of a chart if it ends after `read`. `times` are in milliseconds since
/// 1970. They are begins of steps if all of them are multiples of one round length. The longest
/// such length that is not above the shortest distance between two times is the length of a step.
fn unfinished_step(mut times: Vec<f64>, read: UnixNanos) -> Option<UnfinishedStep> {
    times.retain(|time| time.is_finite());
    times.sort_by(f64::total_cmp);
    times.dedup();
    let (first, last) = (*times.first()?, *times.last()?);
    let before = *times.iter().nth_back(1)?;
    let shortest = times.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    let milliseconds = |seconds: u64| seconds as f64 * 1_000.0;
    let fits = |seconds: &u64| {
        let step = milliseconds(*seconds);
        step <= shortest && times.iter().all(|time| time.rem_euclid(step) < 0.5)
    };
    let step = ROUND_SECONDS.into_iter().rev().find(fits)?;
    let read = read.0 as f64 / 1e6;
    let is_unfinished = last <= read && read < last + milliseconds(step);
    let word = match step {
        1 => "second",
        60 => "minute",
        3_600 => "hour",
        86_400 => "day",
        _ => "step",
    };
    is_unfinished.then(|| UnfinishedStep {
        after: (before - first) / (last - first),
        title: format!("The last {word} is not over"),
    })
}

fn time_axis(first: f64, last: f64, zone_minutes: i32) -> Vec<Tick> {
    let nanos = |milliseconds: f64| {
        UnixNanos(rates::whole(milliseconds.max(0.0)).saturating_mul(1_000_000))
    };
    time_ticks(nanos(first), nanos(last), zone_minutes, 6)
}

fn number_axis(first: f64, length: f64) -> Vec<Tick> {
    let tick = |at: f64| Tick { at, label: without_zeros(first + length * at) };
    [0.0, 0.25, 0.5, 0.75, 1.0].map(tick).to_vec()
}

/// Returns the milliseconds since 1970 of a time in the API's format:
/// `2026-03-14T15:09:26.535897932Z`, with or without an offset, or a date alone.
fn moment(value: &Value) -> Option<f64> {
    let text = value.as_str()?;
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let days = CivilDate { year, month, day }.days();
    let clock = text.get(11..).filter(|clock| clock.len() >= 8);
    let Some(clock) = clock else { return Some(days as f64 * 86_400_000.0) };
    let part = |range: std::ops::Range<usize>| clock.get(range)?.parse::<i64>().ok();
    let seconds = part(0..2)? * 3_600 + part(3..5)? * 60 + part(6..8)?;
    let rest = &clock[8..];
    let (fraction, zone) =
        rest.split_at(rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len()));
    let fraction: f64 = if fraction.len() > 1 { format!("0{fraction}").parse().ok()? } else { 0.0 };
    let offset = match zone.as_bytes().first() {
        Some(sign @ (b'+' | b'-')) => {
            let minutes = zone.get(1..3)?.parse::<i64>().ok()? * 60
                + zone.get(4..6).and_then(|text| text.parse().ok()).unwrap_or(0);
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => 0,
    };
    Some((days * 86_400 + seconds - offset * 60) as f64 * 1_000.0 + fraction * 1_000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidings_proto::{
        DurationNanos, UnixNanos,
        api::{SqlColumn, SqlRead, SqlResult},
    };

    use super::{ChartColumns, LINES_MAX, chart, default_columns, moment, unfinished_step};
    use crate::charts::lines::SERIES_MAX;

    fn result(columns: &[(&str, &str)], rows: Vec<Vec<Value>>) -> SqlResult {
        let column = |(name, kind): &(&str, &str)| SqlColumn {
            name: (*name).to_owned(),
            r#type: (*kind).to_owned(),
        };
        SqlResult {
            columns: columns.iter().map(column).collect(),
            row_count: rows.len() as u64,
            rows,
            complete: true,
            lacks: Vec::new(),
            read: SqlRead::default(),
            repeats_counted: false,
            elapsed_nano: DurationNanos(1),
        }
    }

    #[test]
    fn times_of_the_api_are_understood() {
        let cases = [
            ("1970-01-01T00:00:01Z", Some(1_000.0)),
            ("2026-11-20T08:00:00.5Z", Some(1_795_161_600_500.0)),
            ("2026-11-20T09:00:00+01:00", Some(1_795_161_600_000.0)),
            ("2026-11-20T08:00:00", Some(1_795_161_600_000.0)),
            ("2026-11-20", Some(1_795_132_800_000.0)),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(moment(&json!(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_result_of_times_and_names_is_one_line_for_each_name() {
        let rows = vec![
            vec![json!("2026-11-20T08:00:00Z"), json!("a"), json!(1)],
            vec![json!("2026-11-20T08:00:00Z"), json!("b"), json!(5)],
            vec![json!("2026-11-20T08:02:00Z"), json!("a"), json!(3)],
            vec![json!("2026-11-20T08:01:00Z"), json!("a"), json!(null)],
            vec![json!(null), json!("a"), json!(9)],
        ];
        let result =
            result(&[("minute", "timestamp"), ("name", "text"), ("calls", "bigint")], rows);
        let columns = default_columns(&result).unwrap();
        let expected = ChartColumns {
            x: "minute".to_owned(),
            y: "calls".to_owned(),
            by: Some("name".to_owned()),
        };
        assert_eq!(columns, expected);
        let at = |seconds: u64| UnixNanos((1_795_161_600 + seconds) * 1_000_000_000);
        let chart = |read| chart(&result, &columns, SERIES_MAX, 0, read).unwrap();
        let unfinished = chart(at(150)).unfinished.unwrap();
        assert!((unfinished.after - 0.5).abs() < 1e-9, "{unfinished:?}");
        let chart = chart(at(180));
        assert_eq!((chart.series.len(), chart.left_out, chart.unfinished), (2, 0, None));
        let names: Vec<&str> = chart.series.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["b", "a"], "the greatest first");
        let points = &chart.series[1].points;
        assert_eq!((points[0], points[2]), ((0.0, 1.0), (1.0, 3.0)));
        assert!(points[1].1.is_nan() && (points[1].0 - 0.5).abs() < 1e-9);
    }

    #[test]
    fn the_last_step_is_not_over_until_its_end() {
        const MINUTE: f64 = 60_000.0;
        let title = |minutes: &[f64], read_minutes: u64| {
            let times = minutes.iter().map(|minute| minute * MINUTE).collect();
            let step = unfinished_step(times, UnixNanos(read_minutes * 60_000_000_000));
            step.map(|step| step.title)
        };
        let minute = Some("The last minute is not over".to_owned());
        assert_eq!(title(&[100.0, 101.0, 101.0, 104.0], 104), minute);
        assert_eq!(title(&[104.0, 101.0, 100.0], 105), None);
        assert_eq!(title(&[101.0, 103.0], 103), minute, "a gap makes no longer step");
        let hour = title(&[120.0, 180.0, 300.0], 359);
        assert_eq!(hour.as_deref(), Some("The last hour is not over"));
        let five_minutes = title(&[100.0, 105.0, 110.0], 114);
        assert_eq!(five_minutes.as_deref(), Some("The last step is not over"));
        assert_eq!(title(&[100.0, 101.0], 90), None, "a time that is to come");
        assert_eq!(title(&[100.0012, 101.0001], 101), None, "moments and not steps");
        assert_eq!(title(&[100.0], 100), None);
    }

    #[test]
    fn results_without_two_columns_of_numbers_have_no_chart() {
        assert_eq!(
            default_columns(&result(
                &[("a", "text"), ("b", "bigint")],
                vec![vec![json!("x"), json!(1)]]
            )),
            None
        );
        assert_eq!(
            default_columns(&result(
                &[("a", "bigint"), ("b", "bigint")],
                vec![vec![json!(1), json!(1)]]
            )),
            None
        );
        let rows = (0..40).map(|n| vec![json!(n), json!(n * 2), json!(format!("s{n}"))]).collect();
        let many = result(&[("a", "bigint"), ("b", "bigint"), ("s", "text")], rows);
        let columns = default_columns(&many).unwrap();
        let all = chart(&many, &columns, LINES_MAX, 0, UnixNanos(0)).unwrap();
        assert_eq!((all.series.len(), all.left_out), (40, 0));
        let chart = chart(&many, &columns, SERIES_MAX, 0, UnixNanos(0)).unwrap();
        assert_eq!((chart.series.len(), chart.left_out), (6, 34));
        assert_eq!(chart.series[0].name, "s39");
        let label = |index: usize| chart.ticks[index].label.as_str();
        assert_eq!([label(0), label(2), label(4)], ["34", "36.5", "39"]);
    }
}
