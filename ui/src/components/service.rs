//! A service's dot and name; the dot's hue is the service's on every page.

use leptos::prelude::*;

use crate::{colour, format};

/// The dot alone; says the service on hover and to screen readers.
#[component]
pub fn ServiceDot(
    /// `service.name`.
    #[prop(into)]
    service: String,
) -> impl IntoView {
    let hue = colour::hue_value(&service);
    view! { <span class="dot" style=("--hue", hue) title=service></span> }
}

/// The dot and the name.
#[component]
pub fn ServiceName(
    /// `service.name`.
    #[prop(into)]
    service: String,
) -> impl IntoView {
    let hue = colour::hue_value(&service);
    let shown = format::service(&service).to_owned();
    view! {
        <span class="service">
            <span class="dot" style=("--hue", hue) aria-hidden="true"></span>
            <span class="service-name">{shown}</span>
        </span>
    }
}
