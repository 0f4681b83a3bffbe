//! The web interface: pages over the native HTTP API, drawn in the browser.
//!
//! Owns the screen: the shell ([`shell`]), the pages ([`pages`]), their components ([`components`])
//! and the state of a page in its address ([`url`]). Only [`api`] fetches. The interface computes
//! nothing about traces: it draws values that the query service computed. Telemetry is untrusted
//! text and becomes text nodes only.

pub mod addresses;
pub mod api;
mod browser;
pub mod charts;
pub mod colour;
pub mod components;
pub mod format;
pub mod links;
pub mod number_format;
pub mod page_time;
pub mod paged_list;
pub mod pages;
pub(crate) mod preferences;
pub mod request_state;
pub mod server_watch;
pub mod shell;
pub mod shortcuts;
mod stream;
pub mod theme;
pub mod url;
mod web_storage;
pub mod window;

pub use pages::start;
