//! What assembly promises, as tables of tiny traces, as properties, and on other projects' cases.

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
