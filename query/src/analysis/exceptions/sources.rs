//! Groups that others follow from: the origin of an exception that passes through its callers.
//!
//! Owns the rule. A group follows from one of another service when its own service only feels the
//! change of that service, and both have the same type and message. The origin of a new or
//! multiplied group came or grew with it, so that one of them stands out. The services that only
//! feel a change come from `changes`. Also owns the order of one failure: its followers are listed
//! after their origin. The list is cut before, so a group whose origin is cut off follows from none
//! and keeps its place.

use std::collections::HashMap;

use tidings_proto::api::{ChangedGroup, ExceptionGroup, Searched};
use tidings_storage::ScanStats;

use crate::{
    QueryError,
    analysis::{
        changes::{self, ChangeSearch},
        window::Window,
    },
    execution::Reader,
};

/// Maximum number of services of the report of changes.
const SERVICES_MAX: usize = 200;

/// Sets the origin of each group that follows from another one of the list, and moves it after that
/// one. Returns the rows and files read for the changes of the services.
pub(super) fn set_sources(
    reader: &Reader,
    window: Window,
    groups: &mut [ExceptionGroup],
) -> Result<ScanStats, QueryError> {
    let search =
        ChangeSearch { start: window.range(), limit: SERVICES_MAX, ..ChangeSearch::default() };
    let report = changes::changes(reader, &search)?;
    set_origins(groups, &causes(&report.services));
    place_followers(groups);
    let Searched { rows, files, .. } = report.searched;
    // The counts are whole, even where the changes are of a sample.
    Ok(ScanStats { rows, files, complete: true })
}

/// The services that only feel the change of another, with that one.
fn causes(services: &[ChangedGroup]) -> HashMap<&str, &str> {
    let feeling = services.iter().filter(|group| group.only_feels);
    let pairs = feeling.filter_map(|group| {
        let cause = group.sentence.as_ref()?.subject.service.as_str();
        (cause != group.service).then_some((group.service.as_str(), cause))
    });
    pairs.collect()
}

fn set_origins(groups: &mut [ExceptionGroup], causes: &HashMap<&str, &str>) {
    let came_or_grew = |group: &ExceptionGroup| group.is_new || group.is_multiplied;
    let origin = |group: &ExceptionGroup| {
        let service = *causes.get(group.service.as_str())?;
        let is_same = |other: &&ExceptionGroup| {
            other.service == service
                && (came_or_grew(other) || !came_or_grew(group))
                && other.exception_type == group.exception_type
                && other.message == group.message
        };
        let found = groups.iter().filter(is_same).max_by_key(|other| other.count)?;
        Some((found.id.clone(), found.service.clone()))
    };
    let origins: Vec<Option<(String, String)>> = groups.iter().map(origin).collect();
    for (group, origin) in groups.iter_mut().zip(origins) {
        (group.follows_id, group.follows_service) = origin.unzip();
    }
}

/// Counts the followers of each group, and moves them directly after it. Origins keep their order,
/// and so do the followers of one of them. An origin follows from none, because all causes name one
/// service.
fn place_followers(groups: &mut [ExceptionGroup]) {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for id in groups.iter().filter_map(|group| group.follows_id.clone()) {
        *counts.entry(id).or_default() += 1;
    }
    for group in groups.iter_mut() {
        group.follower_count = counts.get(&group.id).copied().unwrap_or_default();
    }
    let ids = groups.iter().map(|group| group.id.clone());
    let positions: HashMap<String, usize> = ids.zip(0..).collect();
    groups.sort_by_cached_key(|group| {
        let head = group.follows_id.as_ref().unwrap_or(&group.id);
        (positions.get(head).copied(), group.follows_id.is_some())
    });
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tidings_proto::{UnixNanos, api::ExceptionGroup};

    use super::{place_followers, set_origins};

    /// An exception of a service; new where it did not come before.
    fn group(service: &str, message: &str, count: u64, before: u64) -> ExceptionGroup {
        ExceptionGroup {
            id: format!("{service} {message}"),
            service: service.to_owned(),
            operation: String::new(),
            exception_type: "CurrencyMissing".to_owned(),
            count,
            before_count: Some(before),
            factor: None,
            is_new: before == 0,
            is_multiplied: false,
            follows_id: None,
            follows_service: None,
            follower_count: 0,
            log_count: 0,
            first_seen_unix_nano: UnixNanos(1),
            last_seen_unix_nano: UnixNanos(2),
            time_unix_nano: UnixNanos(2),
            steps: Vec::new(),
            message: message.to_owned(),
            stack_trace: String::new(),
            normalised_stack: String::new(),
            trace_id: None,
            span_id: None,
        }
    }

    fn origins(mut groups: Vec<ExceptionGroup>) -> Vec<Option<String>> {
        set_origins(&mut groups, &HashMap::from([("shop", "pay")]));
        groups.into_iter().map(|group| group.follows_id).collect()
    }

    #[test]
    fn a_group_follows_from_the_same_exception_of_the_service_behind_its_own() {
        let of_pay = Some("pay no".to_owned());
        let (shop, pay) = (group("shop", "no", 40, 0), group("pay", "no", 30, 0));
        let another = group("shop", "another", 9, 0);
        let found = origins(vec![shop.clone(), pay.clone(), another]);
        assert_eq!(found, [of_pay.clone(), None, None]);
        assert_eq!(origins(vec![shop.clone()]), [None], "the origin is not listed");
        assert_eq!(origins(vec![group("cart", "no", 1, 0), pay]), [None, None], "of no cause");

        // Groups that came before follow as well, but nothing new follows from one of them.
        let (old_shop, old_pay) = (group("shop", "no", 40, 40), group("pay", "no", 30, 30));
        assert_eq!(origins(vec![old_shop, old_pay.clone()]), [of_pay, None]);
        assert_eq!(origins(vec![shop, old_pay]), [None, None]);
    }

    #[test]
    fn followers_are_listed_directly_after_their_origin() {
        let mut groups = vec![
            group("shop", "no", 40, 0),
            group("cart", "full", 35, 0),
            group("pay", "no", 30, 0),
            group("bank", "late", 20, 0),
            group("shop", "no", 10, 0),
        ];
        groups[4].id = "shop again".to_owned();
        set_origins(&mut groups, &HashMap::from([("shop", "pay")]));
        place_followers(&mut groups);
        let placed: Vec<(&str, u64, u64)> = groups
            .iter()
            .map(|group| (group.service.as_str(), group.count, group.follower_count))
            .collect();
        let expected =
            [("cart", 35, 0), ("pay", 30, 2), ("shop", 40, 0), ("shop", 10, 0), ("bank", 20, 0)];
        assert_eq!(placed, expected);
    }
}
