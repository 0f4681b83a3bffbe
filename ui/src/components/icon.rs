//! Line icons, drawn in the text's colour.

use leptos::prelude::*;

/// The name of an icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "an icon's name says what it shows")]
pub enum IconName {
    Search,
    Logs,
    Plug,
    Keyboard,
    Sun,
    Moon,
    Copy,
    Check,
    Close,
    Plus,
    Chevron,
    Arrow,
    Clock,
    Waves,
    Warning,
    Home,
    Transactions,
    Services,
    Map,
    Database,
    System,
    SortDown,
    SortUp,
    Settings,
}

impl IconName {
    fn path(self) -> &'static str {
        match self {
            Self::Search => "M17.500 11a6.500 6.500 0 1 1-13 0a6.500 6.500 0 1 1 13 0M16 16l5 5",
            Self::Logs => "M5 4h14v16H5zM8 9h8M8 13h8M8 17h5",
            Self::Plug => "M9 3v5M15 3v5M6 8h12v3a6 6 0 0 1-12 0zM12 17v4",
            Self::Keyboard => "M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M7 14h10",
            Self::Sun => {
                "M16 12a4 4 0 1 1-8 0a4 4 0 1 1 8 0M12 3v2M12 19v2M3 12h2M19 12h2\
                 M5.600 5.600l1.400 1.400M17 17l1.400 1.400M5.600 18.400l1.400-1.400M17 7l1.400-1.400"
            }
            Self::Moon => "M20 14.500A8 8 0 0 1 9.500 4a8 8 0 1 0 10.500 10.500z",
            Self::Copy => "M9 9h11v11H9zM15 9V4H4v11h5",
            Self::Check => "M5 12.500l4.500 4.500L19 7.500",
            Self::Close => "M6 6l12 12M18 6L6 18",
            Self::Plus => "M12 5v14M5 12h14",
            Self::Chevron => "M9 6l6 6-6 6",
            Self::Arrow => "M7 17L17 7M9 7h8v8",
            Self::Clock => "M21 12a9 9 0 1 1-18 0a9 9 0 1 1 18 0M12 7v5l3.500 2",
            Self::Waves => "M3 9c3 0 3-3 6-3s3 3 6 3s3-3 6-3M3 17c3 0 3-3 6-3s3 3 6 3s3-3 6-3",
            Self::Warning => "M12 4l9 16H3zM12 10v4M12 17h.01",
            Self::Home => "M4 11l8-7 8 7v9h-5v-6H9v6H4z",
            Self::Transactions => "M4 6h10M8 12h10M6 18h14",
            Self::Services => "M4 5h16v6H4zM4 13h16v6H4zM7 8h.01M7 16h.01",
            Self::Map => {
                "M8 12a3 3 0 1 1-6 0a3 3 0 1 1 6 0M22 5a3 3 0 1 1-6 0a3 3 0 1 1 6 0\
                 M22 19a3 3 0 1 1-6 0a3 3 0 1 1 6 0M7.700 10.600l8.600-4.200M7.700 13.400l8.600 4.200"
            }
            Self::Database => {
                "M4 6a8 3 0 1 0 16 0a8 3 0 1 0-16 0M4 6v12c0 1.700 3.600 3 8 3s8-1.300 8-3V6M4 12c0 1.700 3.600 3 8 3s8-1.300 8-3"
            }
            Self::System => {
                "M15 12a3 3 0 1 1-6 0a3 3 0 1 1 6 0M12 3v3M12 18v3M3 12h3M18 12h3\
                 M5.600 5.600l2.100 2.100M16.300 16.300l2.100 2.100M5.600 18.400l2.100-2.100M16.300 7.700l2.100-2.100"
            }
            Self::SortDown => "M12 5v14M6 13l6 6 6-6",
            Self::Settings => "M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4",
            Self::SortUp => "M12 19V5M6 11l6-6 6 6",
        }
    }
}

/// An icon. The words beside it or the label of its button give its meaning.
#[component]
pub fn Icon(
    /// The name of the icon.
    name: IconName,
) -> impl IntoView {
    view! {
        <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
            <path d=name.path() />
        </svg>
    }
}
