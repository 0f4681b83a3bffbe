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
enum Times {
    OnceOrNot,
    Once,
    Any,
    OnceOrMore,
}

/// A parameter of an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Declared {
    pub(crate) name: &'static str,
    pub(crate) form: ParameterForm,
    place: ParameterLocation,
    times: Times,
    description: &'static str,
}

/// The parameters of an operation, in groups.
pub(crate) type Lists = &'static [&'static [Declared]];

/// Parameter lists of one operation.
pub(crate) trait Takes {
    const LISTS: Lists;
}

/// The API description of an operation's parameters.
pub(crate) struct Of<T>(std::marker::PhantomData<T>);

impl<T: Takes> IntoParams for Of<T> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        T::LISTS.iter().copied().flatten().map(Declared::described).collect()
    }
}

/// Declares an optional parameter of the query.
pub(crate) const fn query(
    name: &'static str,
    form: ParameterForm,
    description: &'static str,
) -> Declared {
    Declared { name, form, place: ParameterLocation::Query, times: Times::OnceOrNot, description }
}

/// Declares a part of the path.
pub(crate) const fn path(
    name: &'static str,
    form: ParameterForm,
    description: &'static str,
) -> Declared {
    Declared { name, form, place: ParameterLocation::Path, times: Times::Once, description }
}

/// Declares an optional header.
pub(crate) const fn header(
    name: &'static str,
    form: ParameterForm,
    description: &'static str,
) -> Declared {
    Declared { name, form, place: ParameterLocation::Header, times: Times::OnceOrNot, description }
}

/// Declares the parameter `limit` of a list, with its default and its maximum.
pub(crate) const fn limit(default: u32, max: u32, description: &'static str) -> Declared {
    query("limit", ParameterForm::Integer { min: 1, max, default: Some(default) }, description)
}

impl Declared {
    /// Makes the parameter repeatable.
    pub(crate) const fn repeated(self) -> Self {
        let times = match self.times {
            Times::Once | Times::OnceOrMore => Times::OnceOrMore,
            Times::OnceOrNot | Times::Any => Times::Any,
        };
        Self { times, ..self }
    }

    /// Makes the parameter required.
    pub(crate) const fn required(self) -> Self {
        let times = match self.times {
            Times::Once | Times::OnceOrNot => Times::Once,
            Times::OnceOrMore | Times::Any => Times::OnceOrMore,
        };
        Self { times, ..self }
    }

    /// Reports whether this is the query parameter with this name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.place == ParameterLocation::Query && self.name == name
    }

    /// Maximum number of times that the parameter may be given.
    pub(crate) fn times_max(&self) -> usize {
        if self.may_repeat() { REPEATS_MAX } else { 1 }
    }

    /// Reports whether a request without the parameter is refused.
    pub(crate) fn must_be(&self) -> bool {
        matches!(self.times, Times::Once | Times::OnceOrMore)
    }

    fn may_repeat(&self) -> bool {
        matches!(self.times, Times::Any | Times::OnceOrMore)
    }

    fn described(&self) -> Parameter {
        let one = self.form.schema();
        let schema: Schema = match self.may_repeat() {
            true => ArrayBuilder::new()
                .items(one)
                .min_items(self.must_be().then_some(1))
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
            .required(if self.must_be() { Required::True } else { Required::False })
            .description(Some(self.description))
            .schema(Some(schema))
            .build()
    }
}
