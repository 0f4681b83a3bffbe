//! The web interface: pages over the native HTTP API, drawn in the browser.
//!
//! Owns the screen: the shell ([`shell`]), the pages ([`pages`]), their components ([`components`])
//! and the state of a page in its address ([`url`]). Only [`api`] fetches. The interface computes
//! nothing about traces: it draws values that the query service computed. Telemetry is untrusted
//! text and becomes text nodes only.

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
