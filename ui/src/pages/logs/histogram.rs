//! Log records over time. Errors and warnings have a scale of their own above the others, so that
//! many informational records do not hide them. A drag or the keys of a chart select a time range.

use std::{fmt::Write as _, sync::Arc};

use leptos::prelude::*;
use tidings_proto::{
    UnixNanos,
    api::{LogHistogram, LogsInStep},
};

use crate::{
    browser,
    charts::{
        axis::{labels_below, time_ticks},
        brush::{Brush, WidthRange, band},
        time_buckets::TimeBuckets,
        time_chart::range_between,
    },
    components::{LoadingRows, PartialNote, ShorterRange, WatchedRequest},
    format,
    page_time::partial_answer_text,
    request_state::RequestState,
    url::{History, TimeRange, use_edit_query},
};

const PLOT_ID: &str = "log-plot";
const KEYS: &str = "Records over time. Arrow keys read a step, Shift and arrow keys choose a stretch, Enter looks at it.";
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 100.0;

/// The steps of the keyboard cursor: the one where Shift was pressed, and the last one.
pub(super) type StepSelection = Option<(usize, usize)>;

/// The histogram of the matching records.
#[component]
pub(super) fn LogHistogramCard(
    answer: RequestState<LogHistogram>,
    /// Set while the reader steps through the chart, which must not move then.
    walked: RwSignal<StepSelection>,
) -> impl IntoView {
    let drawn = move || {
        let histogram = answer.value()?;
        if browser::has_focus(PLOT_ID) {
            request_animation_frame(|| browser::focus(PLOT_ID));
        }
        Some(drawing(&histogram, walked))
    };
    let missing = move || {
        let words =
            answer.value().and_then(|histogram| partial_answer_text(&histogram.searched))?;
        Some(view! { <PartialNote>{words} " " <ShorterRange /></PartialNote> })
    };
    view! {
        <section class="card log-histogram" aria-label="Records over time">
            <Show when=move || answer.loading()>
                <LoadingRows count=2 />
            </Show>
            {WatchedRequest::new("Records over time are not counted", answer).note()}
            {missing}
            <div class:is-stale=move || answer.pending() && !answer.loading()>{drawn}</div>
        </section>
    }
}

fn drawing(
    histogram: &Arc<LogHistogram>,
    walked: RwSignal<StepSelection>,
) -> impl IntoView + use<> {
    let bars = Bars::new(histogram);
    let edit = use_edit_query();
    let choose = Callback::new(move |range: TimeRange| {
        edit(History::Push, &|query| range.write(query));
    });
    let area = NodeRef::new();
    let drag = Brush::over(area);
    let walk = StepCursor { buckets: TimeBuckets::from_window(&histogram.window), walked, choose };
    let read = Arc::clone(histogram);
    let (start, end) = (bars.start, bars.end);
    let released = move |_: web_sys::PointerEvent| {
        if let Some(part) = drag.release() {
            choose.run(range_of(start, end, part));
        }
    };
    let step = format::length(histogram.window.step_nano);
    let loud = format!("errors and warnings: up to {} in {step}", format::count(bars.loud_top));
    let quiet = format!("{}: up to {} in {step}", bars.quiet_name, format::count(bars.quiet_top));
    view! {
        <div class="log-bars">
            <div class="log-scale mono mute" aria-hidden="true">
                <span class="log-scale-quiet" title=quiet.clone()>
                    <span>{bars.quiet_name}</span>
                    <span>{top_text(bars.quiet_top)}</span>
                </span>
            </div>
            <div
                id=PLOT_ID
                class="log-plot"
                role="application"
                tabindex="0"
                aria-label=KEYS
                node_ref=area
                title="Drag to look at a part of this time"
                on:keydown=move |event| walk.on_key_down(&event)
                on:blur=move |_| {
                    walked.try_set(None);
                }
                on:pointerdown=move |event| drag.press(&event)
                on:pointermove=move |event| drag.extend(&event)
                on:pointerup=released
                on:pointercancel=move |_| drag.cancel()
            >
                <svg
                    class="log-loud"
                    viewBox="0 0 1000 100"
                    preserveAspectRatio="none"
                    role="img"
                    aria-label=loud
                >
                    <path class="log-bar-warn" d=bars.warn />
                    <path class="log-bar-error" d=bars.error />
                </svg>
                <svg
                    class="log-quiet"
                    viewBox="0 0 1000 100"
                    preserveAspectRatio="none"
                    role="img"
                    aria-label=quiet
                >
                    <path class="log-bar-quiet" d=bars.quiet />
                </svg>
                {legend(bars.error_top, bars.warn_top, &step)}
                <span class="log-read mono" role="status">{move || walk.label(&read)}</span>
                {move || drag.part().or_else(|| walk.part(start, end)).map(band)}
            </div>
            {time_axis(start, end)}
        </div>
    }
}

/// Labels of moments below the bars.
fn time_axis(start: UnixNanos, end: UnixNanos) -> impl IntoView {
    labels_below(time_ticks(start, end, browser::zone_minutes(start), 9))
}

/// The colours of errors and of warnings, each with its own greatest number in a step, and the
/// length of a step.
fn legend(error_top: u64, warn_top: u64, step: &str) -> impl IntoView + use<> {
    let words = |name: &str, top: u64| format!("{name}, {}", top_text(top));
    let error = (error_top > 0).then(|| {
        view! {
            <span class="log-key log-key-error"></span>
            {words("error", error_top)}
        }
    });
    let warn = (warn_top > 0).then(|| {
        view! {
            <span class="log-key log-key-warn"></span>
            {words("warn", warn_top)}
        }
    });
    view! {
        <span class="log-legend mute" aria-hidden="true">
            {error} {warn} <span>{step_text(error_top.max(warn_top), step)}</span>
        </span>
    }
}

/// Returns the words for the length of a step, after the greatest numbers of errors and warnings.
fn step_text(loud_top: u64, step: &str) -> String {
    match loud_top {
        0 => format!("no errors or warnings; a bar is {step}"),
        _ => format!("in {step}"),
    }
}

/// Returns the words for the greatest number in a step, so that it is not read as the number of
/// records.
fn top_text(top: u64) -> String {
    match top {
        0 => "none".to_owned(),
        top => format!("up to {}", format::count(top)),
    }
}

/// The keyboard cursor.
#[derive(Debug, Clone, Copy)]
struct StepCursor {
    buckets: TimeBuckets,
    walked: RwSignal<StepSelection>,
    choose: Callback<TimeRange>,
}

impl StepCursor {
    fn on_key_down(self, event: &web_sys::KeyboardEvent) {
        if browser::has_command_key(event) {
            return;
        }
        let walked = self.walked.get_untracked();
        let at = walked.map(|(_, at)| at);
        let key = event.key();
        let next = match (self.buckets.bucket_after_key(at, &key), key.as_str(), walked) {
            (Some(next), _, _) => Some(next),
            (None, "Escape", Some(_)) => None,
            (None, "Enter", Some((from, to))) => {
                self.choose.run(range_between(&self.buckets, from, to));
                None
            }
            _ => return,
        };
        event.prevent_default();
        event.stop_propagation();
        let anchor = walked.map(|(from, _)| from).filter(|_| event.shift_key());
        self.walked.set(next.map(|next| (anchor.unwrap_or(next), next)));
    }

    /// The steps as a part of the plot's width.
    fn part(self, start: UnixNanos, end: UnixNanos) -> Option<WidthRange> {
        let (from, to) = self.walked.get()?;
        let length = end.since(start).0.max(1) as f64;
        let at = |step: usize| self.buckets.start_of(step).since(start).0 as f64 / length;
        Some((at(from.min(to)), at(from.max(to).saturating_add(1)).min(1.0)))
    }

    /// Returns the records of the step at the keyboard cursor, in words.
    fn label(self, histogram: &LogHistogram) -> Option<String> {
        let (_, at) = self.walked.get()?;
        let begin = self.buckets.start_of(at);
        let step = histogram.steps.iter().find(|step| step.start_unix_nano == begin);
        let time = format::when(begin, browser::now(), browser::zone_minutes(begin));
        let count = |of: fn(&LogsInStep) -> u64| format::count(step.map_or(0, of));
        Some(format!(
            "{time} error {} warn {} others {}",
            count(errors),
            count(|step| step.warn),
            count(quiet)
        ))
    }
}

/// Returns the time range of a part of the plot's width.
fn range_of(start: UnixNanos, end: UnixNanos, (from, to): WidthRange) -> TimeRange {
    let (from_unix_ms, to_unix_ms) = (moment(start, end, from), moment(start, end, to));
    TimeRange::Between { from_unix_ms, to_unix_ms }
}

/// Returns the milliseconds since 1970 at a fraction of a time range.
fn moment(start: UnixNanos, end: UnixNanos, fraction: f64) -> u64 {
    let length = end.since(start).0 as f64 / 1e6;
    (start.0 / 1_000_000).saturating_add(format::rates::whole((length * fraction).max(0.0)))
}

/// The bars as paths, and the maximum of each scale and class.
#[derive(Debug, PartialEq)]
struct Bars {
    start: UnixNanos,
    end: UnixNanos,
    error: String,
    warn: String,
    quiet: String,
    /// Greatest number of errors and warnings together in a step.
    loud_top: u64,
    error_top: u64,
    warn_top: u64,
    /// Name of the records that are neither errors nor warnings.
    quiet_name: &'static str,
    quiet_top: u64,
}

fn errors(step: &LogsInStep) -> u64 {
    step.error.saturating_add(step.fatal)
}

fn quiet(step: &LogsInStep) -> u64 {
    step.count.saturating_sub(errors(step)).saturating_sub(step.warn)
}

impl Bars {
    fn new(histogram: &LogHistogram) -> Self {
        let step = histogram.window.step_nano.0.max(1);
        let start = histogram.window.start_unix_nano.0 / step * step;
        let end = histogram.window.end_unix_nano.0.max(start.saturating_add(step));
        let across = |nanos: u64| nanos as f64 / (end - start) as f64 * WIDTH;
        let width = across(step) * 0.86;
        let top = |of: fn(&LogsInStep) -> u64| histogram.steps.iter().map(of).max().unwrap_or(0);
        let loud_top = top(|step| errors(step).saturating_add(step.warn));
        let quiet_top = top(quiet);
        let has_only_info = histogram.steps.iter().all(|step| step.info == quiet(step));
        let mut bars = Self {
            start: UnixNanos(start),
            end: UnixNanos(end),
            error: String::new(),
            warn: String::new(),
            quiet: String::new(),
            loud_top,
            error_top: top(errors),
            warn_top: top(|step| step.warn),
            quiet_name: if has_only_info { "info" } else { "others" },
            quiet_top,
        };
        for one in &histogram.steps {
            let left = across(one.start_unix_nano.0.saturating_sub(start));
            let scaled = |count: u64, top: u64| {
                let height = count as f64 / top.max(1) as f64 * HEIGHT;
                if count > 0 { height.max(4.0) } else { 0.0 }
            };
            let warn = scaled(one.warn, loud_top);
            bar(&mut bars.warn, left, width, 0.0, warn);
            // Errors are stacked on warnings, so that warnings never hide them.
            let error = scaled(errors(one), loud_top).min(HEIGHT);
            bar(&mut bars.error, left, width, warn.min(HEIGHT - error), error);
            bar(&mut bars.quiet, left, width, 0.0, scaled(quiet(one), quiet_top));
        }
        bars
    }
}

fn bar(path: &mut String, left: f64, width: f64, from: f64, height: f64) {
    if height > 0.0 {
        let bottom = HEIGHT - from;
        let _ = write!(path, "M{left:.1} {bottom:.1}v-{height:.1}h{width:.1}v{height:.1}z");
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{
        DurationNanos, UnixNanos,
        api::{LogHistogram, LogsInStep, Searched, TimeWindow},
    };

    use super::{Bars, moment, step_text, top_text};

    #[test]
    fn errors_have_a_scale_of_their_own() {
        let step = |at: u64, info: u64, warn: u64, error: u64| LogsInStep {
            start_unix_nano: UnixNanos(at),
            count: info + warn + error,
            info,
            warn,
            error,
            ..LogsInStep::default()
        };
        let histogram = LogHistogram {
            window: TimeWindow {
                start_unix_nano: UnixNanos(0),
                end_unix_nano: UnixNanos(100),
                step_nano: DurationNanos(50),
            },
            steps: vec![step(0, 100_000, 0, 1), step(50, 50_000, 1, 1)],
            count: 150_003,
            repeats_counted: false,
            searched: Searched::default(),
        };
        let bars = Bars::new(&histogram);
        assert_eq!((bars.loud_top, bars.quiet_top), (2, 100_000));
        assert_eq!((bars.error_top, bars.warn_top), (1, 1), "each class by itself");
        assert_eq!(bars.quiet_name, "info");
        assert!(bars.error.starts_with("M0.0 100.0v-50.0"), "one error is half of it: {bars:?}");
        assert!(bars.error.contains("M500.0 50.0v-50.0"), "on the warning: {bars:?}");
        assert!(bars.quiet.contains("v-100.0") && bars.quiet.contains("v-50.0"), "{bars:?}");
    }

    #[test]
    fn the_maximum_and_the_length_of_a_step_are_written_in_words() {
        assert_eq!((top_text(73), top_text(0)), ("up to 73".to_owned(), "none".to_owned()));
        assert_eq!(step_text(1_100, "1 min"), "in 1 min");
        assert_eq!(step_text(0, "1 min"), "no errors or warnings; a bar is 1 min");
    }

    #[test]
    fn a_drag_is_a_stretch_of_time() {
        let (start, end) = (UnixNanos(10_000_000_000), UnixNanos(20_000_000_000));
        assert_eq!((moment(start, end, 0.0), moment(start, end, 0.5)), (10_000, 15_000));
    }
}
