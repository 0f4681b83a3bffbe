//! The limits in force, each with its unit and its source. Those that differ from their default come
//! first.

use std::sync::Arc;

use leptos::prelude::*;
use tidings_proto::api::{LimitInForce, LimitList};

use crate::{api, components::Panel, format, request_state::RequestState};

/// Draws the panel.
pub(super) fn limits_panel() -> impl IntoView {
    let list = RequestState::<LimitList>::new(|| Some(api::limits()));
    let shows_all = RwSignal::new(false);
    let note = move || {
        let list = list.value()?;
        Some(note_text(&list.limits))
    };
    let draw = move |list: Arc<LimitList>| move || table(&list, shows_all);
    view! {
        <Panel
            title="Limits"
            note=Signal::derive(move || note().unwrap_or_default())
            state=list
            is_empty=|list| list.limits.is_empty()
            empty="Nothing is limited."
            rows=6
            draw=draw
        />
    }
}

/// The three kinds of sources of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LimitOrigin {
    Default,
    /// Set in the file, on the command line or by a variable.
    Set,
    /// Found out, as a share of the machine's memory.
    Machine,
}

impl LimitOrigin {
    fn of_limit(limit: &LimitInForce) -> Self {
        match limit.origin.as_str() {
            "default" => Self::Default,
            "file" | "command line" => Self::Set,
            name if name.starts_with("TIDINGS_") => Self::Set,
            _ => Self::Machine,
        }
    }
}

/// Returns the number of limits that are not at their defaults, by their sources.
fn note_text(limits: &[LimitInForce]) -> String {
    let count = |origin: LimitOrigin| {
        limits.iter().filter(|limit| LimitOrigin::of_limit(limit) == origin).count() as u64
    };
    let [set, machine] = [LimitOrigin::Set, LimitOrigin::Machine].map(count);
    let set = (set > 0).then(|| format!("{} set", format::count(set)));
    let machine =
        (machine > 0).then(|| format!("{} sized to this machine", format::count(machine)));
    let parts: Vec<String> = set.into_iter().chain(machine).collect();
    if parts.is_empty() { "all at their defaults".to_owned() } else { parts.join(", ") }
}

/// Returns value and unit. A value that includes its unit has no further one.
fn value_text(limit: &LimitInForce) -> String {
    let is_number = limit.value.bytes().all(|digit| digit.is_ascii_digit());
    let number = limit.value.parse::<u64>();
    let grouped = number.clone().map_or_else(|_| limit.value.clone(), format::count);
    match (limit.unit.as_str(), is_number) {
        ("seconds", true) => format!("{grouped} s"),
        ("milliseconds", true) => format!("{grouped} ms"),
        ("rows", true) => number.map_or(grouped, |rows| format::counted(rows, "row")),
        ("bytes", true) => format!("{grouped} B"),
        ("bytes", false) => binary_size(&limit.value).map_or(grouped, format::rates::bytes),
        (_, false) => number_and_unit(&limit.value).unwrap_or(grouped),
        _ => grouped,
    }
}

/// Returns the bytes of a size in the format of settings: `6026MiB`.
fn binary_size(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let power = ["B", "KiB", "MiB", "GiB", "TiB"].iter().position(|known| *known == unit)?;
    number.parse::<u64>().ok()?.checked_mul(1_024_u64.checked_pow(u32::try_from(power).ok()?)?)
}

/// Separates a number from its unit: `30d` as `30 d`.
fn number_and_unit(text: &str) -> Option<String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let is_unit = ["ms", "s", "m", "min", "h", "d"].contains(&unit);
    (!number.is_empty() && is_unit).then(|| format!("{number} {unit}"))
}

fn table(list: &LimitList, shows_all: RwSignal<bool>) -> impl IntoView + use<> {
    let shows_all_now = shows_all.get();
    let is_default = |limit: &&LimitInForce| LimitOrigin::of_limit(limit) == LimitOrigin::Default;
    let (by_default, others): (Vec<_>, Vec<_>) = list.limits.iter().partition(is_default);
    let more = by_default.len();
    let shown = others.into_iter().chain(by_default.into_iter().filter(|_| shows_all_now));
    let rows = shown.map(row).collect_view();
    let words = if shows_all_now {
        "Hide the defaults".to_owned()
    } else {
        format!("Show {} more at their defaults", format::count(more as u64))
    };
    view! {
        <table class="table facts-table limits" aria-label="Limits">
            <tbody>{rows}</tbody>
        </table>
        <p class="panel-foot">
            <button
                class="link"
                type="button"
                aria-expanded=shows_all_now.to_string()
                on:click=move |_| shows_all.update(|all| *all = !*all)
            >
                {words}
            </button>
        </p>
    }
}

fn row(limit: &LimitInForce) -> impl IntoView + use<> {
    view! {
        <tr title=limit.help.clone()>
            <th scope="row" class="mono">
                {limit.name.clone()}
            </th>
            <td class="num">{value_text(limit)}</td>
            <td class="mute">{limit.origin.clone()}</td>
        </tr>
    }
}

#[cfg(test)]
mod tests {
    use super::{LimitInForce, note_text, value_text};

    #[test]
    fn a_value_from_the_machine_is_not_called_set() {
        let limits = |origins: &[&str]| -> Vec<LimitInForce> {
            let limit = |origin: &&str| LimitInForce {
                name: "x".to_owned(),
                value: "1".to_owned(),
                unit: "count".to_owned(),
                default_value: "1".to_owned(),
                origin: (*origin).to_owned(),
                help: String::new(),
            };
            origins.iter().map(limit).collect()
        };
        let note = |origins: &[&str]| note_text(&limits(origins));
        assert_eq!(note(&["default", "default"]), "all at their defaults");
        assert_eq!(
            note(&["default", "a quarter of this machine's 24 GiB"]),
            "1 sized to this machine"
        );
        assert_eq!(note(&["file", "TIDINGS_MEMORY", "command line"]), "3 set");
        assert_eq!(note(&["file", "3/32 of memory"]), "1 set, 1 sized to this machine");
    }

    #[test]
    fn a_limit_always_has_its_unit() {
        let words = |value: &str, unit: &str| {
            value_text(&LimitInForce {
                name: "x".to_owned(),
                value: value.to_owned(),
                unit: unit.to_owned(),
                default_value: value.to_owned(),
                origin: "default".to_owned(),
                help: String::new(),
            })
        };
        assert_eq!(words("30", "seconds"), "30 s");
        assert_eq!(words("20000000", "rows"), "20,000,000 rows");
        assert_eq!(words("560MiB", "bytes"), "560 MiB");
        assert_eq!(words("6026MiB", "bytes"), "5.88 GiB");
        assert_eq!(words("a tenth", "bytes"), "a tenth");
        assert_eq!(words("30d", "age"), "30 d");
        assert_eq!(words("2000", "count"), "2,000");
    }
}
