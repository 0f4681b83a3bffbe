//! Parameters of an operation, declared once for the API description and for parsing requests.

use utoipa::{
    IntoParams,
    openapi::{
        Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{ArrayBuilder, Schema},
    },
};

use super::form::ParameterForm;

/// Maximum number of times that a repeatable parameter is given.
pub(crate) const REPEATS_MAX: usize = 32;

/// Part of a request that has a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParameterLocation {
    Query,
    Path,
    Header,
}

/// Number of times that a parameter is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Multiplicity {
    OnceOrNot,
    Once,
    Any,
    OnceOrMore,
}

/// A parameter of an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ParameterSpec {
    pub(crate) name: &'static str,
    pub(crate) form: ParameterForm,
    place: ParameterLocation,
    multiplicity: Multiplicity,
    description: &'static str,
}

/// The parameters of an operation, in groups.
pub(crate) type ParameterLists = &'static [&'static [ParameterSpec]];

/// Parameter lists of one operation.
pub(crate) trait HasParameters {
    const LISTS: ParameterLists;
}

/// The API description of an operation's parameters.
pub(crate) struct ParametersOf<T>(std::marker::PhantomData<T>);

impl<T: HasParameters> IntoParams for ParametersOf<T> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        T::LISTS.iter().copied().flatten().map(ParameterSpec::described).collect()
    }
}

/// Declares an optional parameter of the query.
pub(crate) const fn query(
    name: &'static str,
    form: ParameterForm,
    description: &'static str,
) -> ParameterSpec {
    ParameterSpec {
        name,
        form,
        place: ParameterLocation::Query,
        multiplicity: Multiplicity::OnceOrNot,
        description,
    }
}

/// Declares a part of the path.
pub(crate) const fn path(
    name: &'static str,
    form: ParameterForm,
    description: &'static str,
) -> ParameterSpec {
    ParameterSpec {
        name,
        form,
        place: ParameterLocation::Path,
        multiplicity: Multiplicity::Once,
        description,
    }
}

/// Declares an optional header.
pub(crate) const fn header(
    name: &'static str,
    form: ParameterForm,
    description: &'static str,
) -> ParameterSpec {
    ParameterSpec {
        name,
        form,
        place: ParameterLocation::Header,
        multiplicity: Multiplicity::OnceOrNot,
        description,
    }
}

/// Declares the parameter `limit` of a list, with its default and its maximum.
pub(crate) const fn limit(default: u32, max: u32, description: &'static str) -> ParameterSpec {
    query("limit", ParameterForm::Integer { min: 1, max, default: Some(default) }, description)
}

impl ParameterSpec {
    /// Makes the parameter repeatable.
    pub(crate) const fn repeated(self) -> Self {
        let multiplicity = match self.multiplicity {
            Multiplicity::Once | Multiplicity::OnceOrMore => Multiplicity::OnceOrMore,
            Multiplicity::OnceOrNot | Multiplicity::Any => Multiplicity::Any,
        };
        Self { multiplicity, ..self }
    }

    /// Makes the parameter required.
    pub(crate) const fn required(self) -> Self {
        let multiplicity = match self.multiplicity {
            Multiplicity::Once | Multiplicity::OnceOrNot => Multiplicity::Once,
            Multiplicity::OnceOrMore | Multiplicity::Any => Multiplicity::OnceOrMore,
        };
        Self { multiplicity, ..self }
    }

    /// Reports whether this is the query parameter with this name.
    pub(crate) fn has_query_name(&self, name: &str) -> bool {
        self.place == ParameterLocation::Query && self.name == name
    }

    /// Maximum number of times that the parameter may be given.
    pub(crate) fn times_max(&self) -> usize {
        if self.is_repeatable() { REPEATS_MAX } else { 1 }
    }

    /// Reports whether a request without the parameter is refused.
    pub(crate) fn is_required(&self) -> bool {
        matches!(self.multiplicity, Multiplicity::Once | Multiplicity::OnceOrMore)
    }

    fn is_repeatable(&self) -> bool {
        matches!(self.multiplicity, Multiplicity::Any | Multiplicity::OnceOrMore)
    }

    fn described(&self) -> Parameter {
        let one = self.form.schema();
        let schema: Schema = match self.is_repeatable() {
            true => ArrayBuilder::new()
                .items(one)
                .min_items(self.is_required().then_some(1))
                .max_items(Some(REPEATS_MAX))
                .into(),
            false => one.into(),
        };
        let place = match self.place {
            ParameterLocation::Query => ParameterIn::Query,
            ParameterLocation::Path => ParameterIn::Path,
            ParameterLocation::Header => ParameterIn::Header,
        };
        ParameterBuilder::new()
            .name(self.name)
            .parameter_in(place)
            .required(if self.is_required() { Required::True } else { Required::False })
            .description(Some(self.description))
            .schema(Some(schema))
            .build()
    }
}
