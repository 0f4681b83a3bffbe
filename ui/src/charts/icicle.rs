//! A tree as stacked frames, as in a flame graph upside down. A frame is as wide as its value.
//!
//! [`layout_frames`] computes the position of every frame, in fractions of the picture. [`Icicle`]
//! draws those that are wide enough to be visible. The frame's own part is solid and at its right
//! end. The part of its children is pale. Arrow keys move from frame to frame.

use std::sync::Arc;

use leptos::{html, prelude::*};
use wasm_bindgen::JsCast;

use crate::{browser, colour};

/// A frame narrower than this part of the picture is not drawn.
const WIDTH_MIN: f64 = 0.002;
/// Maximum number of frames that are drawn: the widest.
const DRAWN_MAX: usize = 1_200;
/// Frames below this depth are not drawn.
const DEPTH_MAX: u32 = 80;
/// Difference, as a part of the other side's whole, below which frames are drawn as equal.
pub const DIFFERENCE_MIN: f64 = 0.005;
/// Height of a row in CSS pixels.
const ROW_PX: u32 = 32;

/// A frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Frame {
    /// Its parent, which precedes it in the list.
    pub parent: Option<u32>,
    /// Its width: its own value and that of all frames below it, in any unit.
    pub value: f64,
    /// The service that gives its colour.
    pub service: String,
    /// Its service in words, drawn before its name where all its words fit.
    pub service_words: Option<String>,
    /// Its name.
    pub name: String,
    /// Its number, as `402 ms`.
    pub number: String,
    /// Its description for the pointer and for screen readers.
    pub title: String,
    /// Difference from the other side, as a part of the other side's whole. `None` draws it in its
    /// service's colour.
    pub difference: Option<f64>,
    /// Set when something in it failed.
    pub has_failed: bool,
    /// Set when it is on the critical path.
    pub is_critical: bool,
}

/// The order of siblings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiblingOrder {
    /// The order of the list.
    Given,
    /// Widest first.
    WidestFirst,
}

/// The position of a frame in the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FramePosition {
    /// The frame.
    pub frame: u32,
    /// Its left edge, 0 to 1 of the picture's width.
    pub left: f64,
    /// Its width, 0 to 1 of the picture's width.
    pub width: f64,
    /// Number of frames above it.
    pub depth: u32,
    /// The part of the frame that no frame below covers, 0 to 1.
    pub own: f64,
}

/// Positions of the visible frames, and the others.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct IcicleLayout {
    /// The positions, parents first.
    pub placed: Vec<FramePosition>,
    /// Frames that are too narrow, or too deep, without those below them.
    pub left_out: Vec<u32>,
}

/// Computes the positions of the frames. `focus` and the frames above it are as wide as the
/// picture. Without it, all frames are placed.
#[must_use]
pub fn layout_frames(frames: &[Frame], focus: Option<u32>, order: SiblingOrder) -> IcicleLayout {
    let children = children_of(frames, order);
    let value = |frame: u32| frames.get(frame as usize).map_or(0.0, |frame| frame.value.max(0.0));
    let mut placement = IcicleLayout::default();
    let mut waiting = Vec::new();
    match focus.filter(|focus| (*focus as usize) < frames.len()) {
        Some(focus) => {
            let above = std::iter::successors(frames[focus as usize].parent, |above| {
                frames.get(*above as usize).and_then(|frame| frame.parent)
            });
            let mut above: Vec<u32> = above.take(frames.len()).collect();
            above.reverse();
            let depth = (0..).zip(&above).map(|(depth, &frame)| {
                placement.placed.push(FramePosition {
                    frame,
                    left: 0.0,
                    width: 1.0,
                    depth,
                    own: 0.0,
                });
            });
            let depth = u32::try_from(depth.count()).unwrap_or(u32::MAX);
            waiting.push((focus, 0.0, 1.0, depth));
        }
        None => {
            let roots = &children[frames.len()];
            let total: f64 = roots.iter().map(|root| value(*root)).sum();
            let mut left = 0.0;
            for &root in roots {
                let width =
                    if total > 0.0 { value(root) / total } else { 1.0 / roots.len() as f64 };
                waiting.push((root, left, width, 0));
                left += width;
            }
            waiting.reverse();
        }
    }
    while let Some((frame, left, width, depth)) = waiting.pop() {
        if width < WIDTH_MIN || depth > DEPTH_MAX {
            placement.left_out.push(frame);
            continue;
        }
        let below = &children[frame as usize];
        let sum: f64 = below.iter().map(|child| value(*child)).sum();
        // Concurrent calls may take longer in sum than their caller. They share its width.
        let whole = value(frame).max(sum);
        let own = if whole > 0.0 { (whole - sum) / whole } else { 1.0 };
        placement.placed.push(FramePosition { frame, left, width, depth, own });
        let mut next = left;
        let first = waiting.len();
        for &child in below {
            let part = if whole > 0.0 { width * value(child) / whole } else { 0.0 };
            waiting.push((child, next, part, depth + 1));
            next += part;
        }
        waiting[first..].reverse();
    }
    widest(&mut placement);
    placement
}

/// Keeps the widest positions, in their order.
fn widest(placement: &mut IcicleLayout) {
    let surplus = placement.placed.len().saturating_sub(DRAWN_MAX);
    if surplus == 0 {
        return;
    }
    let mut widths: Vec<f64> = placement.placed.iter().map(|placed| placed.width).collect();
    widths.sort_by(|left, right| right.total_cmp(left));
    let least = widths[DRAWN_MAX - 1];
    let mut wide_count = 0;
    placement.placed.retain(|placed| {
        wide_count += usize::from(placed.width >= least);
        let is_drawn = placed.width >= least && wide_count <= DRAWN_MAX;
        if !is_drawn {
            placement.left_out.push(placed.frame);
        }
        is_drawn
    });
}

/// Returns the children of each frame, and at the end the frames without a parent.
fn children_of(frames: &[Frame], order: SiblingOrder) -> Vec<Vec<u32>> {
    let mut children = vec![Vec::new(); frames.len() + 1];
    for (at, frame) in (0_u32..).zip(frames) {
        let above = frame.parent.filter(|above| *above < at);
        children[above.map_or(frames.len(), |above| above as usize)].push(at);
    }
    if order == SiblingOrder::WidestFirst {
        let value = |frame: u32| frames[frame as usize].value;
        for siblings in &mut children {
            siblings.sort_by(|left, right| value(*right).total_cmp(&value(*left)));
        }
    }
    children
}

/// Returns the frame that an arrow key moves to from `at`.
#[must_use]
pub fn neighbour(placed: &[FramePosition], frames: &[Frame], at: u32, key: &str) -> Option<u32> {
    let here = placed.iter().find(|placed| placed.frame == at)?;
    let parent = |frame: u32| frames.get(frame as usize).and_then(|frame| frame.parent);
    let beside = |wanted: fn(&FramePosition, &FramePosition) -> bool, nearest_is_last: bool| {
        let mut row: Vec<&FramePosition> = placed
            .iter()
            .filter(|other| other.depth == here.depth && wanted(other, here))
            .collect();
        row.sort_by(|left, right| left.left.total_cmp(&right.left));
        if nearest_is_last { row.last().copied() } else { row.first().copied() }
    };
    let next = match key {
        "ArrowUp" => return parent(at),
        "ArrowDown" => placed
            .iter()
            .filter(|other| parent(other.frame) == Some(at))
            .min_by(|left, right| left.left.total_cmp(&right.left)),
        "ArrowLeft" => beside(|other, here| other.left < here.left, true),
        "ArrowRight" => beside(|other, here| other.left > here.left, false),
        _ => None,
    };
    next.map(|placed| placed.frame)
}

/// The picture.
#[component]
pub fn Icicle(
    /// Its id, from which the ids of its frames are derived.
    id: &'static str,
    /// The subject, for screen readers.
    #[prop(into)]
    label: String,
    /// The frames.
    frames: Arc<Vec<Frame>>,
    /// The positions of the drawn frames.
    placement: IcicleLayout,
    /// The selected frame.
    #[prop(into)]
    selected: Signal<Option<u32>>,
    /// Called with the frame that is clicked or chosen with Enter.
    on_select: Callback<u32>,
) -> impl IntoView {
    let rows = placement.placed.iter().map(|placed| placed.depth + 1).max().unwrap_or(1);
    let height = format!("{}px", rows * ROW_PX);
    let placed = StoredValue::new(placement.placed.clone());
    let field = NodeRef::<html::Div>::new();
    let known = StoredValue::new(Arc::clone(&frames));
    let pressed = move |event: web_sys::KeyboardEvent| {
        let Some(at) = focused(&event) else { return };
        let next = placed.with_value(|placed| {
            known.with_value(|frames| neighbour(placed, frames, at, &event.key()))
        });
        if let Some(next) = next {
            event.prevent_default();
            event.stop_propagation();
            browser::focus(&frame_id(id, next));
        }
    };
    let first = placement.placed.first().map(|placed| placed.frame);
    let drawn = placement.placed.into_iter().filter_map(|place| {
        let frame = frames.get(place.frame as usize)?.clone();
        let reached = move || selected.get().or(first) == Some(place.frame);
        Some(frame_view(id, frame, place, selected, reached, on_select))
    });
    view! {
        <div
            node_ref=field
            class="icicle"
            role="group"
            aria-label=label
            style=("height", height)
            on:keydown=pressed
        >
            {drawn.collect_view()}
        </div>
    }
}

fn frame_id(picture: &str, frame: u32) -> String {
    format!("{picture}-{frame}")
}

/// Returns the focused frame.
fn focused(event: &web_sys::KeyboardEvent) -> Option<u32> {
    let element = event.target()?.dyn_into::<web_sys::Element>().ok()?;
    element.id().rsplit_once('-')?.1.parse().ok()
}

/// Returns the percentage of the colour of more or of less in a frame. Even the least difference is
/// visible.
fn tint_percent(difference: f64) -> f64 {
    (16.0 + difference.abs() * 190.0).min(64.0)
}

fn frame_view(
    picture: &'static str,
    frame: Frame,
    place: FramePosition,
    selected: Signal<Option<u32>>,
    is_reached: impl Fn() -> bool + Send + Sync + 'static,
    on_select: Callback<u32>,
) -> impl IntoView {
    let at = place.frame;
    let percent = |part: f64| format!("{:.3}%", part * 100.0);
    let mix = frame.difference.map(|difference| format!("{:.0}%", tint_percent(difference)));
    let tone = match frame.difference {
        Some(difference) if difference >= DIFFERENCE_MIN => "frame is-more",
        Some(difference) if difference <= -DIFFERENCE_MIN => "frame is-less",
        Some(_) => "frame is-same",
        None => "frame",
    };
    let own = (place.own > 0.002 && frame.difference.is_none()).then(|| {
        view! { <span class="frame-own" style=("width", percent(place.own))></span> }
    });
    let failed = frame.has_failed.then(|| view! { <span class="frame-failed"></span> });
    let is_leaf = place.own > 0.998;
    let wide = place.width > 0.03;
    let dot = frame.difference.map(|_| view! { <span class="dot"></span> });
    // Words are drawn on one ground: the wider of the own part and the part of the children.
    let mostly_own = is_leaf || own.is_some() && place.own > 0.5;
    let room = own.is_some().then(|| match mostly_own {
        true => format!("0 0 0 {}", percent(1.0 - place.own)),
        false => format!("0 {} 0 0", percent(place.own)),
    });
    let service =
        frame.service_words.map(|words| view! { <bdi class="frame-service">{words}</bdi> });
    let words = wide.then(|| {
        view! {
            <span class="frame-line" style=("padding", room)>
                {service}
                <span class="frame-words">
                    {dot}
                    <bdi class="frame-name">{frame.name}</bdi>
                    {failed}
                    <span class="frame-number">{frame.number}</span>
                </span>
            </span>
        }
    });
    view! {
        <button
            id=frame_id(picture, at)
            class=tone
            class:is-leaf=mostly_own
            class:is-critical=frame.is_critical
            type="button"
            tabindex=move || if is_reached() { "0" } else { "-1" }
            aria-pressed=move || (selected.get() == Some(at)).to_string()
            title=frame.title.clone()
            aria-label=frame.title
            style=("left", percent(place.left))
            style=("width", percent(place.width))
            style=("top", format!("{}px", place.depth * ROW_PX))
            style=("--hue", colour::hue_value(&frame.service))
            style=("--mix", mix.unwrap_or_default())
            on:click=move |_| on_select.run(at)
        >
            {own}
            {words}
        </button>
    }
}

#[cfg(test)]
mod tests;
