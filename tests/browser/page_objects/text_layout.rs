//! Finds texts that are drawn outside of their boxes, cut, or over each other.
//!
//! Owns the script that measures the texts of an open page. Owns no list of pages: `layout.rs`
//! chooses them, and checks the script with one example of each fault.

use super::strings;
use crate::harness::browser::Browser;

/// Script that returns one line for each kind of misplaced text, with the rectangles
/// `left,top..right,bottom`, in pixels of the window.
///
/// A box holds its texts if it draws a border or a ground, or is a cell, a card, or the first
/// rectangle of a group in a drawing. Texts with an ellipsis are meant to be cut, and so are texts
/// that can be scrolled or, in the map, moved. A floating box with a ground of its own covers the texts below it and may
/// leave its parents. The height of a text is that of its letters, without the room between lines.
const MISPLACED: &str = r"(async () => {
    await document.fonts.ready;
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
    const SLACK = 2, FAULTS_MAX = 12;
    const AXES = [['X', 'left', 'right'], ['Y', 'top', 'bottom']];
    const cached = compute => {
        const values = new Map();
        return e => { if (!values.has(e)) values.set(e, compute(e)); return values.get(e); };
    };
    const styleOf = cached(e => getComputedStyle(e));
    const roomOf = cached(e => {
        const card = e instanceof SVGGElement && e.querySelector(':scope > rect');
        return (card || e).getBoundingClientRect();
    });
    const alpha = colour => {
        const found = colour.includes('/') ? colour.match(/\/\s*([\d.]+)/)
            : colour.match(/^rgba\(.*,\s*([\d.]+)\)$/);
        return found ? Number(found[1]) : 1;
    };
    const ground = e => alpha(styleOf(e).backgroundColor);
    const floats = cached(e => {
        const { position, zIndex } = styleOf(e);
        const isAbove = position === 'absolute' && Number(zIndex) > 0;
        return ground(e) >= 0.9 && (isAbove || position === 'fixed' || position === 'sticky');
    });
    const isBox = cached(e => {
        if (e instanceof SVGElement) return Boolean(e.querySelector(':scope > rect'));
        const style = styleOf(e);
        const width = side => parseFloat(style[`border${side}Width`]);
        return e.matches('td, th, .card') || ground(e) > 0.02
            || (width('Left') > 0 && width('Right') > 0);
    });
    // Boxes between an absolutely positioned element and the box that it refers to neither hold it
    // nor cut it.
    const isReference = (e, position) => {
        const style = styleOf(e);
        return style.transform !== 'none' || style.willChange.includes('transform')
            || /strict|content|layout|paint/.test(style.contain)
            || (position === 'absolute' && style.position !== 'static');
    };
    // Returns the visible part of a text and its first fault, or null if no part is visible.
    const placed = (letters, first) => {
        const box = { ...letters };
        let fault = null, isHeld = true, from = '';
        for (let e = first; e && e !== document.body; e = e.parentElement) {
            const style = styleOf(e), room = roomOf(e);
            if (style.display === 'contents' || (from && !isReference(e, from))) continue;
            from = '';
            const isInline = style.display === 'inline' && !(e instanceof SVGSVGElement);
            const mayCut = style.textOverflow === 'ellipsis'
                || e.classList.contains('network-drawing')
                || !['none', ''].includes(style.webkitLineClamp ?? '');
            for (const [axis, low, high] of AXES) {
                const overflow = isInline ? 'visible' : style[`overflow${axis}`];
                const isOut = Math.max(room[low] - box[low], box[high] - room[high]) > SLACK;
                if (overflow === 'visible') {
                    if (isOut && isHeld && isBox(e)) fault ??= { kind: 'leaves', by: e };
                    continue;
                }
                if (isOut && !mayCut && ['hidden', 'clip'].includes(overflow)) {
                    fault ??= { kind: 'is cut by', by: e };
                }
                box[low] = Math.max(box[low], room[low]);
                box[high] = Math.min(box[high], room[high]);
            }
            if (box.right - box.left <= SLACK || box.bottom - box.top <= SLACK) return null;
            if (floats(e) && style.position !== 'sticky') isHeld = false;
            if (['absolute', 'fixed'].includes(style.position)) from = style.position;
        }
        return { box, fault };
    };
    const rectangles = (node, element) => {
        if (element instanceof SVGElement) return [element.getBoundingClientRect()];
        const range = document.createRange();
        range.selectNodeContents(node);
        return [...range.getClientRects()];
    };
    const named = e => [e.localName, ...e.classList].join('.');
    const selector = e => {
        const parts = [];
        for (let up = e; up && up !== document.body && parts.length < 3; up = up.parentElement) {
            parts.unshift(named(up));
        }
        const part = e.closest('table[aria-label], section[aria-label], aside[aria-label]');
        const of = part && part !== e ? `[aria-label='${part.getAttribute('aria-label')}'] ` : '';
        return of + parts.join(' > ');
    };
    const drawn = ({ left, top, right, bottom }) => {
        const [a, b, c, d] = [left, top, right, bottom].map(Math.round);
        return `[${a},${b}..${c},${d}]`;
    };
    const found = new Map();
    const report = (text, kind, by, rest) => {
        const names = [selector(text.element), selector(by)];
        const key = names.join(kind);
        const told = `'${text.words}' ${drawn(text.letters)}`;
        const line = `${names[0]} ${told} ${kind} ${names[1]} ${rest}`;
        const before = found.get(key);
        if (before) before.count++; else found.set(key, { line, count: 1 });
    };
    const texts = [];
    const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (nodes.nextNode()) {
        const node = nodes.currentNode, element = node.parentElement;
        const words = node.data.trim().replace(/\s+/g, ' ').slice(0, 60);
        const isSource = element.closest('script, style, template, textarea, select, title');
        const isVisible = element.checkVisibility(
            { checkOpacity: true, checkVisibilityCSS: true, contentVisibilityAuto: true });
        if (!words || isSource || !isVisible) continue;
        for (const { left, top, right, bottom, height } of rectangles(node, element)) {
            const letters = { left, right, top: top + height * 0.2, bottom: bottom - height * 0.2 };
            const place = placed(letters, element);
            if (!place) continue;
            const text = { words, node, element, letters, box: place.box };
            texts.push(text);
            const by = place.fault?.by;
            if (by) report(text, place.fault.kind, by, drawn(roomOf(by)));
        }
    }
    const floatsBelow = (e, common) => {
        for (; e !== common; e = e.parentElement) if (floats(e)) return true;
        return false;
    };
    const isCovered = (one, other) => {
        let common = one;
        while (!common.contains(other)) common = common.parentElement;
        return floatsBelow(one, common) || floatsBelow(other, common);
    };
    const shared = (one, other, low, high) =>
        Math.min(one[high], other[high]) - Math.max(one[low], other[low]);
    texts.sort((one, other) => one.box.top - other.box.top);
    texts.forEach((text, at) => {
        for (let next = at + 1; next < texts.length; next++) {
            const other = texts[next];
            if (other.box.top >= text.box.bottom - SLACK) break;
            const isOver = AXES.every(
                ([, low, high]) => shared(text.box, other.box, low, high) > SLACK);
            if (isOver && text.node !== other.node && !isCovered(text.element, other.element)) {
                report(text, 'overlaps', other.element, `'${other.words}' ${drawn(other.letters)}`);
            }
        }
    });
    const lines = [...found.values()].map(({ line, count }) =>
        count === 1 ? line : `${line}, and ${count - 1} more like it`);
    const more = lines.length - FAULTS_MAX;
    return more > 0 ? [...lines.slice(0, FAULTS_MAX), `${more} more kinds`] : lines;
})()";

/// Returns a line for each kind of misplaced text of the page: its selector, text and rectangle,
/// and the same of the box or the text that it collides with.
pub(in crate::browser) fn misplaced_texts(browser: &mut Browser) -> Vec<String> {
    strings(&browser.evaluate(MISPLACED))
}
