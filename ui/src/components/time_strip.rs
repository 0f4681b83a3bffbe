//! Shares of time as a strip, each in its service's colour. Time in which a service waits for a peer
//! without spans is dotted.

use leptos::prelude::*;
use tidings_proto::{DurationNanos, api::ServiceTime};

use crate::{colour, format, number_format};

/// Parts narrower than this are merged.
const SHARE_MIN: f64 = 0.005;
/// Words for the waiting of a service where no peer has most of it.
const FOR_PEERS: &str = "waiting for peers";
/// Words for its waiting for all peers except the named one.
const FOR_OTHER_PEERS: &str = "waiting for other peers";
/// Explanation of dotted parts.
const DOTTED: &str = "In calls to databases and outside systems that send no spans";

/// A part of a strip.
#[derive(Debug, Clone, PartialEq)]
pub struct StripPart {
    /// The service that gives its colour.
    pub service: String,
    /// Its words.
    pub words: String,
    /// The name in them that stands alone where the words have no room.
    pub short: String,
    /// Its share of the whole, 0 to 1.
    pub share: f64,
    /// The share that it is drawn with. It includes narrower parts of the same service.
    pub width: f64,
    /// Its time, where it is known.
    pub time: Option<DurationNanos>,
    /// Words for the peer that the service waits for. `None` in a part that is not dotted.
    pub waiting: Option<String>,
}

impl StripPart {
    /// The time of an operation.
    #[must_use]
    pub fn of_operation(service: &str, operation: &str, share: f64) -> Self {
        let short = number_format::truncate(format::service(service), 60);
        let words = format!("{short}: {}", format::operation(operation));
        let words = number_format::truncate(&words, 80);
        let service = service.to_owned();
        Self { service, words, short, share, width: share, time: None, waiting: None }
    }

    /// The time of a service on the critical path, which has this share of the whole. The times in
    /// which it waits for the named peer and for others are parts of their own where they are wide
    /// enough. Narrower parts widen the greatest one and do not change its number.
    #[must_use]
    pub fn of_service(time: &ServiceTime, share: f64) -> Vec<Self> {
        let own = time.critical_nano.0.saturating_sub(time.critical_waiting_nano.0);
        let mut parts = Self::of_waiting(time, share);
        parts.insert(0, Self::of_time(time, DurationNanos(own), share));
        parts.retain(|part| part.share >= SHARE_MIN);
        if parts.iter().all(|part| part.waiting.is_none()) {
            parts = vec![Self::of_time(time, time.critical_nano, share)];
            parts.retain(|part| part.share > 0.0);
            return parts;
        }
        let narrow = share - parts.iter().map(|part| part.share).sum::<f64>();
        if let Some(widest) = parts.iter_mut().max_by(|a, b| a.share.total_cmp(&b.share)) {
            widest.width += narrow;
        }
        parts
    }

    /// A part of the time of a service on the critical path, all of which has this share.
    fn of_time(service: &ServiceTime, time: DurationNanos, share: f64) -> Self {
        let name = number_format::truncate(format::service(&service.service), 60);
        let share = share * number_format::ratio(time.0, service.critical_nano.0);
        Self {
            service: service.service.clone(),
            words: name.clone(),
            short: name,
            share,
            width: share,
            time: Some(time),
            waiting: None,
        }
    }

    /// The times in which a service waits: for the peer that the API names and for the others, or
    /// for all together where it names none.
    fn of_waiting(time: &ServiceTime, share: f64) -> Vec<Self> {
        let waits = |nanos: DurationNanos, waiting: String| {
            let part = Self::of_time(time, nanos, share);
            Self { words: format!("{} {waiting}", part.words), waiting: Some(waiting), ..part }
        };
        let all = time.critical_waiting_nano;
        let named = time.critical_waiting_peer.as_deref().zip(time.critical_waiting_peer_nano);
        let Some((peer, nanos)) = named else { return vec![waits(all, FOR_PEERS.to_owned())] };
        let peer = number_format::truncate(format::peer(peer), 40);
        let for_peer = waits(nanos, format!("waiting for {peer}"));
        let others = DurationNanos(all.0.saturating_sub(nanos.0));
        vec![Self { short: peer, ..for_peer }, waits(others, FOR_OTHER_PEERS.to_owned())]
    }

    /// Returns its words and its share.
    #[must_use]
    pub fn title(&self) -> String {
        part_title(&self.words, self.share)
    }

    /// Returns its title and shorter forms of it, longest first. Each leaves out letters of the one
    /// before it, so that it is narrower in any font.
    fn names(&self) -> Vec<String> {
        let mut names = vec![self.title(), part_title(&self.short, self.share), self.short.clone()];
        names.dedup();
        names
    }
}

/// The key of dotted parts, if there are any. It names the peer where there is one for all.
#[must_use]
pub fn waiting_key(parts: &[StripPart]) -> Option<impl IntoView + use<>> {
    let words = key_words(parts)?.to_owned();
    Some(view! {
        <span class="wf-key is-dotted mute" title=DOTTED>
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
        parts.into_iter().filter(|part| part.width > 0.0).partition(|part| part.width >= SHARE_MIN);
    let sum = |parts: &[StripPart]| parts.iter().map(|part| part.width).sum::<f64>();
    let small_share = sum(&small);
    let rest = (1.0 - sum(&drawn) - small_share).clamp(0.0, 1.0);
    StripShares { drawn, small_count: small.len() as u64, small_share, rest }
}

fn part_title(words: &str, share: f64) -> String {
    format!("{words} {}", number_format::share(share))
}

/// A part in its service's colour. In a strip that has names it shows its words and its share, or
/// the longest form of them that has room, which the styles choose.
pub fn strip_part(part: &StripPart, title: String, has_names: bool) -> impl IntoView + use<> {
    let is_waiting = part.waiting.is_some();
    let name = |name: String| {
        view! {
            <span class="strip-name">
                <bdi>{name}</bdi>
            </span>
        }
    };
    let names = has_names.then(|| part.names().into_iter().map(name).collect_view());
    view! {
        <span
            class="strip-part"
            class:strip-waiting=is_waiting
            style=("--hue", colour::hue_value(&part.service))
            style=("flex-grow", format!("{:.4}", part.width))
            title=title
        >
            {names}
        </span>
    }
}

/// A part that has no service's colour.
fn grey_part(class: &'static str, share: f64, title: String) -> impl IntoView {
    view! { <span class=class style=("flex-grow", format!("{share:.4}")) title=title></span> }
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
    /// Words for the share that no part covers, which are after the strip. Parts of a strip with
    /// such words show their names where there is room, and dotted parts have a key after it.
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
        grey_part("strip-part strip-small", small_share, part_title(&others, small_share))
    });
    let has_rest = rest > SHARE_MIN;
    let rest_title = part_title(rest_words.unwrap_or("the rest"), rest);
    let is_beside = has_rest && has_names;
    let beside = is_beside.then(|| view! { <span class="mute">{rest_title.clone()}</span> });
    let rest = has_rest.then(|| grey_part("strip-part strip-rest", rest, rest_title));
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
            short: "pay".to_owned(),
            share,
            width: share,
            time: None,
            waiting: None,
        };
        let shares = strip_shares([0.9, 0.05, 0.003, 0.001, 0.0].map(part).to_vec());
        assert_eq!((shares.drawn.len(), shares.small_count), (2, 2));
        assert_eq!(part_title("small", shares.small_share), "small 0.4 %");
        assert_eq!(part_title("after the answer", shares.rest), "after the answer 4.6 %");
        let whole = strip_shares([0.7, 0.4].map(part).to_vec());
        assert_eq!((whole.small_count, part_title("rest", whole.rest)), (0, "rest 0 %".to_owned()));
    }

    fn parts_of(
        [critical, waiting]: [u64; 2],
        peer: Option<(&str, u64)>,
        share: f64,
    ) -> Vec<StripPart> {
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
            critical_waiting_peer: peer.map(|(peer, _)| peer.to_owned()),
            critical_waiting_peer_nano: peer.map(|(_, nanos)| DurationNanos(nanos)),
        };
        StripPart::of_service(&time, share)
    }

    #[test]
    fn waiting_for_a_peer_is_a_part_of_its_own() {
        let whole = "fraud waiting for rules-db 80.0 %";
        let rules = |nanos: u64| Some(("rules-db", nanos));
        for (waiting, peer, share, titles) in [
            (75, rules(75), 0.8, &["fraud 20.0 %", "fraud waiting for rules-db 60.0 %"][..]),
            (75, None, 0.8, &["fraud 20.0 %", "fraud waiting for peers 60.0 %"]),
            (0, None, 0.8, &["fraud 80.0 %"]),
            (100, rules(100), 0.8, &[whole]),
            (75, rules(75), 0.004, &["fraud 0.4 %"]),
            (0, None, 0.0, &[]),
        ] {
            let parts = parts_of([100, waiting], peer, share);
            assert_eq!(parts.iter().map(StripPart::title).collect::<Vec<_>>(), titles);
        }
    }

    #[test]
    fn a_narrow_part_widens_another_and_is_not_in_its_number() {
        let parts = parts_of([7_982, 7_925], Some(("rules-db", 7_920)), 0.625);
        let [part] = &parts[..] else { panic!("{parts:?}") };
        assert_eq!(part.title(), "fraud waiting for rules-db 62.0 %");
        assert_eq!(part.time, Some(DurationNanos(7_920)));
        assert!((part.width - 0.625).abs() < 1e-9, "{}", part.width);
    }

    #[test]
    fn waiting_for_others_is_not_given_to_the_named_peer() {
        let parts = parts_of([100, 90], Some(("rules-db", 60)), 0.5);
        let titles = parts.iter().map(StripPart::title).collect::<Vec<_>>();
        let rules = "fraud waiting for rules-db 30.0 %";
        assert_eq!(titles, ["fraud 5.0 %", rules, "fraud waiting for other peers 15.0 %"]);
        assert_eq!(parts[0].names(), ["fraud 5.0 %", "fraud"]);
        assert_eq!(parts[1].names(), [rules, "rules-db 30.0 %", "rules-db"]);
        assert_eq!(parts[2].names()[1..], ["fraud 15.0 %", "fraud"]);
    }

    #[test]
    fn the_key_names_a_peer_that_is_the_only_one() {
        let [own, rules, stock] = [(0, ""), (50, "rules-db"), (50, "stock-db")]
            .map(|(waiting, peer)| parts_of([100, waiting], Some((peer, waiting)), 0.5));
        assert_eq!(key_words(&own), None);
        assert_eq!(key_words(&[own, rules.clone()].concat()), Some("waiting for rules-db"));
        assert_eq!(key_words(&[rules, stock].concat()), Some("waiting for peers"));
    }
}
