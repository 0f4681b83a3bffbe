//! The web interface: pages over the native HTTP API, drawn in the browser.
//!
//! Owns what is on screen: the shell ([`shell`]), the pages ([`pages`]), what they are made of
//! ([`components`]) and the state of a page in its address ([`url`]). [`api`] is the only place
//! that fetches. Computes nothing about traces: what it draws, the query service computed.
//! Telemetry is hostile text, so it only ever becomes text nodes.

pub mod addresses;
pub mod api;
pub mod asked;
mod browser;
pub mod colour;
pub mod components;
pub mod drawings;
pub mod figures;
pub mod format;
pub mod keys;
pub mod links;
pub mod paged;
pub mod pages;
pub(crate) mod preferences;
pub mod remote;
mod saved;
pub mod shell;
mod stream;
pub mod theme;
pub mod url;
pub mod window;

pub use pages::start;
