//! The fields that traces are filtered by, with the words, the setting and the removal of each.

use tidings_proto::otlp::{SpanKind, StatusCode};

use crate::{
    format,
    url::{AttributeFilter, ParsedParam, TraceFilters, parse_duration},
};

/// Statuses in the order they are offered.
const STATUSES: [&str; 3] =
    [StatusCode::Error.word(), StatusCode::Ok.word(), StatusCode::Unset.word()];
/// Kinds in the order they are offered.
const KINDS: [&str; 6] = [
    SpanKind::Server.word(),
    SpanKind::Client.word(),
    SpanKind::Producer.word(),
    SpanKind::Consumer.word(),
    SpanKind::Internal.word(),
    SpanKind::Unspecified.word(),
];

/// A field to filter by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    Service,
    Operation,
    Status,
    Kind,
    DurationMin,
    DurationMax,
    Attribute(String),
    /// An attribute that no span may have with this value, or at all.
    Excluded(String, Option<String>),
}

/// Fields that every span has, in the order they are offered.
const FIXED_FIELDS: [(Field, &str); 6] = [
    (Field::Service, "service"),
    (Field::Operation, "operation"),
    (Field::Status, "status"),
    (Field::DurationMin, "duration at least"),
    (Field::DurationMax, "duration at most"),
    (Field::Kind, "kind"),
];

/// An active filter, as its chip shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ActiveFilter {
    pub(super) field: Field,
    pub(super) relation: &'static str,
    pub(super) value: String,
}

impl Field {
    /// Returns the names of the fixed fields that contain `text`.
    pub(super) fn names_containing(text: &str) -> impl Iterator<Item = &'static str> {
        let text = text.to_lowercase();
        FIXED_FIELDS.iter().map(|(_, name)| *name).filter(move |name| name.contains(&text))
    }

    /// Returns the field with this name: a fixed one, or the attribute.
    pub(super) fn from_name(name: &str) -> Self {
        let fixed = FIXED_FIELDS.iter().find(|(_, fixed)| *fixed == name);
        fixed.map_or_else(|| Self::Attribute(name.to_owned()), |(field, _)| field.clone())
    }

    /// Returns the name that is shown before the value.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Service => "service".to_owned(),
            Self::Operation => "operation".to_owned(),
            Self::Status => "status".to_owned(),
            Self::Kind => "kind".to_owned(),
            Self::DurationMin | Self::DurationMax => "duration".to_owned(),
            Self::Attribute(key) | Self::Excluded(key, _) => key.clone(),
        }
    }

    /// Returns the values that are known without a request.
    pub(super) fn values(&self) -> &'static [&'static str] {
        match self {
            Self::Status => &STATUSES,
            Self::Kind => &KINDS,
            Self::DurationMin | Self::DurationMax => {
                &["1ms", "10ms", "100ms", "250ms", "500ms", "1s", "5s", "30s"]
            }
            Self::Service | Self::Operation | Self::Attribute(_) | Self::Excluded(..) => &[],
        }
    }
}

/// Returns the active filters, in a fixed order.
pub(super) fn active_filters(filters: &TraceFilters) -> Vec<ActiveFilter> {
    let TraceFilters {
        service,
        operation,
        status,
        kind,
        duration_min,
        duration_max,
        attributes,
        without,
    } = filters;
    let text = |field, value: &Option<String>| {
        let value = value.clone()?;
        Some(ActiveFilter { field, relation: "=", value })
    };
    let duration = |field, relation, value: &Option<ParsedParam<_>>| {
        let value = value.as_ref()?.text(|value| format::duration(*value));
        Some(ActiveFilter { field, relation, value })
    };
    let fixed = [
        text(Field::Service, service),
        text(Field::Operation, operation),
        text(Field::Status, status),
        text(Field::Kind, kind),
        duration(Field::DurationMin, "≥", duration_min),
        duration(Field::DurationMax, "≤", duration_max),
    ];
    let attribute = |filter: &AttributeFilter| {
        let field = Field::Attribute(filter.key.clone());
        match &filter.value {
            Some(value) => ActiveFilter { field, relation: "=", value: value.clone() },
            None => ActiveFilter { field, relation: "is", value: "set".to_owned() },
        }
    };
    let excluded = |filter: &AttributeFilter| {
        let field = Field::Excluded(filter.key.clone(), filter.value.clone());
        match &filter.value {
            Some(value) => ActiveFilter { field, relation: "≠", value: value.clone() },
            None => ActiveFilter { field, relation: "is", value: "not set".to_owned() },
        }
    };
    let fixed = fixed.into_iter().flatten();
    fixed.chain(attributes.iter().map(attribute)).chain(without.iter().map(excluded)).collect()
}

/// Sets or removes `field`. Returns an error text for an invalid value.
pub(super) fn set(
    filters: &mut TraceFilters,
    field: &Field,
    value: Option<&str>,
) -> Result<(), &'static str> {
    let text = value.map(str::to_owned);
    let duration = || match value {
        None => Ok(None),
        Some(value) => parse_duration(value)
            .map(Some)
            .ok_or("A duration is a number with ns, us, ms, s or min, as 250ms."),
    };
    match field {
        Field::Service => filters.service = text,
        Field::Operation => filters.operation = text,
        Field::Status | Field::Kind => {
            if value.is_some_and(|value| !field.values().contains(&value)) {
                return Err("Choose one of the values in the list.");
            }
            let place =
                if *field == Field::Status { &mut filters.status } else { &mut filters.kind };
            *place = text;
        }
        Field::DurationMin => filters.duration_min = duration()?.map(ParsedParam::Read),
        Field::DurationMax => filters.duration_max = duration()?.map(ParsedParam::Read),
        Field::Attribute(key) => {
            let place = filters.attributes.iter().position(|filter| filter.key == *key);
            let filter = text.map(|value| AttributeFilter { key: key.clone(), value: Some(value) });
            match (place, filter) {
                (Some(place), Some(filter)) => filters.attributes[place] = filter,
                (Some(place), None) => drop(filters.attributes.remove(place)),
                (None, Some(filter)) => filters.attributes.push(filter),
                (None, None) => {}
            }
        }
        Field::Excluded(key, excluded) => {
            filters.without.retain(|filter| filter.key != *key || filter.value != *excluded);
            filters.without.extend(text.map(|value| exclusion(key, &value)));
        }
    }
    Ok(())
}

fn exclusion(key: &str, value: &str) -> AttributeFilter {
    AttributeFilter { key: key.to_owned(), value: Some(value.to_owned()) }
}

/// Excludes an attribute with this value. It is excluded at most once.
pub(super) fn exclude(filters: &mut TraceFilters, key: &str, value: &str) {
    let filter = exclusion(key, value);
    if !filters.without.contains(&filter) {
        filters.without.push(filter);
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::DurationNanos;

    use super::{
        Field, ParsedParam, SpanKind, StatusCode, TraceFilters, active_filters, exclude, set,
    };

    fn chips(filters: &TraceFilters) -> Vec<String> {
        let words = |set: super::ActiveFilter| {
            format!("{} {} {}", set.field.name(), set.relation, set.value)
        };
        active_filters(filters).into_iter().map(words).collect()
    }

    #[test]
    fn set_filters_are_shown_and_can_be_removed() {
        let mut filters = TraceFilters::default();
        for (name, value) in [
            ("order.id", "A-1"),
            ("service", "checkout"),
            ("duration at least", "200ms"),
            ("status", "error"),
            ("order.id", "A-2"),
        ] {
            set(&mut filters, &Field::from_name(name), Some(value)).unwrap();
        }
        assert_eq!(filters.duration_min, Some(ParsedParam::Read(DurationNanos(200_000_000))));
        let expected =
            ["service = checkout", "status = error", "duration ≥ 200 ms", "order.id = A-2"];
        assert_eq!(chips(&filters), expected);
        for set_filter in active_filters(&filters) {
            set(&mut filters, &set_filter.field, None).unwrap();
        }
        assert!(filters.is_empty());
    }

    #[test]
    fn one_of_several_exclusions_is_taken_off() {
        let mut filters = TraceFilters::default();
        for value in ["1", "2", "2"] {
            exclude(&mut filters, "service.version", value);
        }
        assert_eq!(chips(&filters), ["service.version ≠ 1", "service.version ≠ 2"]);
        let [first, _] = &active_filters(&filters)[..] else { unreachable!() };
        set(&mut filters, &first.field, None).unwrap();
        assert_eq!(chips(&filters), ["service.version ≠ 2"]);
    }

    #[test]
    fn every_status_and_kind_is_offered() {
        let (statuses, kinds) = (Field::Status.values(), Field::Kind.values());
        assert!(StatusCode::ALL.iter().all(|status| statuses.contains(&status.word())));
        assert!(SpanKind::ALL.iter().all(|kind| kinds.contains(&kind.word())));
    }

    #[test]
    fn a_value_that_cannot_be_changes_nothing() {
        let mut filters = TraceFilters::default();
        assert!(set(&mut filters, &Field::Status, Some("bad")).is_err());
        assert!(set(&mut filters, &Field::DurationMax, Some("soon")).is_err());
        assert!(filters.is_empty());
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_shown_as_it_stands() {
        let duration_min = Some(ParsedParam::Unread("fast".to_owned()));
        let mut filters = TraceFilters { duration_min, ..TraceFilters::default() };
        assert_eq!(chips(&filters), ["duration ≥ fast"]);
        set(&mut filters, &Field::DurationMin, None).unwrap();
        assert!(filters.is_empty());
    }

    #[test]
    fn fixed_fields_are_offered_by_any_part_of_their_name() {
        assert_eq!(Field::names_containing("DUR").count(), 2);
        assert_eq!(Field::from_name("http.route"), Field::Attribute("http.route".to_owned()));
    }
}
