//! A server with the incident `slow-dependency`, for tests that only read.
//!
//! The server stays for some seconds, and not only while a test reads it. Otherwise it would end
//! between two tests of one thread whenever the other thread runs a test with a server of its own.
//! Owns the age of the server and its end. Does not own servers of tests that send telemetry, or
//! that look at their own requests: those tests start one each.

use std::{
    ops::Deref,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Server, wait_until};

/// Time for which tests get the same server. After a minute without spans, pages say that all
/// traffic has ended. The last test to get the server has some 20 seconds until then.
const SHARED_FOR: Duration = Duration::from_secs(40);

/// Script that waits until its standard input ends, then kills a process and removes a folder.
const END: &str = "read -r end; kill -KILL \"$1\"; rm -rf \"$2\"";

static SHARED: Mutex<Option<Arc<SharedIncident>>> = Mutex::new(None);

/// The server. It ends when it is replaced and no test reads it, or with this program.
pub(crate) struct SharedIncident {
    /// Dropped before the server, because later the process id may belong to another process.
    _watch: EndWatch,
    server: Server,
    sent: Instant,
}

impl SharedIncident {
    fn start() -> Self {
        let server = Server::start();
        let watch = EndWatch::start(server.pid(), server.data_dir());
        server.send_incident("slow-dependency");
        Self { _watch: watch, server, sent: Instant::now() }
    }
}

impl Deref for SharedIncident {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// A process that kills another one and removes its folder when this program ends, however it ends.
/// Values of statics are not dropped then, but the pipe to the process closes.
struct EndWatch(Child);

impl EndWatch {
    fn start(pid: u32, folder: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", END, "sh", &pid.to_string()]).arg(folder);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(shell.spawn().unwrap())
    }
}

impl Drop for EndWatch {
    fn drop(&mut self) {
        // The pipe is still open, so that the script does not go on.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the server that the read-only tests share. Its last spans are less than a minute old.
pub(crate) fn incident() -> Arc<SharedIncident> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.as_ref().filter(|server| server.sent.elapsed() < SHARED_FOR) {
        return Arc::clone(server);
    }
    let server = Arc::new(SharedIncident::start());
    // An older one ends here, unless a test still reads from it.
    *shared = Some(Arc::clone(&server));
    server
}

#[test]
fn a_process_and_its_folder_end_with_the_program_that_started_them() {
    let folder = tempfile::tempdir().unwrap().keep();
    let mut child = Command::new("sleep").arg("300").spawn().unwrap();
    let mut watch = EndWatch::start(child.id(), &folder);
    // The end of this program would close the pipe, too.
    drop(watch.0.stdin.take());
    wait_until("the process is killed", || child.try_wait().unwrap().is_some());
    assert!(!child.wait().unwrap().success());
    wait_until("the folder is removed", || !folder.exists());
}
