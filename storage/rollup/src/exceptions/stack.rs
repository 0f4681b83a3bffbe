//! Normalisation of stack traces, so that repeated exceptions have equal stacks.
//!
//! Frames are lines. Three variable parts are omitted: numbers (line numbers, addresses, counters
//! in generated names), text in quotes or brackets of messages, and messages. The first line and
//! the lines of causes are cut after the type. The rules are independent of the language. They hold
//! for stacks of the JVM, .NET, Python, JavaScript, Go, Ruby, PHP and Rust.

use xxhash_rust::xxh3::xxh3_128;

/// Version of the rules. Indexes store hashes of normalised stacks, which differ between versions.
pub(crate) const RULE: u32 = 1;
/// Maximum number of frames to compare. The outermost frames differ with the caller.
const FRAMES_MAX: usize = 40;
/// Maximum number of characters of a frame to compare.
const FRAME_CHARS_MAX: usize = 300;
/// Start of the line of a cause.
const CAUSE: &str = "Caused by:";

/// Returns the stack without its variable parts. Without a stack, returns the message without its
/// numbers and ids.
pub(crate) fn normalised(stack: &str, exception_type: &str, message: &str) -> String {
    let mut normalised = String::with_capacity(stack.len());
    let mut frames = stack
        .lines()
        .map(str::trim)
        .filter(|line| is_frame(line, exception_type))
        .take(FRAMES_MAX)
        .peekable();
    if frames.peek().is_none() {
        blur(message, &mut normalised);
    }
    while let Some(frame) = frames.next() {
        match frame.strip_prefix(CAUSE) {
            Some(cause) => {
                normalised.push_str(CAUSE);
                normalised.push(' ');
                normalised.push_str(cause.trim().split(':').next().unwrap_or_default());
            }
            None => blur(frame, &mut normalised),
        }
        if frames.peek().is_some() {
            normalised.push('\n');
        }
    }
    normalised
}

/// Returns the hash of [`normalised`].
pub(crate) fn hashed(stack: &str, exception_type: &str, message: &str) -> u128 {
    xxh3_128(normalised(stack, exception_type, message).as_bytes())
}

/// Returns true if a line is a frame or a cause, false if it is a message.
fn is_frame(line: &str, exception_type: &str) -> bool {
    if line.is_empty() {
        return false;
    }
    if line.starts_with(CAUSE) {
        return true;
    }
    let says_where = ["at ", "File ", "from ", "in ", "#", "...", "goroutine "]
        .iter()
        .any(|start| line.starts_with(start))
        || line.ends_with(')') && line.contains('(')
        || line.contains(".go:")
        || line.contains(".rs:")
        || line.contains(".rb:");
    let says_what = !exception_type.is_empty() && line.starts_with(exception_type);
    says_where && !says_what
}

/// Appends the text, with a `#` for each decimal number and hexadecimal address.
fn blur(text: &str, to: &mut String) {
    let text = match text.len() > FRAME_CHARS_MAX {
        true => text.char_indices().nth(FRAME_CHARS_MAX).map_or(text, |(end, _)| &text[..end]),
        false => text,
    };
    let (bytes, mut given, mut at) = (text.as_bytes(), 0, 0);
    while let Some(next) = first_digit(&bytes[at..]) {
        let digit = at + next;
        let before = text[..digit].chars().next_back().unwrap_or(' ');
        // A word that begins with a digit may be an address or an id, so the whole word is
        // replaced.
        let begins_word = !before.is_alphanumeric();
        let belongs =
            |byte: &&u8| byte.is_ascii_digit() || begins_word && byte.is_ascii_alphanumeric();
        at = digit + bytes[digit..].iter().take_while(belongs).count();
        to.push_str(&text[given..digit]);
        to.push('#');
        given = at;
    }
    to.push_str(&text[given..]);
}

/// Returns the position of the first digit. The search takes eight bytes at a time.
fn first_digit(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let (groups, rest) = text.as_chunks::<8>();
    for (place, group) in groups.iter().enumerate() {
        // Digits become less than ten, and the subtraction of ten then sets their highest bit. A
        // borrow can produce a false match only after a true one.
        let numbers = u64::from_le_bytes(*group) ^ (ONES * u64::from(b'0'));
        let digits = numbers.wrapping_sub(ONES * 10) & !numbers & (ONES << 7);
        if digits != 0 {
            return Some(8 * place + digits.trailing_zeros() as usize / 8);
        }
    }
    let found = rest.iter().position(u8::is_ascii_digit);
    found.map(|at| 8 * groups.len() + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_128;

    use super::{blur, first_digit, hashed, normalised};

    fn blurred(text: &str) -> String {
        let mut blurred = String::new();
        blur(text, &mut blurred);
        blurred
    }

    proptest! {
        #[test]
        fn the_first_digit_is_found_among_any_bytes(
            text in prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => b'.'..b'<'], 0..40),
        ) {
            prop_assert_eq!(first_digit(&text), text.iter().position(u8::is_ascii_digit));
        }
    }

    #[test]
    fn numbers_and_addresses_are_blurred() {
        for (text, expected) in [
            ("order 17 of customer 0x7fFF12 failed", "order # of customer # failed"),
            ("at A$$Lambda$14/0x00ff.run(A.java:33)", "at A$$Lambda$#/#.run(A.java:#)"),
            ("x86 utf8 v2", "x# utf# v#"),
            ("größe2 é3 7ü9", "größe# é# #ü#"),
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
            assert_eq!(hashed(one, "java.io.IOException", ""), xxh3_128(of(one).as_bytes()));
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

    #[test]
    fn long_stacks_and_lines_are_cut() {
        let stack: Vec<String> =
            (0..50).map(|_| format!("at {}(A.java:1)", "é".repeat(400))).collect();
        let normalised = normalised(&stack.join("\n"), "E", "m");
        assert_eq!(normalised.lines().count(), super::FRAMES_MAX);
        assert!(normalised.lines().all(|line| line.chars().count() == super::FRAME_CHARS_MAX));
    }
}
