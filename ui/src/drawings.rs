//! Drawings of numbers over time: axes, heatmaps, lines. They take data and callbacks; none of
//! them fetches.

pub mod axis;
pub mod heatmap;
pub mod lines;
