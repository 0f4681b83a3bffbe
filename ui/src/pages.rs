//! The pages. Only pages fetch.

pub mod compare;
pub mod connect;
pub mod errors;
pub mod explore;
pub mod home;
pub mod logs;
pub mod map;
pub mod service;
pub mod services;
pub mod sql;
pub mod system;
pub mod trace;
pub mod transaction;
pub mod transaction_type;
pub mod transactions;

pub use compare::ComparePage;
pub use connect::ConnectPage;
pub use errors::ErrorsPage;
pub use explore::ExplorePage;
pub use home::HomePage;
pub use logs::LogsPage;
pub use map::MapPage;
pub use service::ServicePage;
pub use services::ServicesPage;
pub use sql::SqlPage;
pub use system::SystemPage;
pub use trace::TracePage;
pub use transaction::TransactionPage;
pub use transaction_type::TransactionTypePage;
pub use transactions::TransactionsPage;
