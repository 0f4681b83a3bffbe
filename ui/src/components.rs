//! Components that pages are made of. They take data and callbacks; none of them fetches.

pub mod attributes;
pub mod badge;
pub mod change;
pub mod chip;
pub mod compared_spark;
pub mod copy;
pub mod difference_list;
pub mod icon;
pub mod mend;
pub mod panel;
pub mod refusals;
pub mod report;
pub mod row_keys;
pub mod segments;
pub mod service;
pub mod sort;
pub mod spark;
pub mod state;
pub mod suggest;
pub mod time_strip;
pub mod toast;
pub mod was;

pub use attributes::{AttributeTable, attribute_rows};
pub use badge::{Badge, StateBadge, Tone};
pub use change::{ChangeBadge, Headline};
pub use chip::Chip;
pub use compared_spark::{ComparedSeries, ComparedSpark};
pub use copy::CopyButton;
pub use difference_list::{DifferenceList, explanation_missing};
pub use icon::{Icon, IconName};
pub use panel::Panel;
pub use refusals::{RefusalCard, receiver_words, refusals};
pub use report::{ReportSentence, compared_words};
pub use row_keys::use_row_keys;
pub use segments::{AddressSegments, Segment, Segments, use_choice};
pub use service::{ServiceDot, ServiceName};
pub use sort::{SortHead, SortOrder, use_sort};
pub use spark::{SparkBars, SparkTone, Sparkline};
pub use state::{EmptyState, ErrorState, LoadingRows, PartialNote};
pub use suggest::{FirstMark, Suggest, Suggestion};
pub use time_strip::{StripPart, TimeStrip};
pub use toast::{Toasts, use_toasts};
pub use was::NumberCell;

pub(crate) use toast::ToastStack;
