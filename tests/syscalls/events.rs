//! Parses the output of `strace -f -y -x` into beginnings and ends of system calls.

use std::collections::HashMap;

/// The beginning or the end of a system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// Number of the call among all calls.
    pub(super) call: usize,
    pub(super) name: &'a str,
    /// The text between the brackets, as far as it was known when the call began.
    pub(super) args: &'a str,
    pub(super) phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Begins,
    /// True when the call succeeded.
    Ends(bool),
}

/// Returns the events in the order in which the calls began and ended.
pub(super) fn events(trace: &str) -> Vec<Event<'_>> {
    let mut events = Vec::new();
    // The unfinished call of each thread.
    let mut open: HashMap<&str, (usize, &str, &str)> = HashMap::new();
    let mut calls = 0;
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            if let Some((call, name, args)) = open.remove(thread) {
                let phase = Phase::Ends(succeeded(resumed));
                events.push(Event { call, name, args, phase });
            }
            continue;
        }
        let Some((name, rest)) = rest.split_once('(') else { continue };
        let (call, phase) = (calls, Phase::Begins);
        calls += 1;
        if let Some(args) = rest.strip_suffix("<unfinished ...>") {
            open.insert(thread, (call, name, args));
            events.push(Event { call, name, args, phase });
        } else if let Some((args, result)) = rest.rsplit_once(") = ") {
            events.push(Event { call, name, args, phase });
            let phase = Phase::Ends(!result.trim_start().starts_with('-'));
            events.push(Event { call, name, args, phase });
        }
    }
    events
}

fn succeeded(resumed: &str) -> bool {
    let result = resumed.rsplit_once(" = ").map(|(_, result)| result);
    result.is_some_and(|result| !result.trim_start().starts_with('-'))
}

impl<'a> Event<'a> {
    /// Returns the path of the file descriptor in the first argument.
    pub(super) fn file(&self) -> Option<&'a str> {
        let (descriptor, rest) = self.args.split_once('<')?;
        let is_number = descriptor.bytes().all(|byte| byte.is_ascii_digit());
        let (path, _) = rest.split_once('>')?;
        (is_number && path.starts_with('/')).then_some(path)
    }

    /// Returns the paths among the arguments.
    pub(super) fn paths(&self) -> Vec<&'a str> {
        self.args.split('"').skip(1).step_by(2).collect()
    }

    /// Returns the bytes sent to a socket, as far as the trace has them.
    pub(super) fn sent(&self) -> Option<Vec<u8>> {
        let (descriptor, _) = self.args.split_once(',')?;
        if !descriptor.contains("<socket:") {
            return None;
        }
        Some(self.paths().into_iter().flat_map(unescaped).collect())
    }
}

/// Decodes the bytes of an escaped text of the trace.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if let Some(hex) = rest.strip_prefix("\\x")
            && let Some(byte) = hex.get(..2).and_then(|two| u8::from_str_radix(two, 16).ok())
        {
            bytes.push(byte);
            rest = &hex[2..];
            continue;
        }
        let mut buffer = [0; 4];
        bytes.extend_from_slice(letter.encode_utf8(&mut buffer).as_bytes());
        rest = &rest[letter.len_utf8()..];
    }
    bytes
}

#[test]
fn overlapping_calls_are_distinguished() {
    let trace = "\
7 openat(AT_FDCWD</x>, \"/d/a.wal\", O_WRONLY|O_CREAT, 0666) = 9</d/a.wal>
7 write(9</d/a.wal>, \"\\x00\\x01A\"..., 70 <unfinished ...>
8 fsync(10</d> <unfinished ...>
7 <... write resumed>) = 70
8 <... fsync resumed>)              = -1 EIO (Input/output error)
8 sendto(4<socket:[55]>, \"HTTP/1.1 200\"..., 117, MSG_NOSIGNAL, NULL, 0) = 117
8 +++ exited with 0 +++
";
    let events = events(trace);
    let brief: Vec<_> = events.iter().map(|event| (event.call, event.name, event.phase)).collect();
    assert_eq!(
        brief,
        [
            (0, "openat", Phase::Begins),
            (0, "openat", Phase::Ends(true)),
            (1, "write", Phase::Begins),
            (2, "fsync", Phase::Begins),
            (1, "write", Phase::Ends(true)),
            (2, "fsync", Phase::Ends(false)),
            (3, "sendto", Phase::Begins),
            (3, "sendto", Phase::Ends(true)),
        ]
    );
    assert_eq!(events[0].paths(), ["/d/a.wal"]);
    assert_eq!((events[2].file(), events[3].file()), (Some("/d/a.wal"), Some("/d")));
    assert_eq!(events[6].sent().unwrap(), b"HTTP/1.1 200");
    assert_eq!(unescaped("\\x00\\x01A"), [0, 1, b'A']);
}
