//! Shares of time as a strip, each in its service's colour. Time in which a service waits for a peer
//! without spans is hatched.

use leptos::prelude::*;
use tidings_proto::api::ServiceTime;

use crate::{colour, format, number_format};

/// Parts narrower than this are merged.
const SHARE_MIN: f64 = 0.005;
/// Share of a page-wide strip that a letter of a part's name needs.
const SHARE_PER_LETTER: f64 = 0.0085;
/// Words for the waiting of a service where no peer has most of it.
const FOR_PEERS: &str = "waiting for peers";
/// Explanation of hatched parts.
const HATCHED: &str = "In calls to databases and outside systems that send no spans";

/// A part of a strip.
#[derive(Debug, Clone, PartialEq)]
pub struct StripPart {
    /// The service that gives its colour.
    pub service: String,
    /// Its words.
    pub words: String,
    /// Its share of the whole, 0 to 1.
    pub share: f64,
    /// Words for the peer that the service waits for. `None` in a part that is not hatched.
    pub waiting: Option<String>,
}

impl StripPart {
    /// The time of an operation.
    #[must_use]
    pub fn of_operation(service: &str, operation: &str, share: f64) -> Self {
        let words = format!("{}: {}", format::service(service), format::operation(operation));
        let words = number_format::truncate(&words, 80);
        Self { service: service.to_owned(), words, share, waiting: None }
    }

    /// The time of a service on the critical path, which has this share of the whole. The time in
    /// which it waits for peers is a part of its own where both parts are wide enough.
    #[must_use]
    pub fn of_service(time: &ServiceTime, share: f64) -> Vec<Self> {
        let name = number_format::truncate(format::service(&time.service), 60);
        let ratio = number_format::ratio(time.critical_waiting_nano.0, time.critical_nano.0);
        let waiting_share = match share * ratio {
            waiting if waiting < SHARE_MIN => 0.0,
            waiting if share - waiting < SHARE_MIN => share,
            waiting => waiting,
        };
        let waiting = waiting_words(time);
        let part = |words: String, share: f64, waiting: Option<String>| Self {
            service: time.service.clone(),
            words,
            share,
            waiting,
        };
        let waits = part(format!("{name} {waiting}"), waiting_share, Some(waiting));
        let works = part(name, share - waiting_share, None);
        [works, waits].into_iter().filter(|part| part.share > 0.0).collect()
    }

    /// Returns its words and its share.
    #[must_use]
    pub fn title(&self) -> String {
        part_title(&self.words, self.share)
    }
}

fn waiting_words(time: &ServiceTime) -> String {
    let peer = time.critical_waiting_peer.as_deref();
    peer.map_or_else(
        || FOR_PEERS.to_owned(),
        |peer| format!("waiting for {}", number_format::truncate(format::peer(peer), 40)),
    )
}

/// The key of hatched parts, if there are any. It names the peer where there is one for all.
#[must_use]
pub fn waiting_key(parts: &[StripPart]) -> Option<impl IntoView + use<>> {
    let words = key_words(parts)?.to_owned();
    Some(view! {
        <span class="wf-key is-hatched mute" title=HATCHED>
            <bdi>{words}</bdi>
        </span>
    })
}

fn key_words(parts: &[StripPart]) -> Option<&str> {
    let mut waits = parts.iter().filter_map(|part| part.waiting.as_deref());
    let first = waits.next()?;
    Some(if waits.all(|words| words == first) { first } else { FOR_PEERS })
}

/// The shares of a strip, by how they are drawn.
#[derive(Debug)]
struct StripShares {
    /// The parts that are wide enough to be drawn alone.
    drawn: Vec<StripPart>,
    /// Number of narrower parts, which are drawn as one.
    small_count: u64,
    small_share: f64,
    /// The share that no part covers.
    rest: f64,
}

fn strip_shares(parts: Vec<StripPart>) -> StripShares {
    let (drawn, small): (Vec<StripPart>, Vec<StripPart>) =
        parts.into_iter().filter(|part| part.share > 0.0).partition(|part| part.share >= SHARE_MIN);
    let sum = |parts: &[StripPart]| parts.iter().map(|part| part.share).sum::<f64>();
    let small_share = sum(&small);
    let rest = (1.0 - sum(&drawn) - small_share).clamp(0.0, 1.0);
    StripShares { drawn, small_count: small.len() as u64, small_share, rest }
}

fn part_title(words: &str, share: f64) -> String {
    format!("{words} {}", number_format::share(share))
}

/// Reports whether words have room in a part of a page-wide strip.
fn has_room(words: &str, share: f64) -> bool {
    words.chars().count() as f64 * SHARE_PER_LETTER < share
}

/// A part in its service's colour. In a strip that has names it shows its words and its share where
/// there is room.
pub fn strip_part(part: &StripPart, title: String, has_names: bool) -> impl IntoView + use<> {
    let words = part.title();
    let is_waiting = part.waiting.is_some();
    let name = (has_names && has_room(&words, part.share)).then(|| view! { <bdi>{words}</bdi> });
    view! {
        <span
            class="strip-part"
            class:strip-waiting=is_waiting
            style=("--hue", colour::hue_value(&part.service))
            style=("flex-grow", format!("{:.4}", part.share))
            title=title
        >
            {name}
        </span>
    }
}

/// A part that has no service's colour.
fn grey_part(
    class: &'static str,
    share: f64,
    title: String,
    name: Option<String>,
) -> impl IntoView {
    let name = name.map(|name| view! { <bdi>{name}</bdi> });
    view! {
        <span class=class style=("flex-grow", format!("{share:.4}")) title=title>
            {name}
        </span>
    }
}

/// The strip. Small parts are one grey part, and the part of the whole that no part covers is
/// another.
#[component]
pub fn TimeStrip(
    /// The parts, greatest first.
    parts: Vec<StripPart>,
    /// Noun for one part.
    #[prop(default = "service")]
    noun: &'static str,
    /// Words for the share that no part covers, which are after the strip where it is too narrow.
    /// Parts of a strip with such words show their names where there is room, and hatched parts have
    /// a key after it.
    #[prop(optional)]
    rest_words: Option<&'static str>,
) -> impl IntoView {
    let spoken = parts.iter().take(6).map(StripPart::title);
    let spoken = spoken.collect::<Vec<_>>().join(", ");
    let has_names = rest_words.is_some();
    let key = rest_words.and_then(|_| waiting_key(&parts));
    let StripShares { drawn, small_count, small_share, rest } = strip_shares(parts);
    let drawn = drawn.iter().map(|part| strip_part(part, part.title(), has_names)).collect_view();
    let small = (small_count > 0).then(|| {
        let others = format::counted(small_count, &format!("other {noun}"));
        grey_part("strip-part strip-small", small_share, part_title(&others, small_share), None)
    });
    let has_rest = rest > SHARE_MIN;
    let rest_title = part_title(rest_words.unwrap_or("the rest"), rest);
    let rest_name = (has_names && has_room(&rest_title, rest)).then(|| rest_title.clone());
    let is_beside = has_rest && has_names && rest_name.is_none();
    let beside = is_beside.then(|| view! { <span class="mute">{rest_title.clone()}</span> });
    let rest = has_rest.then(|| grey_part("strip-part strip-rest", rest, rest_title, rest_name));
    view! {
        <div class="time-strip" role="img" aria-label=spoken>
            {drawn}
            {small}
            {rest}
        </div>
        {beside}
        {key}
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::{DurationNanos, api::ServiceTime};

    use super::{StripPart, key_words, part_title, strip_shares};

    #[test]
    fn small_parts_are_no_part_of_the_rest() {
        let part = |share: f64| StripPart {
            service: "pay".to_owned(),
            words: "pay".to_owned(),
            share,
            waiting: None,
        };
        let shares = strip_shares([0.9, 0.05, 0.003, 0.001, 0.0].map(part).to_vec());
        assert_eq!((shares.drawn.len(), shares.small_count), (2, 2));
        assert_eq!(part_title("small", shares.small_share), "small 0.4 %");
        assert_eq!(part_title("after the answer", shares.rest), "after the answer 4.6 %");
        let whole = strip_shares([0.7, 0.4].map(part).to_vec());
        assert_eq!((whole.small_count, part_title("rest", whole.rest)), (0, "rest 0 %".to_owned()));
    }

    fn parts_of(critical: u64, waiting: u64, peer: Option<&str>, share: f64) -> Vec<StripPart> {
        let time = ServiceTime {
            service: "fraud".to_owned(),
            span_count: 1,
            error_count: 0,
            busy_nano: DurationNanos(critical),
            self_nano: DurationNanos(critical),
            waiting_nano: DurationNanos(waiting),
            critical_nano: DurationNanos(critical),
            critical_share: share,
            critical_waiting_nano: DurationNanos(waiting),
            critical_waiting_peer: peer.map(str::to_owned),
        };
        StripPart::of_service(&time, share)
    }

    #[test]
    fn waiting_for_a_peer_is_a_part_of_its_own() {
        let whole = "fraud waiting for rules-db 80.0 %";
        for (waiting, peer, share, titles) in [
            (75, Some("rules-db"), 0.8, &["fraud 20.0 %", "fraud waiting for rules-db 60.0 %"][..]),
            (75, None, 0.8, &["fraud 20.0 %", "fraud waiting for peers 60.0 %"]),
            (0, None, 0.8, &["fraud 80.0 %"]),
            (100, Some("rules-db"), 0.8, &[whole]),
            (75, Some("rules-db"), 0.004, &["fraud 0.4 %"]),
            (0, None, 0.0, &[]),
        ] {
            let parts = parts_of(100, waiting, peer, share);
            assert_eq!(parts.iter().map(StripPart::title).collect::<Vec<_>>(), titles);
        }
    }

    #[test]
    fn the_key_names_a_peer_that_is_the_only_one() {
        let [own, rules, stock] = [(0, ""), (50, "rules-db"), (50, "stock-db")]
            .map(|(waiting, peer)| parts_of(100, waiting, Some(peer), 0.5));
        assert_eq!(key_words(&own), None);
        assert_eq!(key_words(&[own, rules.clone()].concat()), Some("waiting for rules-db"));
        assert_eq!(key_words(&[rules, stock].concat()), Some("waiting for peers"));
    }
}
