//! What assembly promises, as tables of tiny traces, as properties, and on other projects' cases.

mod notation;
mod placing;
mod timing;
