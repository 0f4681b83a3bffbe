//! Server-sent events.
//!
//! An [`EventStream`] is open until it is dropped. When its connection breaks, the browser reopens
//! it and resumes after the last event. It knows nothing of the meaning of events.

use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{EventSource, MessageEvent};

/// State of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// Events arrive.
    Open,
    /// It broke, and the browser reconnects.
    Broken,
    /// The answer of the server was not a stream of events. There is no retry.
    Refused,
}

/// An open stream.
pub(crate) struct EventStream {
    source: EventSource,
    _events: Vec<Closure<dyn FnMut(MessageEvent)>>,
    _changes: [Closure<dyn FnMut()>; 2],
}

impl EventStream {
    /// Opens the stream: `on_event` gets the name and the data of every event of these names.
    pub(crate) fn open(
        address: &str,
        names: &[&'static str],
        on_event: impl Fn(&'static str, &str) + Clone + 'static,
        on_change: impl Fn(Connection) + Clone + 'static,
    ) -> Option<Self> {
        let source = EventSource::new(address).ok()?;
        let listen = |name: &'static str| {
            let on_event = on_event.clone();
            let heard = move |event: MessageEvent| {
                on_event(name, &event.data().as_string().unwrap_or_default());
            };
            let heard = Closure::<dyn FnMut(MessageEvent)>::new(heard);
            let listener = heard.as_ref().unchecked_ref();
            source.add_event_listener_with_callback(name, listener).ok()?;
            Some(heard)
        };
        let events = names.iter().copied().map(listen).collect::<Option<Vec<_>>>()?;
        let (event_source, opened) = (source.clone(), on_change.clone());
        let opened = Closure::<dyn FnMut()>::new(move || opened(Connection::Open));
        let broken = Closure::<dyn FnMut()>::new(move || {
            let refused = event_source.ready_state() == EventSource::CLOSED;
            on_change(if refused { Connection::Refused } else { Connection::Broken });
        });
        source.set_onopen(Some(opened.as_ref().unchecked_ref()));
        source.set_onerror(Some(broken.as_ref().unchecked_ref()));
        Some(Self { source, _events: events, _changes: [opened, broken] })
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.source.set_onopen(None);
        self.source.set_onerror(None);
        self.source.close();
    }
}
