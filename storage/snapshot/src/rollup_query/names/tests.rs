use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use proptest::{collection::vec, option, prelude::*, sample::Index};
use tempfile::TempDir;
use tidings_disk::test_effort::random_cases;
use tidings_index::TimeRange;
use tidings_proto::UnixNanos;
use tidings_rollup::CallKey;

use crate::{
    Snapshot,
    rollup_query::tests::{
        BEGIN, HOUR, MINUTE, Sent, damage_index, dealt, sending, sent, snapshot,
    },
};

type Place = (String, String, i32, i32);

fn place(key: CallKey<'_>) -> Place {
    let (service, operation) = (key.service.to_owned(), key.operation.to_owned());
    (service, operation, key.kind.into(), key.status.into())
}

fn place_of(Sent { service, span }: &Sent) -> Place {
    let code = span.status.as_ref().map_or(0, |status| status.code);
    ((*service).to_owned(), span.name.clone(), span.kind, code)
}

fn counted(snapshot: &Snapshot, start: TimeRange) -> BTreeMap<Place, u64> {
    let mut counts = BTreeMap::new();
    let stats = snapshot.count_calls(start, u64::MAX, &mut |key, count| {
        *counts.entry(place(key)).or_default() += count;
        ControlFlow::Continue(())
    });
    assert!(stats.unwrap().complete);
    counts
}

fn listed(snapshot: &Snapshot) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    let stats = snapshot.call_keys(u64::MAX, &mut |key, _| {
        places.insert(place(key));
        ControlFlow::Continue(())
    });
    assert!(stats.unwrap().complete);
    places
}

/// Returns the range, widened to whole buckets of half an hour.
fn widened(range: TimeRange) -> TimeRange {
    let half = HOUR / 2;
    TimeRange {
        start: range.start.map(|start| UnixNanos(start.0 / half * half)),
        end: range.end.map(|end| UnixNanos(end.0.div_ceil(half).saturating_mul(half))),
    }
}

fn range() -> impl Strategy<Value = TimeRange> {
    let end =
        || option::weighted(0.7, (0..90 * MINUTE).prop_map(|at| UnixNanos(BEGIN - HOUR + at)));
    (end(), end()).prop_map(|(start, end)| TimeRange { start, end })
}

proptest! {
    #![proptest_config(random_cases(32))]

    #[test]
    fn called_operations_are_listed_and_counted(
        pool in vec(sent(), 1..60),
        sendings in vec(sending(), 0..60),
        ranges in vec(range(), 6),
        damage in option::weighted(0.3, any::<Index>()),
    ) {
        let parts = dealt(&pool, &sendings);
        let folder = TempDir::new().unwrap();
        let snapshot = snapshot(&folder, &parts);
        if let Some(which) = damage {
            damage_index(&snapshot, &which);
        }
        let all: Vec<&Sent> = parts.iter().flatten().copied().collect();
        let places: BTreeSet<Place> = all.iter().map(|sent| place_of(sent)).collect();
        prop_assert_eq!(listed(&snapshot), places.clone());
        for range in ranges.into_iter().chain([TimeRange::default()]) {
            let counts = counted(&snapshot, range);
            prop_assert!(counts.keys().all(|place| places.contains(place)));
            for place in &places {
                let of_place = |range: TimeRange| {
                    let at = move |sent: &&&Sent| {
                        range.contains(UnixNanos(sent.span.start_time_unix_nano))
                    };
                    all.iter().filter(|sent| place_of(sent) == *place).filter(at)
                };
                let contents = of_place(range).map(|sent| format!("{:?}", sent.span));
                let least = contents.collect::<BTreeSet<_>>().len() as u64;
                let most = of_place(widened(range)).count() as u64;
                let count = counts.get(place).copied().unwrap_or_default();
                prop_assert!(least <= count && count <= most, "{place:?}: {least} {count} {most}");
            }
        }
    }
}
