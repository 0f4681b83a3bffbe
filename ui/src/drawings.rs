//! Drawings of numbers: charts over time, trees as stacked frames, graphs.
//!
//! Each has its arithmetic in functions without views, so that it is tested on its own; the views
//! only place what these give. Positions are set through the CSSOM or as SVG attributes: the
//! content security policy forbids style attributes.

pub mod axis;
pub mod icicle;
pub mod layers;
pub mod lines;
pub mod network;
