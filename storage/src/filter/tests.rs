use super::text::Needle;

#[test]
fn text_is_found_in_any_ascii_case_and_nowhere_else() {
    let cases = [
        ("Payment failed", "FAILED", true),
        ("Payment failed", "payment", true),
        ("Payment failed", "failed ", false),
        ("", "", true),
        ("x", "", true),
        ("", "x", false),
        ("short", "longer than the text", false),
        ("aab", "ab", true),
        ("ÜBER", "über", false),
        ("Über", "ÜBER", true),
        ("[error]", "[ERROR]", true),
        ("{error}", "[error]", false),
    ];
    for (text, part, expected) in cases {
        assert_eq!(Needle::new(part).is_in(text), expected, "{part:?} in {text:?}");
    }
}
