//! The instances of the service, or its hosts or pods: the number of calls that each served, their
//! failures and their durations.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::api::RedResult;

use super::{
    ServiceView,
    operations::served,
    split::{SplitPart, SplitScope, missing, part_table},
};
use crate::{
    api::analysis::red,
    components::{Panel, Segment, Segments},
    format,
    request_state::RequestState,
    url::{History, use_edit_query, use_query},
};

/// The attributes that identify instances, with their names in the address.
const KEYS: [(&str, &str, &str); 3] = [
    ("instance", "Instance", "service.instance.id"),
    ("host", "Host", "host.name"),
    ("pod", "Pod", "k8s.pod.name"),
];
/// Number of requested groups, which include spans of every kind.
const GROUPS_MAX: u32 = 500;
/// Maximum number of instances that are listed.
const SHOWN: usize = 30;

/// Returns the key of this name in the address, or the first one.
fn key_of(name: Option<&str>) -> (&'static str, &'static str) {
    let known = KEYS.iter().find(|(known, ..)| Some(*known) == name).unwrap_or(&KEYS[0]);
    (known.0, known.2)
}

/// The panel.
pub(super) fn instances_panel(view: ServiceView) -> impl IntoView {
    let query = use_query();
    let edit = use_edit_query();
    let chosen = Memo::new(move |_| query.with(|query| key_of(query.get("instances"))));
    let answer = RequestState::<RedResult>::new(move || {
        let (_, key) = chosen.get();
        let analysis = view.tables.analysis()?.with("service", view.name());
        let analysis = analysis.with("by", format!("kind,served,attribute:{key}"));
        Some(red(&analysis.with("limit", GROUPS_MAX)))
    });
    let segments: Vec<Segment> =
        KEYS.iter().map(|(name, label, _)| Segment::new(name, *label)).collect();
    let name = Memo::new(move |_| chosen.get().0.to_owned());
    let choose = Callback::new(move |which: &'static str| {
        let which = (which != KEYS[0].0).then_some(which);
        edit(History::Replace, &|query| query.set("instances", which));
    });
    let tools = move || {
        let segments = segments.clone();
        view! { <Segments label="What calls are served by" segments chosen=name on_choose=choose /> }
    };
    let note = Memo::new(move |_| match view.tables.words() {
        words if words.is_empty() => "all calls that it served".to_owned(),
        words => format!("all calls served {words}"),
    });
    let draw = move |result: Arc<RedResult>| {
        let parts: Vec<SplitPart> = served(&result.groups).map(SplitPart::from).collect();
        let (_, key) = chosen.get_untracked();
        let step = result.window.step_nano;
        let table = part_table(
            view,
            parts.get(..SHOWN).unwrap_or(&parts),
            key,
            (SplitScope::Service, step),
        );
        let more = parts.len().saturating_sub(SHOWN);
        let more = (more > 0).then(|| {
            let words = format!("{} more with fewer calls.", format::count(more as u64));
            view! { <p class="panel-empty">{words}</p> }
        });
        view! { {table} {more} }
    };
    view! {
        <Panel
            title="Instances"
            note=note
            tools=tools.into()
            state=answer
            is_empty=|result| result.groups.is_empty()
            missing=missing
            empty="No call in this time."
            rows=3
            draw=draw
        />
    }
}

#[cfg(test)]
mod tests {
    use super::key_of;

    #[test]
    fn instances_are_distinguished_by_the_key_in_the_address_or_the_first() {
        assert_eq!(key_of(Some("pod")), ("pod", "k8s.pod.name"));
        for other in [None, Some("odd")] {
            assert_eq!(key_of(other), ("instance", "service.instance.id"));
        }
    }
}
