//! Connection state of the server, taken from the requests of all pages.
//!
//! Owns the questions that wait and when anything was heard last: an answer's head, or more of its
//! body. A server that refuses connections and one that says nothing for a while are both silent.

use std::cell::RefCell;

use leptos::prelude::window;
use wasm_bindgen_futures::JsFuture;

/// A question may wait so long for a sign of life before the server counts as silent.
const SILENT_MILLISECONDS: f64 = 10_000.0;
/// After so long without a question, the server is asked for a sign of life.
const IDLE_MILLISECONDS: f64 = 5_000.0;

#[derive(Debug, Default)]
struct Pulse {
    next_id: u64,
    /// Questions without an answer, and since when they wait.
    waiting: Vec<(u64, f64)>,
    heard_at: f64,
    lost: bool,
}

thread_local! {
    static PULSE: RefCell<Pulse> = RefCell::default();
}

impl Pulse {
    fn start(&mut self, now: f64) -> u64 {
        self.next_id += 1;
        self.waiting.push((self.next_id, now));
        self.next_id
    }

    fn end(&mut self, id: u64) {
        self.waiting.retain(|(other, _)| *other != id);
    }

    fn hear(&mut self, now: f64) {
        self.heard_at = now;
        self.lost = false;
    }

    fn answers(&self, now: f64) -> bool {
        let is_silent = now - self.heard_at > SILENT_MILLISECONDS;
        let waits = self.waiting.iter().any(|(_, since)| now - since > SILENT_MILLISECONDS);
        !(self.lost || (waits && is_silent))
    }

    fn is_idle(&self, now: f64) -> bool {
        self.waiting.is_empty() && now - self.heard_at > IDLE_MILLISECONDS
    }
}

/// A question that waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting(u64);

impl Waiting {
    pub(super) fn start() -> Self {
        Self(PULSE.with_borrow_mut(|pulse| pulse.start(js_sys::Date::now())))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        PULSE.with_borrow_mut(|pulse| pulse.end(self.0));
    }
}

/// Notes that the server said something.
pub(super) fn hear() {
    PULSE.with_borrow_mut(|pulse| pulse.hear(js_sys::Date::now()));
}

/// Notes that it could not be reached.
pub(super) fn lose() {
    PULSE.with_borrow_mut(|pulse| pulse.lost = true);
}

/// Returns whether the server answers.
pub(crate) fn server_answers() -> bool {
    PULSE.with_borrow(|pulse| pulse.answers(js_sys::Date::now()))
}

/// Asks for a sign of life when no page has asked anything for a while.
pub(crate) async fn check_when_idle() {
    let is_due = PULSE.with_borrow(|pulse| pulse.is_idle(js_sys::Date::now()) || pulse.lost);
    if !is_due {
        return;
    }
    let waiting = Waiting::start();
    match JsFuture::from(window().fetch_with_str("/live")).await {
        Ok(_) => hear(),
        Err(_) => lose(),
    }
    drop(waiting);
}

#[cfg(test)]
mod tests {
    use super::Pulse;

    #[test]
    fn a_server_that_is_gone_or_says_nothing_for_a_while_is_silent() {
        let mut pulse = Pulse::default();
        pulse.hear(0.0);
        let first = pulse.start(1_000.0);
        assert!(pulse.answers(9_000.0));
        assert!(!pulse.answers(11_100.0), "a question waits for ten seconds");
        pulse.hear(11_200.0);
        assert!(pulse.answers(11_300.0), "more of the answer came");
        pulse.end(first);
        assert!(pulse.answers(60_000.0), "nothing is asked");
        pulse.lost = true;
        assert!(!pulse.answers(60_000.0));
        pulse.hear(61_000.0);
        assert!(pulse.answers(61_000.0));
    }

    #[test]
    fn a_sign_of_life_is_asked_for_only_when_nothing_else_is() {
        let mut pulse = Pulse::default();
        pulse.hear(0.0);
        assert!(!pulse.is_idle(1_000.0) && pulse.is_idle(6_000.0));
        pulse.start(6_000.0);
        assert!(!pulse.is_idle(7_000.0));
    }
}
