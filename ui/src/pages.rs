//! The pages. Only pages fetch.

pub mod connect;
pub mod explore;
pub mod logs;
pub mod trace;

pub use connect::{ConnectPage, HomePage};
pub use explore::ExplorePage;
pub use logs::LogsPage;
pub use trace::TracePage;
