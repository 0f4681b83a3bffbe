//! Tests of assembly: tables of tiny traces, properties, and cases of other projects.

mod between;
mod clock;
mod completion;
mod corpora;
mod model;
mod notation;
mod path;
mod placing;
mod properties;
mod scale;
mod timing;
