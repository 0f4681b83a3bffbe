//! Text drawings of a trace. Telemetry is hostile text: control characters never reach the terminal.

use std::fmt::Write;

use tidings_proto::{
    DurationNanos,
    api::{SpanView, StatusName, TraceView, TransactionState},
};

/// Deeper spans are indented no further.
const DEPTH_MAX: usize = 16;

/// The trace as lines of at most `width` columns.
pub(crate) fn waterfall(view: &TraceView, width: usize) -> String {
    let mut out = String::new();
    let summary = &view.summary;
    let state = match summary.state {
        TransactionState::Running => "running",
        TransactionState::Completed => "completed",
        TransactionState::Failed => "failed",
        TransactionState::Incomplete => "incomplete",
    };
    let _ = writeln!(
        out,
        "{} {}  {state}  {}  {} spans, {} errors, {} logs\n{}",
        cut(&printable(&summary.root_service), width / 2),
        cut(&printable(&summary.root_operation), width / 2),
        duration(summary.duration_nano),
        summary.span_count,
        summary.error_count,
        view.log_count,
        summary.trace_id,
    );
    for problem in &view.problems {
        let _ = writeln!(out, "  ! {}", printable(&problem.message));
    }
    let bars = (width / 2).max(20);
    let names = width.saturating_sub(bars + 11);
    for span in &view.spans {
        let _ = writeln!(
            out,
            "{} {:>9} {}",
            fit(&name(span), names),
            duration(span.duration_nano),
            bar(view, span, bars)
        );
    }
    out
}

fn name(span: &SpanView) -> String {
    let depth = usize::try_from(span.depth).unwrap_or(DEPTH_MAX).min(DEPTH_MAX);
    let error = if span.status.code == StatusName::Error { "✗ " } else { "" };
    format!("{}{error}{} {}", "  ".repeat(depth), printable(&span.service), printable(&span.name))
}

/// Its place in the time of the whole trace: `█` where it is on the critical path, `▒` elsewhere.
fn bar(view: &TraceView, span: &SpanView, width: usize) -> String {
    let total = u128::from(view.summary.duration_nano.0.max(1));
    let columns = u128::try_from(width).unwrap_or(1);
    let offset = span.start_unix_nano.since(view.summary.start_unix_nano).0;
    let column = |nanos: u64| {
        usize::try_from(u128::from(nanos) * columns / total).unwrap_or(width).min(width)
    };
    let start = column(offset).min(width - 1);
    let end = column(offset.saturating_add(span.duration_nano.0)).clamp(start + 1, width);
    let fill = if span.critical_nano.0 > 0 { "█" } else { "▒" };
    format!("{}{}", " ".repeat(start), fill.repeat(end - start))
}

/// Three digits and a unit.
fn duration(DurationNanos(nanos): DurationNanos) -> String {
    for (unit, name) in [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")] {
        if nanos >= unit {
            let hundredths = u128::from(nanos) * 100 / u128::from(unit);
            let (whole, rest) = (hundredths / 100, hundredths % 100);
            return match whole {
                0..10 => format!("{whole}.{rest:02} {name}"),
                10..100 => format!("{whole}.{} {name}", rest / 10),
                _ => format!("{whole} {name}"),
            };
        }
    }
    format!("{nanos} ns")
}

/// Exactly `width` columns: cut with `…` or padded.
fn fit(text: &str, width: usize) -> String {
    let cut = cut(text, width);
    let rest = width.saturating_sub(cut.chars().count());
    format!("{cut}{}", " ".repeat(rest))
}

/// At most `width` columns.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() > width {
        text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
    } else {
        text.to_owned()
    }
}

/// Without control and direction-changing characters.
fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => '\u{FFFD}',
            _ if letter.is_control() => '\u{FFFD}',
            _ => letter,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{duration, fit, printable};
    use tidings_proto::DurationNanos;

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        for (nanos, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (12_340, "12.3 µs"),
            (987_654_321, "987 ms"),
            (1_840_000_000, "1.84 s"),
            (u64::MAX, "18446744073 s"),
        ] {
            assert_eq!(duration(DurationNanos(nanos)), text);
        }
    }

    #[test]
    fn hostile_names_cannot_move_the_cursor_or_the_columns() {
        assert_eq!(printable("a\u{1b}[2Jb\n\u{202e}c"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("ab", 4), "ab  ");
    }
}
