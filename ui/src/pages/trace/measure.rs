//! The size of an element, as a signal.

use leptos::{html, prelude::*, wasm_bindgen::JsCast};
use wasm_bindgen::closure::Closure;
use web_sys::{Element, ResizeObserver, ResizeObserverEntry};

/// Width and height of the element's content in CSS pixels; zero until it is laid out.
pub(crate) fn size_of(node: NodeRef<html::Div>) -> Signal<(f64, f64)> {
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

/// Relative position of a pointer across an element: 0 at its left edge, 1 at its right.
pub(crate) fn fraction_across(element: &Element, client_x: i32) -> f64 {
    let area = element.get_bounding_client_rect();
    if area.width() <= 0.0 {
        return 0.0;
    }
    ((f64::from(client_x) - area.left()) / area.width()).clamp(0.0, 1.0)
}
