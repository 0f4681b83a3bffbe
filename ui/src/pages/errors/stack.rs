//! Stack traces in lines: those of the reader's code stand out, runs of a library's are one line.
//!
//! Stacks are text of any language and of any length. A line is a frame of a library when it names
//! one of the well-known runtimes and frameworks, or lies in a folder of installed packages.

/// A stack of more lines than this is cut.
const LINES_MAX: usize = 2_000;

/// A part of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StackPart {
    /// The error's own words: the first line, and those of its causes.
    Headline(String),
    /// A frame of the reader's code, or a line that is no frame.
    Line(String),
    /// Frames of libraries in a row.
    Library(Vec<String>),
}

/// Beginnings of frames, after `at`, that are of runtimes and frameworks.
const LIBRARIES: [&str; 38] = [
    "java.",
    "javax.",
    "jakarta.",
    "jdk.",
    "sun.",
    "com.sun.",
    "kotlin.",
    "kotlinx.",
    "scala.",
    "org.springframework.",
    "org.apache.",
    "org.eclipse.",
    "org.hibernate.",
    "io.netty.",
    "io.grpc.",
    "io.opentelemetry.",
    "reactor.",
    "rx.",
    "com.fasterxml.",
    "com.zaxxer.",
    "org.postgresql.",
    "System.",
    "Microsoft.",
    "Grpc.",
    "Npgsql.",
    "node:",
    "internal/",
    "runtime.",
    "net/http.",
    "google.golang.org/",
    "golang.org/",
    "database/sql.",
    "std::",
    "core::",
    "alloc::",
    "tokio::",
    "hyper::",
    "<alloc::",
];
const FOLDERS: [&str; 9] = [
    "/node_modules/",
    "site-packages/",
    "/lib/python",
    "/dist-packages/",
    "/rustc/",
    "/.cargo/registry/",
    "/usr/lib/",
    "/gems/",
    "/vendor/",
];

/// The parts of a stack, in order, and whether it was cut.
#[must_use]
pub fn parts(stack: &str) -> (Vec<StackPart>, bool) {
    let mut parts: Vec<StackPart> = Vec::new();
    let mut lines = stack.lines();
    for line in lines.by_ref().take(LINES_MAX) {
        let text = line.trim_end();
        if text.trim().is_empty() {
            continue;
        }
        if is_library(text) {
            match parts.last_mut() {
                Some(StackPart::Library(run)) => run.push(text.to_owned()),
                _ => parts.push(StackPart::Library(vec![text.to_owned()])),
            }
        } else if parts.is_empty() && !is_frame(text) || is_cause(text) {
            parts.push(StackPart::Headline(text.to_owned()));
        } else {
            parts.push(StackPart::Line(text.to_owned()));
        }
    }
    (parts, lines.next().is_some())
}

fn is_frame(line: &str) -> bool {
    let text = line.trim_start();
    text.starts_with("at ") || text.starts_with("File \"") || text.starts_with("from ")
}

fn is_cause(line: &str) -> bool {
    let text = line.trim_start();
    ["Caused by:", "Suppressed:", "---> ", "During handling of", "The above exception"]
        .iter()
        .any(|begin| text.starts_with(begin))
}

fn is_library(line: &str) -> bool {
    let text = line.trim_start();
    // Java names the rest of a stack that a cause shares with what it caused.
    if text.starts_with("... ") && text.ends_with(" more") {
        return true;
    }
    if FOLDERS.iter().any(|folder| text.contains(folder)) {
        return is_frame(line);
    }
    let Some(frame) = text.strip_prefix("at ") else { return false };
    let frame = frame.strip_prefix("async ").unwrap_or(frame);
    // `module/class` and `loader//class` of newer Java.
    let named = frame.split_once('(').map_or(frame, |(name, _)| name);
    let class = named.rsplit_once('/').map_or(named, |(_, class)| class);
    LIBRARIES.iter().any(|library| frame.starts_with(library) || class.starts_with(library))
        || frame.contains("(node:")
        || frame.contains("(internal/")
}

/// The package that frames of a run share, as `io.grpc`; absent where they share none.
#[must_use]
pub fn package_of(run: &[String]) -> Option<String> {
    let name = |line: &String| {
        let frame = line.trim_start().strip_prefix("at ")?;
        let named = frame.split_once('(').map_or(frame, |(name, _)| name);
        let class = named.rsplit_once('/').map_or(named, |(_, class)| class);
        let mut parts = class.split('.');
        Some(format!("{}.{}", parts.next()?, parts.next()?))
    };
    let first = name(run.first()?)?;
    run.iter().all(|line| name(line).as_ref() == Some(&first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::{StackPart, package_of, parts};

    const JAVA: &str = "AcquirerTimeout: no answer in 400 ms
\tat shop.payment.Acquirer.charge(Acquirer.java:88)
\tat io.grpc.stub.ServerCalls.onHalfClose(ServerCalls.java:182)
\tat io.grpc.internal.Context.run(Context.java:35)
\tat java.base/java.lang.Thread.run(Thread.java:833)
\tat shop.payment.Server.handle(Server.java:51)
Caused by: java.net.http.HttpTimeoutException: request timed out
\tat jdk.internal.net.http.Client.send(Client.java:1)
\t... 12 more
";

    #[test]
    fn runs_of_library_frames_are_one_part() {
        let (parts, cut) = parts(JAVA);
        assert!(!cut);
        let kinds: Vec<String> = parts
            .iter()
            .map(|part| match part {
                StackPart::Headline(_) => "head".to_owned(),
                StackPart::Line(_) => "line".to_owned(),
                StackPart::Library(run) => format!("library {}", run.len()),
            })
            .collect();
        assert_eq!(kinds, ["head", "line", "library 3", "line", "head", "library 2"]);
    }

    #[test]
    fn frames_of_other_languages_are_recognised_too() {
        let node = "Error: x\n    at charge (/app/pay.js:3:1)\n    at run (/app/node_modules/q/i.js:1:1)\n    at process (node:internal/process/task_queues:95:5)";
        assert_eq!(parts(node).0.len(), 3);
        let python = "Traceback (most recent call last):\n  File \"/srv/app.py\", line 3, in pay\n  File \"/usr/lib/python3/site-packages/flask/app.py\", line 9, in f";
        let (python, _) = parts(python);
        assert!(matches!(python[2], StackPart::Library(_)), "{python:?}");
    }

    #[test]
    fn a_run_of_one_package_has_its_name() {
        let run = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let grpc = run(&["\tat io.grpc.A.b(A.java:1)", "\tat io.grpc.C.d(C.java:2)"]);
        assert_eq!(package_of(&grpc).as_deref(), Some("io.grpc"));
        let mixed = run(&["\tat io.grpc.A.b(A.java:1)", "\tat java.base/java.lang.T.r(T.java:1)"]);
        assert_eq!(package_of(&mixed), None);
        assert_eq!(package_of(&[]), None);
    }

    #[test]
    fn any_text_is_a_stack_and_a_long_one_is_cut() {
        assert_eq!(parts(""), (Vec::new(), false));
        assert_eq!(parts("\u{0}\n<script>").0.len(), 2);
        let long = "    at x.y.Z(Z.java:1)\n".repeat(5_000);
        let (lines, cut) = parts(&long);
        assert!(cut && lines.len() == 2_000);
    }
}
