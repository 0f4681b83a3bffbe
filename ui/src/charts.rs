//! Drawings: charts over time, heatmaps, lines, trees as stacked frames, graphs.
//!
//! Each has its geometry in functions without views, which are tested alone. The views only place
//! the results. Positions are set through the CSSOM or as SVG attributes, because the content
//! security policy forbids style attributes. Drawings take data and callbacks, and none of them
//! fetches.

pub mod axis;
pub mod brush;
pub mod heatmap;
pub mod icicle;
pub mod layers;
pub mod lines;
pub mod network;
pub mod time_buckets;
pub mod time_chart;

/// Width of a letter of a label in CSS pixels: the monospaced font at 11 pixels, `--t1`.
pub const LETTER_PX: f64 = 6.6;
