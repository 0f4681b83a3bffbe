use proptest::prelude::*;

use super::{VALUES_MAX, values};

const UUID: &str = "9b2f4f5c-0a1b-4c2d-8e3f-a0b1c2d3e4f5";

fn keys() -> Vec<String> {
    ["order.id", "x-request-id", "http.request.header.x-request-id"].map(str::to_owned).to_vec()
}

/// Returns the values that one key may have.
fn of(key: &str, text: &str) -> Vec<String> {
    let keys = keys();
    let found = values(text, &keys).into_iter().filter(|found| found.keys.contains(&key));
    found.map(|found| found.value).collect()
}

#[test]
fn a_value_behind_its_key_is_found_in_every_notation() {
    for (text, value) in [
        ("order.id=A-17", "A-17"),
        ("order.id=ORD/42 ü?", "ORD/42 ü?"),
        ("order.id=ORD%2F42%20%C3%BC%3F", "ORD/42 ü?"),
        ("order.id: A-17", "A-17"),
        ("ORDER.ID : A-17", "A-17"),
        ("12:30 INFO paid order.id=A-17 in 3 ms", "A-17"),
        ("paid (order.id=A-17), shipped", "A-17"),
        ("paid order.id=A-17. Then", "A-17"),
        ("paid order.id=a,b now", "a,b"),
        (r#"{"order.id":"A 17","n":1}"#, "A 17"),
        (r#"{"log":"{\"order.id\":\"A 17\"}"}"#, "A 17"),
        ("order.id='A 17' rest", "A 17"),
        ("order.id => A-17", "A-17"),
        ("https://shop.example/o?a=1&order.id=A%2F17&b=2", "A/17"),
        ("first line\norder.id=A 17\nthird", "A 17"),
        ("A-17", "A-17"),
        ("A%2F17", "A/17"),
    ] {
        let found = of("order.id", text);
        assert!(found.contains(&value.to_owned()), "{text}: {found:?}");
    }
}

#[test]
fn a_header_is_the_value_of_the_key_and_of_the_headers_attribute() {
    for text in [
        format!("X-Request-ID: {UUID}"),
        format!("GET / x-request-id={UUID} 200"),
        format!("x-request-id: {}", UUID.to_uppercase()),
        UUID.to_uppercase(),
        format!("{{{UUID}}}"),
        UUID.replace('-', ""),
        format!("some line of a proxy \"{UUID}\" upstream"),
    ] {
        for key in ["x-request-id", "http.request.header.x-request-id"] {
            for spelled in [UUID.to_owned(), UUID.to_uppercase(), UUID.replace('-', "")] {
                assert!(of(key, &text).contains(&spelled), "{spelled} in {text}");
            }
        }
    }
    assert_eq!(of("order.id", "x-request-id: r-7"), [""; 0], "what another key has is none of it");
}

#[test]
fn a_key_is_a_whole_word_and_has_a_value() {
    let named = |text: &str| of("order.id", text).iter().any(|value| value == "A-17");
    for text in ["reorder.id=A-17 x", "my.order.id=A-17 x", "order.id A-17 x", "order.ids=A-17 x"] {
        assert!(!named(text), "{text}");
    }
    assert_eq!(of("order.id", "order.id="), ["order.id="]);
    assert_eq!(of("order.id", " \n "), Vec::<String>::new());
    assert_eq!(values("A-17", &[]), []);
}

#[test]
fn readings_are_bounded_in_number_and_length() {
    let text = format!("order.id=a,b;c d {UUID} ").repeat(200);
    let keys: Vec<String> = (0..50).map(|n| format!("key{n}")).chain(keys()).collect();
    assert!(values(&text, &keys).len() <= VALUES_MAX);
    // Few readings are under every key: for example the usual spelling of a UUID.
    let under_all = |text: &str| {
        values(text, &keys).iter().filter(|found| found.keys.len() == keys.len()).count()
    };
    assert_eq!((under_all("A-17"), under_all(UUID), under_all(&text)), (1, 3, 3));
    let long = "x".repeat(5_000);
    assert_eq!(of("order.id", &format!("order.id={long}")), Vec::<String>::new());
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in "[ -~é\n]{0,20}(order\\.id|x-request-id)?[ -~é%\"]{0,40}") {
        prop_assert!(values(&text, &keys()).len() <= VALUES_MAX);
    }
}
