//! What stays the same of a stack trace from one time to the next.
//!
//! Frames are lines. Numbers (line numbers, addresses, counters in generated names), what stands in
//! quotes or brackets of messages, and the messages themselves differ, so they are left out: the
//! first line and the lines of causes are cut after the type. Knows no language by name; what it
//! knows holds for the stacks of the JVM, .NET, Python, JavaScript, Go, Ruby, PHP and Rust.

/// Frames looked at: the ones that are furthest out differ with the caller.
const FRAMES_MAX: usize = 40;
/// Characters of a frame looked at.
const FRAME_CHARS_MAX: usize = 300;

/// The stack without what differs; of a message alone, the message without its numbers and ids.
pub(crate) fn normalised(stack: &str, exception_type: &str, message: &str) -> String {
    let frames: Vec<String> =
        stack.lines().filter_map(|line| frame(line, exception_type)).take(FRAMES_MAX).collect();
    if frames.is_empty() { blurred(message) } else { frames.join("\n") }
}

/// A line that says where, without its numbers; `None` for a line that says what.
fn frame(line: &str, exception_type: &str) -> Option<String> {
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    if let Some(cause) = line.strip_prefix("Caused by:") {
        let cause = cause.trim();
        return Some(format!("Caused by: {}", cause.split(':').next().unwrap_or(cause)));
    }
    let says_where = ["at ", "File ", "from ", "in ", "#", "...", "goroutine "]
        .iter()
        .any(|start| line.starts_with(start))
        || line.contains("(") && line.ends_with(')')
        || line.contains(".go:")
        || line.contains(".rs:")
        || line.contains(".rb:");
    let says_what = !exception_type.is_empty() && line.starts_with(exception_type);
    (says_where && !says_what).then(|| blurred(line))
}

/// The text without hexadecimal addresses and decimal numbers.
pub(crate) fn blurred(text: &str) -> String {
    let mut blurred = String::new();
    let mut rest = text.chars().take(FRAME_CHARS_MAX).peekable();
    let mut before = ' ';
    while let Some(letter) = rest.next() {
        let begins_word = !before.is_alphanumeric();
        before = letter;
        if !letter.is_ascii_digit() {
            blurred.push(letter);
            continue;
        }
        // A word that begins with a digit may be an address or an id: all of it differs.
        while let Some(next) = rest.peek().copied() {
            let belongs = next.is_ascii_digit() || begins_word && next.is_ascii_alphanumeric();
            if !belongs {
                break;
            }
            rest.next();
            before = next;
        }
        blurred.push('#');
    }
    blurred
}

#[cfg(test)]
mod tests {
    use super::{blurred, normalised};

    #[test]
    fn numbers_and_addresses_are_blurred() {
        for (text, expected) in [
            ("order 17 of customer 0x7fFF12 failed", "order # of customer # failed"),
            ("at A$$Lambda$14/0x00ff.run(A.java:33)", "at A$$Lambda$#/#.run(A.java:#)"),
            ("x86 utf8 v2", "x# utf# v#"),
            ("id 3f9c-aa", "id #-aa"),
            ("", ""),
        ] {
            assert_eq!(blurred(text), expected, "{text}");
        }
    }

    #[test]
    fn the_same_place_gives_the_same_stack_in_every_language() {
        for (one, other) in [
            (
                "java.io.IOException: disk 5 full\n\tat a.B.c(B.java:10)\n\tat a.D.e(D.java:20)\nCaused by: a.F: 7\n\t... 3 more",
                "java.io.IOException: disk 6 full\n\tat a.B.c(B.java:11)\n\tat a.D.e(D.java:22)\nCaused by: a.F: 8\n\t... 4 more",
            ),
            (
                "Traceback (most recent call last):\n  File \"a.py\", line 3, in pay\nValueError: 1",
                "Traceback (most recent call last):\n  File \"a.py\", line 4, in pay\nValueError: 2",
            ),
            (
                "Error: no 1\n    at pay (/app/a.js:1:2)\n    at next (/app/b.js:3:4)",
                "Error: no 2\n    at pay (/app/a.js:5:2)\n    at next (/app/b.js:3:9)",
            ),
            (
                "goroutine 7 [running]:\nmain.pay(0xc000)\n\t/app/a.go:12 +0x1d",
                "goroutine 9 [running]:\nmain.pay(0xc0ff)\n\t/app/a.go:15 +0x2f",
            ),
        ] {
            let of = |stack: &str| normalised(stack, "java.io.IOException", "");
            assert_eq!(of(one), of(other));
            assert!(!of(one).is_empty());
            assert!(!of(one).contains("disk"));
        }
    }

    #[test]
    fn another_place_gives_another_stack_and_a_message_alone_counts_without_its_numbers() {
        let of = |stack: &str| normalised(stack, "E", "m");
        assert_ne!(of("E: x\n\tat a.B.c(B.java:1)"), of("E: x\n\tat a.B.d(B.java:1)"));
        assert_eq!(normalised("", "E", "order 17"), normalised("E: order 18", "E", "order 18"));
    }
}
