//! Time and tasks of the process: the clock, supervised tasks and threads, and histograms of times.
//!
//! Does no work of its own and knows no store. Every crate takes its time from here, so that tests
//! control it, and starts its long-lived tasks here, so that a panic is noticed.

mod clock;
mod supervision;
mod time_histogram;

pub use clock::{Clock, SystemClock};
pub use supervision::{Supervision, TaskHealth, TaskState, panic_text};
pub use time_histogram::{TIME_BOUNDS, TimeCounts, TimeHistogram};
