use std::collections::{BTreeMap, BTreeSet};

use utoipa::openapi::{RefOr, path::Operation};

use super::{document, endpoints};

fn operations() -> BTreeMap<String, Operation> {
    let paths = document().paths.paths.into_iter();
    paths.map(|(path, item)| (path, item.get.expect("every endpoint is a GET"))).collect()
}

#[test]
fn every_route_is_documented_and_every_documented_path_is_a_route() {
    let routes: BTreeSet<String> = endpoints().into_iter().map(|(path, _)| path).collect();
    let documented: BTreeSet<String> = operations().into_keys().collect();
    assert_eq!(routes, documented);
}

#[test]
fn every_endpoint_says_what_it_takes_and_gives() {
    for (path, operation) in operations() {
        assert!(operation.summary.is_some(), "{path} has a summary");
        let given: Vec<&String> = operation.responses.responses.keys().collect();
        assert_eq!(given, ["200", "400", "404", "405", "422", "500", "503", "504"], "{path}");
        let mut in_path = 0;
        for parameter in operation.parameters.unwrap_or_default() {
            let RefOr::T(parameter) = parameter else { panic!("{path} has its parameters inline") };
            assert!(parameter.description.is_some(), "{path}: {} is described", parameter.name);
            in_path += usize::from(path.contains(&format!("{{{}}}", parameter.name)));
        }
        assert_eq!(in_path, path.matches('{').count(), "{path} describes its path");
    }
}

#[test]
fn every_schema_that_is_referred_to_is_in_the_document() {
    let json = document().to_json().unwrap();
    let (mut rest, mut met) = (json.as_str(), 0);
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    const PREFIX: &str = "\"#/components/schemas/";
    while let Some(at) = rest.find(PREFIX) {
        rest = &rest[at + PREFIX.len()..];
        let name = &rest[..rest.find('"').unwrap()];
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        met += 1;
    }
    assert!(met > 40, "only {met} references");
}
