//! End-to-end specifications: the real binary, real clients, a real browser.
//!
//! One program, so that it links once; this file is its table of contents.

mod architecture;
mod browser;
mod harness;
mod hostile;
mod kill;
mod lifecycle;
mod transports;
