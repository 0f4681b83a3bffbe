//! Components that pages consist of. They take data and callbacks, and none of them fetches.

pub mod answer_states;
pub mod attribute_table;
pub mod badge;
pub mod call_choice;
pub mod change;
pub mod copy;
pub mod difference_list;
pub mod group_cells;
pub mod icon;
pub mod message_line;
pub mod panel;
pub mod refusals;
pub mod remedy;
pub mod report;
pub mod segments;
pub mod spark;
pub mod suggest;
pub mod table_parts;
pub mod time_strip;
pub mod toast;

pub use answer_states::{
    AllTimeButton, EmptyState, ErrorState, LoadingRows, PartialNote, ShorterRange, UnreadNote,
    WatchedRequest,
};
pub use attribute_table::{AttributeTable, attribute_rows};
pub use badge::{
    Badge, Chip, PeerName, ServiceDot, ServiceName, StateBadge, Tone, severity_class, severity_tone,
};
pub use call_choice::{CallChoice, CallKeys, use_call_choice};
pub use change::{ChangeBadge, Headline};
pub use copy::CopyButton;
pub use difference_list::{DifferenceList, explanation_missing};
pub use icon::{Icon, IconName};
pub use message_line::MessageLine;
pub use panel::Panel;
pub use refusals::{RefusalCard, ranked_refusals, receiver_text};
pub use report::{ReportSentence, SentencePlaceholder, compared_text};
pub use segments::{AddressSegments, Segment, Segments, use_choice};
pub use spark::{SparkBars, SparkTone, Sparkline};
pub use suggest::{DefaultOption, Suggest, Suggestion};
pub use table_parts::{
    NumberCell, PlainHead, PlainTable, SortHead, SortOrder, facts_table, use_ranking, use_sort,
    waiting_part,
};
pub use time_strip::{StripPart, TimeStrip, strip_part, waiting_key};
pub use toast::{Toasts, use_toasts};

pub(crate) use toast::ToastStack;
