//! The program's log: lines on standard error, for people on a terminal, JSON otherwise.
//!
//! A warning or an error that repeats is written a few times and then only counted, so that a full
//! disk does not fill another one with lines. The counts are reported every [`WINDOW`]. They are by
//! place in the code and not by text, which senders can shape.

use std::{
    collections::HashMap,
    convert::Infallible,
    io::IsTerminal,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tidings_storage::Clock;
use tracing::{
    Event, Level, Metadata,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::FilterExt,
    layer::{self, Filter, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::own_telemetry::{OwnFilter, OwnTelemetry, SpanLayer};

/// Lines of one place that are written in a window.
const LINES_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// Logs everything that passes the filter.
///
/// # Errors
/// Fails if the text is no filter.
pub(crate) fn start(filter: &str) -> Result<()> {
    Registry::default().with(lines().with_filter(env_filter(filter)?)).init();
    Ok(())
}

/// Does the same as [`start`] for a process that runs for months: lines that repeat are counted.
///
/// # Errors
/// Fails if the text is no filter.
pub(crate) fn start_limited(
    filter: &str,
    own: Option<&Arc<OwnTelemetry>>,
    clock: Arc<dyn Clock>,
) -> Result<RepeatLimit> {
    let own = own.map(|own| {
        let layer = SpanLayer::new(Arc::clone(own));
        // Own telemetry counts separately: a line that is not written is stored all the same.
        let filter = OwnFilter(layer.clone()).and(RepeatLimit::new(Arc::clone(&clock)));
        layer.with_filter(filter)
    });
    let limit = RepeatLimit::new(clock);
    let filter = env_filter(filter)?.and(limit.clone());
    Registry::default().with(lines().with_filter(filter)).with(own).init();
    Ok(limit)
}

fn env_filter(filter: &str) -> Result<EnvFilter> {
    EnvFilter::try_new(filter).context("the setting `log`")
}

fn lines() -> Box<dyn Layer<Registry> + Send + Sync> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() { lines.boxed() } else { lines.json().boxed() }
}

/// Filter that lets through events of places that have not written too many lines.
#[derive(Debug, Clone)]
pub(crate) struct RepeatLimit {
    clock: Arc<dyn Clock>,
    places: Arc<Mutex<HashMap<Identifier, LogSite>>>,
}

/// A place in the code that has written lines lately.
#[derive(Debug)]
struct LogSite {
    since: Instant,
    lines: u32,
    dropped: DroppedLines,
}

/// Lines of one place that were not written.
#[derive(Debug, Default, PartialEq, Eq)]
struct DroppedLines {
    /// Module of the place, or the target that it names.
    module: &'static str,
    lines: u64,
    /// Message that all of them share.
    message: String,
}

impl RepeatLimit {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, places: Arc::default() }
    }

    /// Reports the lines that were dropped, every [`WINDOW`], and never ends.
    pub(crate) async fn report(&self) -> Infallible {
        loop {
            self.clock.sleep(WINDOW).await;
            self.report_now();
        }
    }

    /// Reports the lines that were dropped since the last report.
    pub(crate) fn report_now(&self) {
        for DroppedLines { module, lines, message } in self.take_dropped() {
            tracing::warn!(
                module,
                lines,
                like = message,
                "dropped repeated log lines: over {LINES_MAX} in {WINDOW:?} from one place"
            );
        }
    }

    fn take_dropped(&self) -> Vec<DroppedLines> {
        let now = self.clock.instant();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let mut dropped: Vec<_> = places
            .values_mut()
            .map(|place| std::mem::take(&mut place.dropped))
            .filter(|dropped| dropped.lines > 0)
            .collect();
        dropped.sort_by(|left, right| left.message.cmp(&right.message));
        places.retain(|_, place| now.saturating_duration_since(place.since) < WINDOW);
        dropped
    }

    fn lets_through(&self, event: &Event<'_>) -> bool {
        let now = self.clock.instant();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || LogSite { since: now, lines: 0, dropped: DroppedLines::default() };
        let place = places.entry(event.metadata().callsite()).or_insert_with(new);
        if now.saturating_duration_since(place.since) >= WINDOW {
            (place.since, place.lines) = (now, 0);
        }
        if place.lines < LINES_MAX {
            place.lines += 1;
            return true;
        }
        place.dropped.lines += 1;
        place.dropped.module = event.metadata().target();
        if place.dropped.message.is_empty() {
            event.record(&mut Message(&mut place.dropped.message));
        }
        false
    }
}

impl<S> Filter<S> for RepeatLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &layer::Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &layer::Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let is_ours = metadata.module_path() == Some(module_path!());
        *metadata.level() > Level::WARN || is_ours || self.lets_through(event)
    }
}

/// Takes the message of an event, without its fields.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            *self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        io::{self, Write},
        pin::Pin,
        sync::{Arc, Mutex},
        time::{Duration, Instant},
    };

    use tidings_proto::UnixNanos;
    use tidings_storage::{Clock, SystemClock};
    use tracing_subscriber::{Layer, Registry, layer::SubscriberExt};

    use super::{DroppedLines, LINES_MAX, RepeatLimit, WINDOW};

    /// A clock that stands still until it is set.
    #[derive(Debug)]
    struct Still(Mutex<Instant>);

    impl Clock for Still {
        fn now(&self) -> UnixNanos {
            UnixNanos(0)
        }

        fn instant(&self) -> Instant {
            *self.0.lock().unwrap()
        }

        fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(std::future::pending())
        }
    }

    #[derive(Clone, Default)]
    struct CapturedLog(Arc<Mutex<Vec<u8>>>);

    impl Write for CapturedLog {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_repeat_are_counted_and_the_rest_is_written() {
        let clock = Arc::new(Still(Mutex::new(SystemClock.instant())));
        let limit = RepeatLimit::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let written = CapturedLog::default();
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer({
            let written = written.clone();
            move || written.clone()
        });
        let subscriber = Registry::default().with(lines.with_filter(limit.clone()));
        let count = |text: &str| {
            let bytes = written.0.lock().unwrap().clone();
            String::from_utf8(bytes).unwrap().matches(text).count()
        };
        let flood = || {
            for number in 0..1000 {
                tracing::error!(number, "the disk is full");
                tracing::info!("told every time");
            }
            tracing::warn!("something else");
        };
        tracing::subscriber::with_default(subscriber, || {
            let most = usize::try_from(LINES_MAX).unwrap();
            flood();
            assert_eq!(count("the disk is full"), most);
            assert_eq!((count("told every time"), count("something else")), (1000, 1));
            let (module, message) = (module_path!(), "the disk is full".to_owned());
            let dropped = DroppedLines { module, lines: 990, message };
            assert_eq!(limit.take_dropped(), [dropped]);
            assert_eq!(limit.take_dropped(), []);

            *clock.0.lock().unwrap() += WINDOW;
            flood();
            assert_eq!((count("the disk is full"), count("something else")), (2 * most, 2));
            *clock.0.lock().unwrap() += WINDOW;
            assert_eq!(limit.take_dropped().len(), 1);
            assert!(limit.places.lock().unwrap().is_empty());
        });
    }
}
