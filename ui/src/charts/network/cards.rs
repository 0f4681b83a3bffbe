//! The drawing of a card: its name, alarm, numbers and bar.
//!
//! Owns the positions of the texts and their room in letters. A text that is too long is cut, and is
//! whole in the title. Does not own the sizes of cards, which the layout needs, too.

use leptos::prelude::*;

use super::{GraphSelection, NetworkNode, NetworkState, NodeIcon, WIDTH, node_id};
use crate::{colour, number_format};

/// Number of letters above which an alarm is below the name, in place of the number on the left.
const ALARM_BESIDE_NAME_MAX: usize = 8;
/// Number of letters below which a cut text says too little. It is left out.
const CUT_LETTERS_MIN: usize = 6;

/// Number of letters that the lines of a card have room for.
#[derive(Debug, Clone, Copy)]
struct CardRoom {
    /// Letters of the name, of average width.
    name: f64,
    /// The same beside an alarm.
    name_beside_alarm: f64,
    /// Letters of both numbers together. Those of one number are one more.
    numbers: usize,
}

impl CardRoom {
    /// Returns the room of a card of this width.
    const fn for_width(width: f64) -> Self {
        if width < WIDTH {
            Self { name: 16.5, name_beside_alarm: 9.5, numbers: 18 }
        } else {
            Self { name: 20.0, name_beside_alarm: 13.0, numbers: 22 }
        }
    }
}

/// The card of a node.
pub(super) fn node_view(
    picture: NetworkState,
    (at, node): (u32, &NetworkNode),
    place: (f64, f64),
    share_room: f64,
) -> impl IntoView + use<> {
    let is_picked = move || picture.picked.get() == Some(GraphSelection::Node(at));
    let is_first = picture.graph.with_value(|graph| graph.first_card() == at as usize);
    let is_reached = move || match picture.picked.get() {
        Some(GraphSelection::Node(node)) => node == at,
        _ => is_first,
    };
    let (width, height) = picture.graph.with_value(|graph| graph.card_size(node));
    let (left, top) = (-width / 2.0, -height / 2.0);
    let room = CardRoom::for_width(width);
    let (alarm, long_alarm) = alarms(node, room);
    let has_sign = node.sign.path().is_some();
    let name_room = if alarm.is_some() { room.name_beside_alarm } else { room.name }
        - if has_sign { 2.0 } else { 0.0 };
    let sign = node.sign.path().map(|path| {
        let shift = format!("translate({:.1} {:.1}) scale(.85)", left + 12.0, top + 6.0);
        view! { <path class="network-sign" transform=shift d=path /> }
    });
    let (name_x, name_y) = (left + if has_sign { 31.0 } else { 13.0 }, top + 17.0);
    let is_outside = !matches!(node.sign, NodeIcon::Service | NodeIcon::User);
    // The few colours are for services only.
    let hue = (node.sign == NodeIcon::Service).then(|| colour::hue_value(&node.name));
    view! {
        <g
            id=node_id(at)
            class="network-node"
            class:is-outside=is_outside
            class:is-user=node.sign == NodeIcon::User
            class:is-culprit=node.is_culprit
            class:is-affected=node.is_affected
            class:has-failed=node.has_alarm()
            class:is-lit=node.is_highlighted
            class:is-picked=is_picked
            transform=format!("translate({:.1} {:.1})", place.0, place.1)
            tabindex=move || if is_reached() { "0" } else { "-1" }
            role="button"
            aria-label=node.title.clone()
            aria-pressed=move || is_picked().to_string()
            style=("--hue", hue)
            on:click=move |_| picture.on_pick.run(Some(GraphSelection::Node(at)))
            on:keydown=move |event| picture.on_key_down(&event, at)
            on:pointerenter=move |_| picture.pointed_node.set(Some(at))
            on:pointerleave=move |_| picture.pointed_node.set(None)
            on:focus=move |_| picture.pointed_node.set(Some(at))
            on:blur=move |_| picture.pointed_node.set(None)
        >
            <title>{node.title.clone()}</title>
            <rect class="network-card" x=left y=top width=width height=height rx="7" />
            <rect class="network-edge-mark" x=left y=top + 1.0 width="4" height=height - 2.0 rx="2" />
            {sign}
            <text class="network-name" x=name_x y=name_y>{number_format::truncate_to_width(&node.name, name_room)}</text>
            <text class="network-alarm" x=-left - 10.0 y=name_y>{alarm}</text>
            {numbers_view(node, long_alarm, (left, top), room)}
            {bar_view(node, (width, height), share_room)}
        </g>
    }
}

/// The last line of a card: its bar, and beside it the share that failed.
fn bar_view(
    node: &NetworkNode,
    (width, height): (f64, f64),
    share_room: f64,
) -> impl IntoView + use<> {
    let (left, y, track) = (12.0 - width / 2.0, height / 2.0 - 10.0, width - 22.0 - share_room);
    let bar = (node.bar.clamp(0.0, 1.0) * track).max(0.0);
    let (has_share, is_worse) = (!node.share.is_empty(), node.fails_more);
    let (dot, share_class) =
        if is_worse { ("● ", "network-alarm") } else { ("", "network-share") };
    let share = has_share.then(|| format!("{dot}{}", node.share));
    view! {
        <rect class="network-track" x=left y=y width=track height="4" rx="2" />
        <rect
            class="network-bar"
            class:is-share=has_share
            class:is-worse=is_worse
            x=left
            y=y
            width=bar
            height="4"
            rx="2"
        />
        <text class=share_class x=width / 2.0 - 10.0 y=y + 4.0>{share}</text>
    }
}

/// Returns the alarm of a card: a short one for the line of the name, or a longer one for the line
/// below.
fn alarms(node: &NetworkNode, room: CardRoom) -> (Option<String>, Option<String>) {
    let Some(alarm) = &node.alarm else { return (None, None) };
    if alarm.chars().count() <= ALARM_BESIDE_NAME_MAX {
        return (Some(format!("● {alarm}")), None);
    }
    (None, Some(format!("● {}", number_format::truncate(alarm, room.numbers - 2))))
}

/// The second line of a card, with its numbers. A long alarm replaces the numbers that do not fit
/// beside it, and the number on the left is cut to its room. Numbers of the culprit's change are on a
/// third line.
fn numbers_view(
    node: &NetworkNode,
    long_alarm: Option<String>,
    (left, top): (f64, f64),
    room: CardRoom,
) -> impl IntoView + use<> {
    let letters = |text: &str| text.chars().count();
    let is_beside = long_alarm
        .as_ref()
        .is_none_or(|alarm| letters(alarm) + letters(&node.right) <= room.numbers);
    let right = (node.is_culprit || is_beside).then(|| node.right.clone());
    let second = top + 32.0;
    let (right_at, down) =
        if node.is_culprit { (left + 12.0, second + 16.0) } else { (-left - 10.0, second) };
    let first = match long_alarm {
        Some(alarm) => view! {
            <text class="network-alarm is-long" x=left + 12.0 y=second>{alarm}</text>
        }
        .into_any(),
        None => view! {
            <text class="network-number" x=left + 12.0 y=second>{left_number(node, room)}</text>
        }
        .into_any(),
    };
    view! {
        {first}
        <text class="network-number is-right" x=right_at y=down>{right}</text>
    }
}

/// Returns the number on the left of a card, cut to the room that the number on the right leaves. It
/// is empty where only a few letters of it fit.
fn left_number(node: &NetworkNode, room: CardRoom) -> String {
    let is_alone = node.is_culprit || node.right.is_empty();
    let taken = if is_alone { 0 } else { node.right.chars().count() + 1 };
    let letters_max = (room.numbers + 1).saturating_sub(taken);
    // A cut text ends in an ellipsis.
    let is_long = node.left.chars().nth(letters_max).is_some();
    if is_long && letters_max <= CUT_LETTERS_MIN {
        return String::new();
    }
    number_format::truncate(&node.left, letters_max.saturating_sub(usize::from(is_long)))
}

#[cfg(test)]
mod tests {
    use super::{super::names::tests::node, CardRoom, alarms, left_number};

    #[test]
    fn a_share_that_is_an_alarm_is_beside_the_bar_and_a_number_is_cut_to_its_room() {
        let mut card = node("payment");
        (card.fails_more, card.share) = (true, "20.0 %".to_owned());
        let (wide, narrow) = (CardRoom::for_width(172.0), CardRoom::for_width(148.0));
        assert_eq!((card.has_alarm(), alarms(&card, wide)), (true, (None, None)));
        card.alarm = Some("3.5× slower".to_owned());
        assert_eq!(alarms(&card, narrow), (None, Some("● 3.5× slower".to_owned())));
        (card.left, card.right) = ("12 calls".to_owned(), "waited 44.5 ms".to_owned());
        assert_eq!(left_number(&card, wide), "12 calls");
        assert_eq!(left_number(&card, narrow), "", "\"12 …\" says nothing");
        card.right = "waited 4 ms".to_owned();
        assert_eq!(left_number(&card, narrow), "12 cal…");
        (card.left, card.right) = ("begins transactions".to_owned(), String::new());
        assert_eq!(left_number(&card, narrow), "begins transactions");
    }
}
