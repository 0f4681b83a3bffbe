//! Drawings of numbers: charts over time, heatmaps, lines, trees as stacked frames, graphs.
//!
//! Each has its arithmetic in functions without views, so that it is tested on its own; the views
//! only place what these give. Positions are set through the CSSOM or as SVG attributes: the
//! content security policy forbids style attributes. Drawings take data and callbacks; none of
//! them fetches.

pub mod axis;
pub mod brush;
pub mod heatmap;
pub mod icicle;
pub mod layers;
pub mod lines;
pub mod network;
pub mod slots;
pub mod time_chart;
