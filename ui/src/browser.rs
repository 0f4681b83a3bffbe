//! Access to the browser: clock, time zone, clipboard, focus, sizes.
//!
//! Owns no state. Everything here works only in a browser. Code that can be tested without one is
//! elsewhere. The browser's storage belongs to [`crate::web_storage`].

use std::time::Duration;

use leptos::{html, prelude::*};
use tidings_proto::UnixNanos;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Element, HtmlElement, ResizeObserver, ResizeObserverEntry};

use crate::{format::rates, preferences};

/// Returns the time of the browser's clock.
pub(crate) fn now() -> UnixNanos {
    UnixNanos(to_whole(js_sys::Date::now()).saturating_mul(1_000_000))
}

/// Reloads the page.
pub(crate) fn reload() {
    let _loading = window().location().reload();
}

/// Navigates to another page, of this server or of another.
pub(crate) fn navigate_to(address: &str) {
    let _loading = window().location().set_href(address);
}

/// Returns the offset of the reader's time zone from UTC at `time`, in minutes, positive to the
/// east.
pub(crate) fn zone_minutes(time: UnixNanos) -> i32 {
    if preferences::is_utc() {
        return 0;
    }
    let milliseconds = (time.0 / 1_000_000) as f64;
    let behind = js_sys::Date::new(&JsValue::from_f64(milliseconds)).get_timezone_offset();
    let minutes = i32::try_from(to_whole(behind.abs())).unwrap_or(0);
    if behind > 0.0 { -minutes } else { minutes }
}

/// Formats the minute of `time` in the reader's zone: `14:01`, with the date in front on another day
/// than `now`.
pub(crate) fn local_minute(time: UnixNanos, now: UnixNanos) -> String {
    rates::minute(time, now, zone_minutes(time))
}

/// Formats the second of `time` in the reader's zone: `14:01:07`, with the date in front on another
/// day than `now`.
pub(crate) fn local_second(time: UnixNanos, now: UnixNanos) -> String {
    rates::second(time, now, zone_minutes(time))
}

/// Returns the milliseconds since 1970 of a date and time in the reader's zone, in the format of a
/// `datetime-local` field.
pub(crate) fn local_milliseconds(text: &str) -> Option<u64> {
    let zone = if preferences::is_utc() { "Z" } else { "" };
    let milliseconds = js_sys::Date::parse(&format!("{text}{zone}"));
    (milliseconds.is_finite() && milliseconds >= 0.0).then(|| to_whole(milliseconds))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float-to-int cast saturates, and the clock's milliseconds are far from both ends"
)]
pub(crate) fn to_whole(number: f64) -> u64 {
    number as u64
}

/// Resolves when a frame has been drawn.
pub(crate) async fn next_frame() {
    let wait = |resolve: js_sys::Function, _| {
        // The frame is drawn after its callbacks ran, and a timer fires after that.
        let drawn = move || {
            let _refused =
                window().set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, 0);
        };
        request_animation_frame(drawn);
    };
    let _never_fails = JsFuture::from(js_sys::Promise::new(&mut { wait })).await;
}

/// Resolves when no pointer button is pressed. An element that is redrawn between press and release
/// gets no click, so answers wait. The wait is bounded, because a browser may not report a release.
pub(crate) async fn pointer_released() {
    const FRAMES_MAX: u32 = 120;
    let is_pressed = || document().query_selector(":active").is_ok_and(|found| found.is_some());
    for _ in 0..FRAMES_MAX {
        if !is_pressed() {
            return;
        }
        next_frame().await;
    }
}

/// Returns the path of the page with its query.
pub(crate) fn address() -> String {
    let search = window().location().search().unwrap_or_default();
    path() + &search
}

/// Returns the path of the page without its query.
pub(crate) fn path() -> String {
    window().location().pathname().unwrap_or_default()
}

/// Copies `text` to the clipboard. Returns false when the browser refuses it.
pub(crate) async fn copy(text: &str) -> bool {
    let navigator = window().navigator();
    // The clipboard exists only in secure contexts: https and loopback.
    let exists = js_sys::Reflect::get(&navigator, &JsValue::from_str("clipboard"))
        .is_ok_and(|clipboard| !clipboard.is_undefined());
    exists && JsFuture::from(navigator.clipboard().write_text(text)).await.is_ok()
}

/// Returns a signal that is true once this time has passed since the call. The timer ends with the
/// calling component.
pub(crate) fn use_elapsed(wait: Duration) -> ReadSignal<bool> {
    let is_over = RwSignal::new(false);
    let expire = move || {
        is_over.try_set(true);
    };
    if let Ok(timer) = set_timeout_with_handle(expire, wait) {
        on_cleanup(move || timer.clear());
    }
    is_over.read_only()
}

/// Reports whether the page is on screen. Polling pauses while it is not.
pub(crate) fn is_page_visible() -> bool {
    !document().hidden()
}

/// Reports whether the pointer is on a row or a drawing, or the focus in one.
pub(crate) fn is_reader_in_content() -> bool {
    const READ: &str = "#content :is(tr, svg, .chart-plot):hover, #content :focus";
    document().query_selector(READ).is_ok_and(|element| element.is_some())
}

/// Reports whether the focused element takes typed text, so that letters are not shortcuts.
pub(crate) fn is_text_field_focused() -> bool {
    document().active_element().is_some_and(|element| takes_text(&element))
}

/// Reports whether the focused element is a link or a button, which handles Enter itself.
pub(crate) fn is_control_focused() -> bool {
    document()
        .active_element()
        .is_some_and(|element| matches!(element.tag_name().as_str(), "A" | "BUTTON"))
}

fn takes_text(element: &Element) -> bool {
    matches!(element.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT")
        || element.dyn_ref::<HtmlElement>().is_some_and(HtmlElement::is_content_editable)
}

/// Reports whether any text of the page is selected.
pub(crate) fn has_selected_text() -> bool {
    let selection = window().get_selection().ok().flatten();
    selection.is_some_and(|selection| !selection.is_collapsed())
}

/// Returns a signal of whether any text of the page is selected. It is updated while the calling
/// component exists.
pub(crate) fn use_text_selected() -> ReadSignal<bool> {
    const EVENT: &str = "selectionchange";
    let selected = RwSignal::new(false);
    let changed = Closure::<dyn FnMut()>::new(move || {
        selected.try_set(has_selected_text());
    });
    // The event is dispatched at the document and does not reach listeners of the window.
    let listener = changed.as_ref().unchecked_ref();
    let _refused = document().add_event_listener_with_callback(EVENT, listener);
    let listening = StoredValue::new_local(Some(changed));
    on_cleanup(move || {
        listening.try_update_value(|listening| {
            if let Some(changed) = listening.take() {
                let listener = changed.as_ref().unchecked_ref();
                let _refused = document().remove_event_listener_with_callback(EVENT, listener);
            }
        });
    });
    selected.read_only()
}

/// Scrolls the element with this id into view, by the shortest way.
pub(crate) fn scroll_into_view(id: &str) {
    scroll_to(id, web_sys::ScrollLogicalPosition::Nearest);
}

/// Scrolls the element with this id to the upper edge of the part of the page that scrolls.
pub(crate) fn scroll_to_upper_edge(id: &str) {
    scroll_to(id, web_sys::ScrollLogicalPosition::Start);
}

fn scroll_to(id: &str, position: web_sys::ScrollLogicalPosition) {
    if let Some(element) = document().get_element_by_id(id) {
        let options = web_sys::ScrollIntoViewOptions::new();
        options.set_block(position);
        element.scroll_into_view_with_scroll_into_view_options(&options);
    }
}

/// Calls `scrolled` after each scroll of any part of the page, while the calling component exists.
pub(crate) fn on_scroll(scrolled: impl FnMut() + 'static) {
    const EVENT: &str = "scroll";
    let heard = Closure::<dyn FnMut()>::new(scrolled);
    // The event does not bubble. It is captured on its way to the element that scrolls.
    let listener = heard.as_ref().unchecked_ref();
    let _refused = document().add_event_listener_with_callback_and_bool(EVENT, listener, true);
    let listening = StoredValue::new_local(Some(heard));
    on_cleanup(move || {
        listening.try_update_value(|listening| {
            if let Some(heard) = listening.take() {
                let listener = heard.as_ref().unchecked_ref();
                let _refused =
                    document().remove_event_listener_with_callback_and_bool(EVENT, listener, true);
            }
        });
    });
}

/// Returns the part of an element's height that is on screen, as two fractions from its top. `None`
/// for an element that does not exist or has no height.
pub(crate) fn part_on_screen(selector: &str) -> Option<(f64, f64)> {
    let element = document().query_selector(selector).ok().flatten()?;
    let bottom = window().inner_height().ok()?.as_f64()?;
    let place = element.get_bounding_client_rect();
    let at = |edge: f64| ((edge - place.top()) / place.height()).clamp(0.0, 1.0);
    (place.height() > 0.0).then(|| (at(0.0), at(bottom)))
}

/// Reports whether the element with this id has the focus.
pub(crate) fn has_focus(id: &str) -> bool {
    focused_id().is_some_and(|focused| focused == id)
}

/// Returns the id of the element that has the focus.
pub(crate) fn focused_id() -> Option<String> {
    document().active_element().map(|element| element.id())
}

/// Focuses the element with this id.
pub(crate) fn focus(id: &str) {
    if let Some(element) = document().get_element_by_id(id) {
        // Elements of drawings are not HTML elements, but take the focus in the same way.
        let _refused = element.unchecked_ref::<HtmlElement>().focus();
    }
}

/// Focuses the element with this id without scrolling to it.
pub(crate) fn focus_in_place(id: &str) {
    if let Some(element) = document().get_element_by_id(id) {
        let options = web_sys::FocusOptions::new();
        options.set_prevent_scroll(true);
        let _refused = element.unchecked_ref::<HtmlElement>().focus_with_options(&options);
    }
}

/// Saves a file under this name, as a click on a download link does.
pub(crate) fn download_file(file: &web_sys::Blob, name: &str) {
    let Ok(address) = web_sys::Url::create_object_url_with_blob(file) else { return };
    let link = document().create_element("a").ok();
    if let Some(link) = link.and_then(|link| link.dyn_into::<HtmlElement>().ok()) {
        let _refused = link.set_attribute("href", &address);
        let _refused = link.set_attribute("download", name);
        link.click();
    }
    let _refused = web_sys::Url::revoke_object_url(&address);
}

/// Returns width and height of the element's content in CSS pixels. Both are zero until it is laid
/// out.
pub(crate) fn element_size(node: NodeRef<html::Div>) -> Signal<(f64, f64)> {
    let size = RwSignal::new((0.0, 0.0));
    // The closure must live as long as the observer may call it.
    let watching =
        StoredValue::new_local(None::<(ResizeObserver, Closure<dyn FnMut(js_sys::Array)>)>);
    Effect::new(move |_| {
        let Some(element) = node.get() else { return };
        let seen = Closure::<dyn FnMut(js_sys::Array)>::new(move |entries: js_sys::Array| {
            if let Ok(entry) = entries.get(0).dyn_into::<ResizeObserverEntry>() {
                let content = entry.content_rect();
                size.try_set((content.width(), content.height()));
            }
        });
        if let Ok(observer) = ResizeObserver::new(seen.as_ref().unchecked_ref()) {
            let element: &Element = &element;
            observer.observe(element);
            watching.set_value(Some((observer, seen)));
        }
    });
    on_cleanup(move || {
        watching.try_update_value(|watching| {
            if let Some((observer, _)) = watching.take() {
                observer.disconnect();
            }
        });
    });
    Memo::new(move |_| size.get()).into()
}

/// Width up to which a window is narrow, as in the style sheets.
pub(crate) const NARROW_PX: f64 = 640.0;

/// Reports whether the window is as narrow as a phone, where details cover the list that they
/// belong to.
pub(crate) fn is_narrow() -> bool {
    let width = window().inner_width().ok().and_then(|width| width.as_f64());
    width.is_some_and(|width| width <= NARROW_PX)
}

/// Captures the pointer: its further events go to the element that it was pressed on.
pub(crate) fn capture_pointer(event: &web_sys::PointerEvent) {
    if let Some(element) =
        event.current_target().and_then(|target| target.dyn_into::<Element>().ok())
    {
        let _refused = element.set_pointer_capture(event.pointer_id());
    }
}

/// Reports whether a key was pressed with Ctrl, Meta or Alt. Such shortcuts belong to the browser.
pub(crate) fn has_command_key(event: &web_sys::KeyboardEvent) -> bool {
    event.ctrl_key() || event.meta_key() || event.alt_key()
}

/// Returns the relative position of a pointer across an element: 0 at its left edge, 1 at its right
/// edge.
pub(crate) fn fraction_across(element: &Element, client_x: i32) -> f64 {
    let area = element.get_bounding_client_rect();
    if area.width() <= 0.0 {
        return 0.0;
    }
    ((f64::from(client_x) - area.left()) / area.width()).clamp(0.0, 1.0)
}
