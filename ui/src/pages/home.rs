//! Home: what changed, what arrives, who was refused. Until something was received it is Welcome.

use leptos::prelude::*;

use super::connect::WelcomeUntilData;

/// The page.
#[component]
#[must_use]
pub fn HomePage() -> impl IntoView {
    view! { <WelcomeUntilData /> }
}
