//! What pages are made of. Components take data and callbacks; none of them fetches.

pub mod attributes;
pub mod badge;
pub mod chip;
pub mod copy;
pub mod difference_list;
pub mod icon;
pub mod panel;
pub mod segmented;
pub mod service;
pub mod sort;
pub mod spark;
pub mod state;
pub mod suggest;
pub mod time_strip;
pub mod toast;

pub use attributes::{AttributeTable, attribute_rows};
pub use badge::{Badge, StateBadge, Tone};
pub use chip::Chip;
pub use copy::CopyButton;
pub use difference_list::{DifferenceList, explanation_missing};
pub use icon::{Icon, IconName};
pub use panel::Panel;
pub use segmented::{Segmented, use_choice};
pub use service::{ServiceDot, ServiceName};
pub use sort::{SortHead, SortOrder, use_sort};
pub use spark::{SparkBars, SparkTone, Sparkline};
pub use state::{EmptyState, ErrorState, LoadingRows, PartialNote};
pub use suggest::{Suggest, Suggestion};
pub use time_strip::{StripPart, TimeStrip};
pub use toast::{Toasts, use_toasts};

pub(crate) use toast::ToastStack;
