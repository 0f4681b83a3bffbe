//! Round trips through both encodings, and the shared corpora where they are present.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may; clippy's exceptions do not reach files under tests/"
)]

mod corpora;
mod oracle;
mod round_trip;
mod views;
