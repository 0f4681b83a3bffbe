//! Page object of the map: nodes, edges, the focus with its depth, and the chart of requests below.

use serde_json::{Value as Json, json};

use super::{Page, strings};
use crate::harness::{Server, browser::Browser};

const NODES: &str =
    "[...document.querySelectorAll('[role=group][aria-label=\"Service map\"] [role=button]')]";

pub(in crate::browser) struct MapPage<'a> {
    pub(in crate::browser) page: Page<'a>,
}

impl<'a> MapPage<'a> {
    pub(in crate::browser) fn open(browser: &'a mut Browser, server: &Server) -> Self {
        let mut page = Page::open(browser, server, "/map");
        page.wait_for(&format!("{NODES}.length > 5"));
        Self { page }
    }

    /// Returns the name of each node, which is its first text.
    pub(in crate::browser) fn nodes(&mut self) -> Vec<String> {
        let names = self
            .page
            .browser
            .evaluate(&format!("{NODES}.map(e => e.querySelector('text').textContent.trim())"));
        strings(&names)
    }

    /// Waits until the number of drawn nodes meets a condition, such as `< 5`.
    pub(in crate::browser) fn wait_for_nodes(&mut self, number: &str) {
        self.page.wait_for(&format!("{NODES}.length {number}"));
    }

    /// Clicks the node whose description begins with these words.
    pub(in crate::browser) fn pick_described(&mut self, words: &str) {
        self.page.click(&format!(
            "{NODES}.find(e => e.getAttribute('aria-label').startsWith({}))?.querySelector('rect')",
            json!(words)
        ));
        self.wait_for_panel(words);
    }

    /// Clicks the node with this name.
    pub(in crate::browser) fn pick(&mut self, name: &str) {
        self.page.click(&format!(
            "{NODES}.find(e => e.querySelector('text').textContent.trim() === {})?.querySelector('rect')",
            json!(name)
        ));
        self.wait_for_panel(name);
    }

    /// Clicks a row of a list of the panel: an edge of the picked node, or a peer that the node
    /// stands for.
    pub(in crate::browser) fn pick_of_list(&mut self, name: &str) {
        self.page.click(&format!(
            "[...document.querySelectorAll('[aria-label=\"Selection\"] li button')] \
             .find(e => e.innerText.trim().startsWith({}))",
            json!(name)
        ));
    }

    /// Waits until the whole card of the node with this name is in view.
    pub(in crate::browser) fn wait_for_card(&mut self, name: &str) {
        self.page.wait_for(&format!(
            "((card, frame) => card && card.left >= frame.left && card.right <= frame.right \
             && card.top >= frame.top && card.bottom <= frame.bottom)\
             ({NODES}.find(e => e.querySelector('text').textContent.trim() === {})\
             ?.querySelector('rect').getBoundingClientRect(), \
             document.querySelector('.network').getBoundingClientRect())",
            json!(name)
        ));
    }

    /// Returns the height of the smallest drawn letters, in screen pixels.
    pub(in crate::browser) fn smallest_letters(&mut self) -> f64 {
        let smallest = self.page.browser.evaluate(
            "Math.min(...[...document.querySelectorAll('.network-drawing text')] \
             .filter(e => e.textContent && e.getClientRects().length) \
             .map(e => parseFloat(getComputedStyle(e).fontSize) * e.getScreenCTM().a))",
        );
        smallest.as_f64().unwrap()
    }

    /// Waits until the panel describes the node or edge of this name.
    pub(in crate::browser) fn wait_for_panel(&mut self, name: &str) {
        self.page.wait_for(&format!(
            "document.querySelector('[aria-label=\"Selection\"] h2')?.innerText.includes({})",
            json!(name)
        ));
    }

    /// Opens the explanation of the numbers below the map.
    pub(in crate::browser) fn explain_numbers(&mut self) {
        self.page.press_button("What the numbers are");
        self.page.wait_for("document.querySelector('.map-explain[aria-expanded=true]')");
    }

    /// Drags over the middle third of the chart of requests.
    pub(in crate::browser) fn scrub(&mut self) {
        let plot = "document.querySelector('figure[aria-label=\"Calls of all services\"] [role=application]')";
        self.page.wait_for(plot);
        let place = self.page.browser.evaluate(&format!(
            "(() => {{ {plot}.scrollIntoView({{ block: 'nearest' }}); const r = {plot}.getBoundingClientRect(); \
             return [r.left + r.width / 3, r.left + r.width * 2 / 3, r.top + r.height / 2]; }})()"
        ));
        let at = |index: usize| place[index].as_f64().unwrap();
        self.page.browser.drag([at(0), at(2)], [at(1), at(2)]);
    }
}

/// The buttons to the cards that are not in view.
const MORE: &str = "[...document.querySelectorAll('.network-more')]";

/// The frame of the map and its cards, as rectangles on the screen.
const FRAME: &str = "document.querySelector('.network').getBoundingClientRect()";
const CARDS: &str =
    "[...document.querySelectorAll('.network-card')].map(e => e.getBoundingClientRect())";

impl MapPage<'_> {
    /// Reports whether the map says that some cards are not in view.
    pub(in crate::browser) fn has_more(&mut self) -> bool {
        self.page.browser.evaluate(&format!("{MORE}.length > 0")) == true
    }

    /// Waits until the map says that some cards are not in view.
    pub(in crate::browser) fn wait_for_more(&mut self) {
        self.page.wait_for(&format!("{MORE}.length > 0"));
    }

    /// Returns the number of cards that are not in view at a side, as its button says it.
    pub(in crate::browser) fn more_at(&mut self, side: &str) -> u64 {
        let count = format!(
            "parseInt(document.querySelector('.network-more.is-{side}')?.innerText ?? '0')"
        );
        self.page.browser.evaluate(&count).as_u64().unwrap()
    }

    /// Presses the button to the cards at a side by the keyboard, and waits until it has moved the
    /// map.
    pub(in crate::browser) fn enter_more_at(&mut self, side: &str) {
        let at = format!("{CARDS}.map(card => Math.round(card.x) + ' ' + Math.round(card.y))[0]");
        let before = self.page.browser.evaluate(&at);
        let button = format!("document.querySelector('.network-more.is-{side}')");
        self.page.browser.evaluate(&format!("{button}.focus()"));
        self.page.browser.press("Enter");
        self.page.wait_for(&format!("{at} !== {before}"));
    }

    /// Returns a word for each card that is partly outside of the frame or lies over another.
    pub(in crate::browser) fn card_faults(&mut self) -> Json {
        self.page.browser.evaluate(&format!(
            "((frame, cards) => cards.flatMap((one, at) => [ \
               one.left < frame.left || one.right > frame.right || one.top < frame.top \
                 || one.bottom > frame.bottom ? ['outside'] : [], \
               cards.some((other, place) => place > at && one.left < other.right \
                 && other.left < one.right && one.top < other.bottom && other.top < one.bottom) \
                 ? ['over another'] : []].flat()))({FRAME}, {CARDS})"
        ))
    }

    /// Returns the part of the frame's width or height that the cards take, whichever is larger.
    pub(in crate::browser) fn filled_part(&mut self) -> f64 {
        let part = self.page.browser.evaluate(&format!(
            "((frame, cards) => Math.max( \
               (Math.max(...cards.map(e => e.right)) - Math.min(...cards.map(e => e.left))) / frame.width, \
               (Math.max(...cards.map(e => e.bottom)) - Math.min(...cards.map(e => e.top))) / frame.height)) \
             ({FRAME}, {CARDS})"
        ));
        part.as_f64().unwrap()
    }

    /// Waits until the alarm of a node is drawn: its words on the card, or a mark of at least 12 px
    /// on the screen on a map that is too small for words.
    pub(in crate::browser) fn wait_for_alarm(&mut self, name: &str) {
        self.page.wait_for(&format!(
            "(node => node?.classList.contains('has-failed') && ( \
               [...node.querySelectorAll('.network-alarm')].some(e => e.textContent && e.getClientRects().length) \
               || [...document.querySelectorAll('.network-far-mark')].some(e => \
                    getComputedStyle(e).display !== 'none' && parseFloat(getComputedStyle(e).strokeWidth) >= 12)))\
             ({NODES}.find(e => e.querySelector('text').textContent.trim() === {}))",
            json!(name)
        ));
    }

    /// Returns the texts of cards that reach beyond their card.
    pub(in crate::browser) fn texts_outside_cards(&mut self) -> Json {
        self.page.browser.evaluate(&format!(
            "{NODES}.flatMap(node => (card => [...node.querySelectorAll('text')] \
               .filter(e => e.textContent && e.getClientRects().length) \
               .filter(e => (box => box.left < card.left || box.right > card.right \
                 || box.top < card.top || box.bottom > card.bottom)(e.getBoundingClientRect())) \
               .map(e => e.textContent))(node.querySelector('.network-card').getBoundingClientRect()))"
        ))
    }

    /// Clicks the line of an edge at its middle.
    pub(in crate::browser) fn click_edge(&mut self, from: &str, to: &str) {
        let middle = format!(
            "(() => {{ const edge = [...document.querySelectorAll('.network-edge')].find(e => \
             /^{from} calls {to}\\b/.test(e.querySelector('title').textContent)); \
             const path = edge?.querySelector('path'); if (!path) return null; \
             for (const part of [0.5, 0.4, 0.6, 0.3, 0.7]) {{ \
               const at = path.getPointAtLength(path.getTotalLength() * part).matrixTransform(path.getScreenCTM()); \
               if (edge.contains(document.elementFromPoint(at.x, at.y))) return [at.x, at.y]; }} \
             return null; }})()"
        );
        self.page.wait_for(&middle);
        let at = self.page.browser.evaluate(&middle);
        self.page.browser.click_at(at[0].as_f64().unwrap(), at[1].as_f64().unwrap());
    }
}
