use super::messages;

#[test]
fn the_message_is_looked_for_without_what_stands_before_it() {
    for (text, wanted) in [
        ("confirmation sent order=A-34838", &["confirmation sent order=A-34838"][..]),
        (
            "14:03:59.100 INFO checkout confirmation sent",
            &[
                "14:03:59.100 INFO checkout confirmation sent",
                "checkout confirmation sent",
                "confirmation sent",
            ],
        ),
        (
            "2026-11-20 14:03:59,100 [ERROR] no connection",
            &["2026-11-20 14:03:59,100 [ERROR] no connection", "no connection", "connection"],
        ),
        // As the lines of a page are copied.
        ("14:03:59.100\nINFO\ncheckout\nconfirmation sent\ntrace", &["confirmation sent"]),
        ("ok", &[]),
        ("", &[]),
    ] {
        assert_eq!(messages(text), wanted, "{text}");
    }
}
