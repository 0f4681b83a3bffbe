//! The waterfall: a tree of spans beside a time axis, of which only the visible part is drawn.
//!
//! Owns scrolling, the width of the names and the keys of the grid. Lines are made for the visible
//! rows and a few around them, whatever the size of the trace. They are in one block that is moved
//! as a whole.

use leptos::{html, prelude::*};

use super::{
    lines::{self, LinePosition, line_id},
    page_signals::PageSignals,
    time_axis::{axis, grid},
    visible_rows::{self, Row, Scroll},
};
use crate::{
    browser::{self, element_size, fraction_across},
    colour, format, web_storage,
};

const NAMES_KEY: &str = "tidings.trace.names";
const NAMES_PERCENT: f64 = 38.0;
const NAMES_PERCENT_MIN: f64 = 15.0;
const NAMES_PERCENT_MAX: f64 = 75.0;
/// Maximum number of named ancestors: the nearest.
const PATH_MAX: usize = 6;

/// The grid with its head.
pub(crate) fn waterfall(page: PageSignals) -> impl IntoView {
    let scroller = NodeRef::<html::Div>::new();
    let head = NodeRef::<html::Div>::new();
    let bars = NodeRef::<html::Div>::new();
    let top_px = RwSignal::new(0.0);
    let size = element_size(scroller);
    let bars_size = element_size(bars);
    let bars_px = Signal::derive(move || bars_size.get().0);
    let scroll = Memo::new(move |_| Scroll {
        rows: page.lines.with(|lines| lines.len()),
        row_px: visible_rows::row_px(),
        view_px: size.get().1,
        top_px: top_px.get(),
    });
    // The head has no scrollbar of its own, and is as wide as a line.
    let scrollbar_px = Memo::new(move |_| {
        let _resized = size.get();
        scroller.get().map_or(0, |area| area.offset_width() - area.client_width())
    });
    let names = stored_names();
    follow_selection(page, scroller, scroll);
    let on_scroll = move |_| {
        if let Some(scroller) = scroller.get_untracked() {
            top_px.set(f64::from(scroller.scroll_top()));
        }
    };
    let active = move || {
        let row = page.selected.get()?;
        let line = page
            .lines
            .with(|lines| page.model.with(|model| visible_rows::position(model, lines, row)));
        line.map(line_id)
    };
    view! {
        <div
            class="wf"
            class:wf-no-path=move || !page.critical_path.get()
            class:wf-no-gaps=move || page.state.with(|state| !state.gaps)
            style=("--names", move || names.get().map(|percent| format!("{percent:.2}%")))
            style=("--wf-scrollbar", move || format!("{}px", scrollbar_px.get()))
        >
            <div class="wf-head" node_ref=head>
                <div class="wf-head-names">
                    <span><span class="wf-head-service">"Service and "</span>"operation"</span>
                    <FoldButtons page=page />
                </div>
                <div class="wf-head-bars" node_ref=bars>
                    {axis(page, bars_px, scrollbar_px)}
                </div>
                <Divider names=names head=head />
            </div>
            {grid(page, bars_px)}
            <PathAbove page scroll scroller />
            <div
                class="wf-scroll"
                node_ref=scroller
                role="treegrid"
                tabindex="0"
                aria-label=move || root_text(page)
                aria-rowcount=move || scroll.get().rows
                aria-activedescendant=active
                on:scroll=on_scroll
                on:keydown=move |event| on_key(page, scroll, &event)
                on:wheel=move |event| on_wheel(page, bars, &event)
            >
                <div class="wf-all" style=("height", move || format!("{}px", scroll.get().height_px()))>
                    <LinesInView page=page scroll=scroll bars_px=bars_px />
                </div>
            </div>
        </div>
    }
}

/// Returns the operation and the service of the root.
fn root_text(page: PageSignals) -> String {
    page.model.with(|model| {
        let operation = format::operation(&model.summary.root_operation);
        format!("{operation} of {}", format::service(&model.summary.root_service))
    })
}

/// Key of a line's content; a line is redrawn when it changes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct LineKey {
    line: usize,
    row: Row,
    folded: bool,
    trace: usize,
    records: usize,
}

#[component]
fn LinesInView(page: PageSignals, scroll: Memo<Scroll>, bars_px: Signal<f64>) -> impl IntoView {
    let drawn = Memo::new(move |_| scroll.get().on_screen());
    let keys = move || {
        let (trace, records) = (page.model.get().version(), page.logs.get().version());
        page.lines.with(|lines| {
            let key = |line: usize| {
                let row = *lines.get(line)?;
                let folded = matches!(row, Row::Span(row) if page.is_folded(row));
                Some(LineKey { line, row, folded, trace, records })
            };
            drawn.get().filter_map(key).collect::<Vec<_>>()
        })
    };
    let offset = move || {
        let scroll = scroll.get();
        format!("translateY({:.1}px)", scroll.line_px(drawn.get().start))
    };
    view! {
        <div class="wf-drawn" style=("transform", offset)>
            <For each=keys key=|key| *key let(key)>
                {lines::line(page, LinePosition { line: key.line, bars_px }, key.row)}
            </For>
        </div>
    }
}

/// The ancestors of the first visible line, while they are scrolled out of view.
#[component]
fn PathAbove(
    page: PageSignals,
    scroll: Memo<Scroll>,
    scroller: NodeRef<html::Div>,
) -> impl IntoView {
    let above = Memo::new(move |_| {
        let first = scroll.get().first_in_view();
        let rows = page.lines.with(|lines| {
            let row = lines.get(first)?.span();
            page.model.with(|model| {
                let mut above: Vec<u32> =
                    std::iter::successors(model.parent(row), |&row| model.parent(row)).collect();
                above.retain(|&row| {
                    visible_rows::shown_position(lines, row).is_some_and(|line| line < first)
                });
                above.truncate(PATH_MAX);
                above.reverse();
                Some(above)
            })
        });
        rows.unwrap_or_default()
    });
    let show = move |row: u32| {
        page.select(row);
        let line = page.position_of(row);
        if let (Some(line), Some(scroller)) = (line, scroller.get_untracked())
            && let Some(top) = scroll.get_untracked().to_show(line)
        {
            scroller.set_scroll_top(i32::try_from(super::scale::rounded(top)).unwrap_or(i32::MAX));
        }
    };
    let step = move |row: u32| {
        let (service, operation) = page.model.with_untracked(|model| {
            (model.service(row).to_owned(), format::operation(model.operation(row)).to_owned())
        });
        let title = format!("{service} · {operation}");
        view! {
            <button
                class="wf-path-step"
                type="button"
                title=title
                style=("--hue", colour::hue_value(&service))
                on:click=move |_| show(row)
            >
                <span class="dot" aria-hidden="true"></span>
                <bdi>{operation}</bdi>
            </button>
        }
    };
    view! {
        <Show when=move || above.with(|above| !above.is_empty())>
            <nav class="wf-path" aria-label="Calls above the first line">
                {move || above.get().into_iter().map(step).collect_view()}
            </nav>
        </Show>
    }
}

#[component]
fn FoldButtons(page: PageSignals) -> impl IntoView {
    view! {
        <span class="wf-fold-buttons">
            <button
                class="button button-ghost button-small"
                type="button"
                title="Fold all ( [ )"
                on:click=move |_| page.fold_all()
            >
                "Fold"
            </button>
            <button
                class="button button-ghost button-small"
                type="button"
                title="Unfold all ( ] )"
                on:click=move |_| page.unfold_all()
            >
                "Unfold"
            </button>
        </span>
    }
}

/// The border between names and bars, which is dragged or moved with the arrow keys.
#[component]
fn Divider(names: RwSignal<Option<f64>>, head: NodeRef<html::Div>) -> impl IntoView {
    let dragging = RwSignal::new(false);
    let set = move |percent: f64| {
        let percent = percent.clamp(NAMES_PERCENT_MIN, NAMES_PERCENT_MAX);
        names.set(Some(percent));
        web_storage::set_local_value(NAMES_KEY, Some(&format!("{percent:.2}")));
    };
    let moved = move |event: web_sys::PointerEvent| {
        if let Some(head) = head.get_untracked().filter(|_| dragging.get_untracked()) {
            set(fraction_across(&head, event.client_x()) * 100.0);
        }
    };
    let pressed = move |event: web_sys::KeyboardEvent| {
        let step = match event.key().as_str() {
            "ArrowLeft" => -2.0,
            "ArrowRight" => 2.0,
            _ => return,
        };
        event.prevent_default();
        event.stop_propagation();
        set(names.get_untracked().unwrap_or(NAMES_PERCENT) + step);
    };
    let reset = move |_| {
        names.set(None);
        web_storage::set_local_value(NAMES_KEY, None);
    };
    let grabbed = move |event: web_sys::PointerEvent| {
        event.prevent_default();
        browser::capture_pointer(&event);
        dragging.set(true);
    };
    view! {
        <div
            class="wf-divider"
            class:wf-dragging=move || dragging.get()
            role="separator"
            tabindex="0"
            aria-orientation="vertical"
            aria-label="Width of the names"
            aria-valuenow=move || format!("{:.0}", names.get().unwrap_or(NAMES_PERCENT))
            aria-valuemin=NAMES_PERCENT_MIN
            aria-valuemax=NAMES_PERCENT_MAX
            on:pointerdown=grabbed
            on:pointermove=moved
            on:pointerup=move |_| dragging.set(false)
            on:pointercancel=move |_| dragging.set(false)
            on:dblclick=reset
            on:keydown=pressed
        ></div>
    }
}

/// Returns the width of the names that the reader set, in percent. Without one the style sheet
/// decides.
fn stored_names() -> RwSignal<Option<f64>> {
    let stored = web_storage::local_value(NAMES_KEY).and_then(|text| text.parse::<f64>().ok());
    RwSignal::new(stored.filter(|width| (NAMES_PERCENT_MIN..=NAMES_PERCENT_MAX).contains(width)))
}

/// Scrolls a newly selected row into view.
fn follow_selection(page: PageSignals, scroller: NodeRef<html::Div>, scroll: Memo<Scroll>) {
    let laid_out = Memo::new(move |_| scroll.get().view_px > 0.0);
    Effect::new(move |_| {
        let (Some(row), true) = (page.selected.get(), laid_out.get()) else { return };
        let Some(line) = page.position_of(row) else { return };
        if let (Some(top), Some(scroller)) =
            (scroll.get_untracked().to_show(line), scroller.get_untracked())
        {
            scroller.set_scroll_top(i32::try_from(super::scale::rounded(top)).unwrap_or(i32::MAX));
        }
    });
}

/// Handles keys that have a meaning only while the grid has the focus.
fn on_key(page: PageSignals, scroll: Memo<Scroll>, event: &web_sys::KeyboardEvent) {
    if browser::has_command_key(event) {
        return;
    }
    let screen = isize::try_from(scroll.get_untracked().on_screen().len()).unwrap_or(0) / 2;
    match (event.key().as_str(), event.shift_key()) {
        ("ArrowDown", _) => page.move_by(1),
        ("ArrowUp", _) => page.move_by(-1),
        ("PageDown", _) => page.move_by(screen.max(1)),
        ("PageUp", _) => page.move_by(-screen.max(1)),
        ("Home", _) => page.move_by(isize::MIN + 1),
        ("End", _) => page.move_by(isize::MAX),
        ("ArrowRight", false) => page.open_selected(),
        ("ArrowLeft", false) => page.close_selected(),
        ("ArrowRight", true) => page.pan_by(0.2),
        ("ArrowLeft", true) => page.pan_by(-0.2),
        ("Enter", _) => page.state.update(|state| state.panel = true),
        _ => return,
    }
    event.prevent_default();
    event.stop_propagation();
}

/// Handles the wheel. With Ctrl (which browsers report for a pinch) it zooms, sideways it pans,
/// otherwise it scrolls.
fn on_wheel(page: PageSignals, bars: NodeRef<html::Div>, event: &web_sys::WheelEvent) {
    let Some(bars) = bars.get_untracked() else { return };
    if event.ctrl_key() {
        event.prevent_default();
        let factor = (event.delta_y().clamp(-120.0, 120.0) / 300.0).exp();
        page.zoom_by(fraction_across(&bars, event.client_x()), factor);
    } else if event.shift_key() || event.delta_x().abs() > event.delta_y().abs() {
        let along = if event.delta_x() == 0.0 { event.delta_y() } else { event.delta_x() };
        if page.state.with_untracked(|state| state.zoom.is_some()) {
            event.prevent_default();
            page.pan_by(along.clamp(-400.0, 400.0) / 1_000.0);
        }
    }
}
