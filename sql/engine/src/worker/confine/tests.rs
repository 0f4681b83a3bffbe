//! Attempts at everything that a worker may not do, by a process that is started and confined as a
//! worker is.
//!
//! The test program starts itself in the worker's place (`as` and a role among its arguments). A
//! process that is not confined makes the same attempts, and they succeed there. So none fails for
//! another reason. Calls that only a compromised engine makes (`ptrace`, executable memory) are
//! given to the kernel's filter program, which is interpreted as the kernel does it.
#![allow(
    clippy::disallowed_methods,
    reason = "attempts at what a worker must not reach; a process of a test lives in real time"
)]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd},
        linux::net::SocketAddrExt,
        unix::{
            net::{SocketAddr, UnixListener, UnixStream},
            process::{ExitStatusExt, parent_id},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope,
};
use rlimit::Resource;
use seccompiler::{SeccompAction, sock_filter};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidings_sql::{Process, WorkerLimits, WorkerProgram, message::Confinement};

use super::{confine, kernel};

/// The test that the process of a role runs in place of a worker.
const ENTRY: &str = "worker::confine::tests::a_worker_reaches_nothing_but_its_connection";

const LIMITS: WorkerLimits = WorkerLimits { address_bytes_max: 256 << 20, cpu_seconds_max: 10 };

/// Longer than a worker with one second of processor time can run.
const ENDLESS: Duration = Duration::from_secs(30);

/// Result of an attempt that succeeds. Errors have the kernel's numbers, and this is none of them.
const DONE: i32 = 0;

/// An attempt, its error in a worker, and its error under Landlock alone, if Landlock refuses it.
const ATTEMPTS: &[(&str, i32, Option<i32>)] = &[
    ("read what the server sends", DONE, Some(DONE)),
    ("start a thread", DONE, Some(DONE)),
    ("take memory within the limit", DONE, Some(DONE)),
    ("take memory beyond the limit", libc::ENOMEM, None),
    ("read a file of the system", libc::ENOSYS, Some(libc::EACCES)),
    ("read a file of the server", libc::ENOSYS, Some(libc::EACCES)),
    ("read a file that was left open", libc::ENOSYS, None),
    ("list a folder", libc::ENOSYS, Some(libc::EACCES)),
    ("look at a file", libc::ENOSYS, None),
    ("append to a file", libc::ENOSYS, Some(libc::EACCES)),
    ("create a file", libc::ENOSYS, Some(libc::EACCES)),
    ("create a folder", libc::ENOSYS, Some(libc::EACCES)),
    ("rename a file", libc::ENOSYS, Some(libc::EACCES)),
    ("remove a file", libc::ENOSYS, Some(libc::EACCES)),
    ("connect by TCP", libc::ENOSYS, Some(libc::EACCES)),
    ("listen by TCP", libc::ENOSYS, Some(libc::EACCES)),
    ("open a UDP socket", libc::ENOSYS, None),
    ("connect to a socket in a folder", libc::ENOSYS, None),
    ("connect to an abstract socket", libc::ENOSYS, Some(libc::EPERM)),
    ("run a program", libc::ENOSYS, Some(libc::EACCES)),
    ("raise a limit", libc::ENOSYS, None),
    ("open the memory of a process", libc::ENOSYS, Some(libc::EACCES)),
    (PARENTS_MEMORY, libc::ENOSYS, Some(libc::EACCES)),
    ("end a process", libc::ENOSYS, Some(libc::EPERM)),
];

/// A free process is refused this as well, where the system forbids tracing a parent.
const PARENTS_MEMORY: &str = "open the memory of the parent";

/// Confinement of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Not confined.
    Free,
    /// Confined by Landlock alone, because seccomp would answer first.
    Landlock,
    /// Confined as a worker is.
    Worker,
    /// As a worker; it writes a file.
    Writer,
    /// As a worker; it uses the processor.
    Spinner,
}

impl Role {
    const ALL: [(&'static str, Self); 5] = [
        ("free", Self::Free),
        ("landlock", Self::Landlock),
        ("worker", Self::Worker),
        ("writer", Self::Writer),
        ("spinner", Self::Spinner),
    ];

    /// Returns the role that this process was started for, and its folder.
    fn of_this_process() -> Option<(Self, PathBuf)> {
        let mut arguments = std::env::args().skip_while(|argument| argument != "as").skip(1);
        let (name, folder) = (arguments.next()?, arguments.next()?);
        let role = Self::ALL.into_iter().find(|(known, _)| *known == name)?.1;
        Some((role, folder.into()))
    }

    /// Starts this program for the role, as the server starts a worker.
    fn start(self, folder: &Path, limits: WorkerLimits) -> Process {
        let name = Self::ALL.into_iter().find(|(_, role)| *role == self).unwrap().0;
        let arguments = [ENTRY, "--exact", "--nocapture", "--test-threads=1", "as", name];
        let arguments = arguments.into_iter().map(OsString::from).chain([folder.into()]);
        let program = WorkerProgram::at(std::env::current_exe().unwrap());
        program.with_arguments(arguments).start(limits).unwrap()
    }
}

/// Objects of the server that a process without confinement can reach.
#[derive(Debug, Serialize, Deserialize)]
struct Targets {
    folder: PathBuf,
    tcp_port: u16,
    abstract_name: String,
}

/// Report of a process: its confinement, and the error of each attempt.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    confinement: Confinement,
    outcomes: BTreeMap<String, i32>,
}

/// A folder with files, and sockets that listen.
struct SandboxProbe {
    folder: TempDir,
    tcp: TcpListener,
    _in_folder: UnixListener,
    _abstract: UnixListener,
    abstract_name: String,
}

impl SandboxProbe {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["data", "renamed", "removed"] {
            fs::write(folder.path().join(name), "rows").unwrap();
        }
        let abstract_name = folder.path().to_str().unwrap().to_owned();
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        Self {
            tcp: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            _in_folder: UnixListener::bind(folder.path().join("socket")).unwrap(),
            _abstract: UnixListener::bind_addr(&address).unwrap(),
            folder,
            abstract_name,
        }
    }

    /// Returns the report of a process of the role.
    fn report(&self, role: Role) -> Report {
        let mut process = role.start(self.folder.path(), LIMITS);
        let targets = Targets {
            folder: self.folder.path().to_owned(),
            tcp_port: self.tcp.local_addr().unwrap().port(),
            abstract_name: self.abstract_name.clone(),
        };
        let line = serde_json::to_string(&targets).unwrap() + "\n";
        process.socket.write_all(line.as_bytes()).unwrap();
        let mut report = String::new();
        process.socket.read_to_string(&mut report).unwrap();
        let (status, output) = ended(process);
        assert!(status.success(), "{role:?}: {status}: {output}");
        serde_json::from_str(&report).unwrap()
    }
}

/// Returns the exit status of a process, and its output.
fn ended(mut process: Process) -> (ExitStatus, String) {
    let mut output = String::new();
    process.output.read_to_string(&mut output).unwrap();
    (process.child.wait().unwrap(), output)
}

/// True when the kernel's Landlock knows everything that a worker asks of it.
fn has_landlock() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let ruleset = ruleset.handle_access(AccessFs::from_all(ABI::V5));
    let ruleset = ruleset.and_then(|rules| rules.handle_access(AccessNet::from_all(ABI::V5)));
    let ruleset = ruleset.and_then(|rules| rules.scope(Scope::from_all(ABI::V6)));
    ruleset.is_ok() || leave_out("files and sockets forbidden by Landlock: the kernel's is too old")
}

/// True when the kernel has seccomp.
fn has_seccomp() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.contains("\nSeccomp:") || leave_out("calls forbidden by seccomp: the kernel has none")
}

/// Notes a part that was not run, for `cargo xtask test`. Returns false.
fn leave_out(reason: &str) -> bool {
    eprintln!("left out: {reason}");
    if let Some(path) = std::env::var_os("TEST_LEFT_OUT") {
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        writeln!(file, "{reason}").unwrap();
    }
    false
}

#[test]
fn a_worker_reaches_nothing_but_its_connection() {
    if let Some((role, folder)) = Role::of_this_process() {
        play(role, &folder);
    }
    if !has_seccomp() {
        return;
    }
    let Report { confinement, outcomes } = SandboxProbe::new().report(Role::Worker);
    assert!(confinement.seccomp);
    for (attempt, error, _) in ATTEMPTS {
        assert_eq!(outcomes[*attempt], *error, "{attempt}: {outcomes:#?}");
    }
}

#[test]
fn landlock_alone_keeps_a_worker_from_files_ports_and_processes() {
    if !has_landlock() {
        return;
    }
    let Report { confinement, outcomes } = SandboxProbe::new().report(Role::Landlock);
    assert!(confinement.landlock);
    for (attempt, _, error) in ATTEMPTS {
        if let Some(error) = error {
            assert_eq!(outcomes[*attempt], *error, "{attempt}: {outcomes:#?}");
        }
    }
}

#[test]
fn a_free_process_succeeds_in_all_that_a_worker_may_not_do() {
    let Report { confinement, outcomes } = SandboxProbe::new().report(Role::Free);
    assert_eq!(confinement, Confinement::default());
    assert_eq!(outcomes.len(), ATTEMPTS.len());
    for (attempt, ..) in ATTEMPTS.iter().filter(|(attempt, ..)| *attempt != PARENTS_MEMORY) {
        assert_eq!(outcomes[*attempt], DONE, "{attempt}: {outcomes:#?}");
    }
}

#[test]
fn a_worker_that_makes_a_file_longer_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (status, output) = ended(Role::Writer.start(folder.path(), LIMITS));
    assert_eq!(status.signal(), Some(libc::SIGXFSZ), "{status}: {output}");
    assert_eq!(fs::read(folder.path().join("written")).unwrap(), b"");
}

#[test]
fn a_worker_that_uses_up_its_processor_time_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let limits = WorkerLimits { cpu_seconds_max: 1, ..LIMITS };
    let (status, output) = ended(Role::Spinner.start(folder.path(), limits));
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}: {output}");
}

/// Performs the role, and ends the process.
fn play(role: Role, folder: &Path) -> ! {
    match role {
        Role::Free | Role::Landlock | Role::Worker => answer(role),
        Role::Writer => {
            let mut file = File::create(folder.join("written")).unwrap();
            confine(LIMITS).unwrap();
            let written = file.write_all(b"rows");
            eprintln!("{written:?}");
        }
        Role::Spinner => {
            confine(WorkerLimits { cpu_seconds_max: 1, ..LIMITS }).unwrap();
            let begin = Instant::now();
            while begin.elapsed() < ENDLESS {
                std::hint::spin_loop();
            }
        }
    }
    std::process::exit(0)
}

/// Makes all attempts and reports them over the connection.
fn answer(role: Role) {
    let connection = io::stdin().as_fd().try_clone_to_owned().unwrap();
    let (input, mut output) = (File::from(connection.try_clone().unwrap()), File::from(connection));
    // Objects in reach: a process beside this one, and files that a server forgot to close.
    let mut beside = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let mut open = File::open("/proc/self/exe").unwrap();
    let mut below = Vec::new();
    while open.as_raw_fd() <= 4 {
        below.push(std::mem::replace(&mut open, File::open("/proc/self/exe").unwrap()));
    }
    let confinement = match role {
        Role::Landlock => Confinement { landlock: kernel::forbid_files(), seccomp: false },
        Role::Worker => confine(LIMITS).unwrap(),
        _ => Confinement::default(),
    };
    let mut line = String::new();
    let read = BufReader::new(input).read_line(&mut line);
    let targets: Targets = serde_json::from_str(&line).unwrap();
    let mut outcomes = attempts(&targets, &mut beside, &mut open);
    outcomes.insert("read what the server sends".to_owned(), error(read));
    let report = serde_json::to_vec(&Report { confinement, outcomes }).unwrap();
    output.write_all(&report).unwrap();
}

fn error<T>(result: io::Result<T>) -> i32 {
    result.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| DONE)
}

fn attempts(targets: &Targets, beside: &mut Child, open: &mut File) -> BTreeMap<String, i32> {
    let file = |name: &str| targets.folder.join(name);
    let memory = |pid: u32| error(File::open(format!("/proc/{pid}/mem")));
    let take = |count: usize| {
        let mut bytes = Vec::<u8>::new();
        let taken = bytes.try_reserve_exact(count);
        std::hint::black_box(&bytes);
        if taken.is_ok() { DONE } else { libc::ENOMEM }
    };
    let abstract_address = SocketAddr::from_abstract_name(&targets.abstract_name).unwrap();
    let port = (Ipv4Addr::LOCALHOST, targets.tcp_port);
    let outcomes = [
        ("start a thread", error(thread::Builder::new().spawn(|| {}))),
        ("take memory within the limit", take(16 << 20)),
        ("take memory beyond the limit", take(1 << 30)),
        ("read a file of the system", error(File::open("/etc/passwd"))),
        ("read a file of the server", error(fs::read(file("data")))),
        ("read a file that was left open", error(open.read(&mut [0; 16]))),
        ("list a folder", error(fs::read_dir(&targets.folder))),
        ("look at a file", error(fs::metadata(file("data")))),
        ("append to a file", error(OpenOptions::new().append(true).open(file("data")))),
        ("create a file", error(File::create(file("created")))),
        ("create a folder", error(fs::create_dir(file("folder")))),
        ("rename a file", error(fs::rename(file("renamed"), file("renamed too")))),
        ("remove a file", error(fs::remove_file(file("removed")))),
        ("connect by TCP", error(TcpStream::connect(port))),
        ("listen by TCP", error(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))),
        ("open a UDP socket", error(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))),
        ("connect to a socket in a folder", error(UnixStream::connect(file("socket")))),
        ("connect to an abstract socket", error(UnixStream::connect_addr(&abstract_address))),
        ("run a program", error(Command::new("true").status())),
        ("raise a limit", error(Resource::CORE.set(0, 0))),
        ("open the memory of a process", memory(beside.id())),
        (PARENTS_MEMORY, memory(parent_id())),
        ("end a process", error(beside.kill())),
    ];
    outcomes.into_iter().map(|(attempt, error)| (attempt.to_owned(), error)).collect()
}

/// Interprets the filter as the kernel does. Returns its verdict on a call.
fn verdict(filter: &[sock_filter], call: i64, arguments: [u64; 6]) -> u32 {
    // The architecture is the one that the filter compares first.
    let architecture = filter[1].k;
    let half = |number: u64, shift: u32| u32::try_from(number >> shift & 0xffff_ffff).unwrap();
    // `struct seccomp_data`: the call, the architecture, the place in the program, the arguments.
    let mut data = vec![u32::try_from(call).unwrap(), architecture, 0, 0];
    data.extend(arguments.into_iter().flat_map(|number| [half(number, 0), half(number, 32)]));
    let (mut at, mut value) = (0, 0);
    loop {
        let step = &filter[at];
        let operand = step.k;
        at += 1;
        let is_true = match step.code {
            // BPF_RET, BPF_LD | BPF_ABS, BPF_ALU | BPF_AND, BPF_JMP.
            0x06 => return operand,
            0x20 => {
                value = data[operand as usize / 4];
                continue;
            }
            0x54 => {
                value &= operand;
                continue;
            }
            0x05 => {
                at += operand as usize;
                continue;
            }
            // BPF_JMP with BPF_JEQ, BPF_JGT and BPF_JGE.
            0x15 => value == operand,
            0x25 => value > operand,
            0x35 => value >= operand,
            code => panic!("the filter has a step {code:#x}"),
        };
        at += usize::from(if is_true { step.jt } else { step.jf });
    }
}

/// Calls that a worker makes.
fn usual_calls() -> Vec<(&'static str, i64, [u64; 6])> {
    let number = |number: libc::c_int| u64::from(number.unsigned_abs());
    let (data, thread) = (number(libc::PROT_READ | libc::PROT_WRITE), number(libc::CLONE_THREAD));
    let own = u64::from(std::process::id());
    vec![
        ("read of the connection", libc::SYS_read, [0, 0, 0, 0, 0, 0]),
        ("write to the last of its files", libc::SYS_write, [4, 0, 0, 0, 0, 0]),
        ("memory", libc::SYS_mmap, [0, 4096, data, 0, u64::MAX, 0]),
        ("memory for data", libc::SYS_mprotect, [0, 4096, data, 0, 0, 0]),
        ("thread", libc::SYS_clone, [thread, 0, 0, 0, 0, 0]),
        ("look at a limit", libc::SYS_prlimit64, [0, 7, 0, 1, 0, 0]),
        ("signal to itself", libc::SYS_tgkill, [own, 0, 6, 0, 0, 0]),
    ]
}

/// Calls with arguments that a worker never uses.
fn unusual_calls() -> Vec<(&'static str, i64, [u64; 6])> {
    let number = |number: libc::c_int| u64::from(number.unsigned_abs());
    let (data, code) = (number(libc::PROT_READ), number(libc::PROT_READ | libc::PROT_EXEC));
    let other = u64::from(parent_id());
    vec![
        ("read of another file", libc::SYS_read, [5, 0, 0, 0, 0, 0]),
        ("write to another file", libc::SYS_write, [5, 0, 0, 0, 0, 0]),
        ("close of another file", libc::SYS_close, [5, 0, 0, 0, 0, 0]),
        ("memory of a file", libc::SYS_mmap, [0, 4096, data, 0, 3, 0]),
        ("memory for code", libc::SYS_mmap, [0, 4096, code, 0, u64::MAX, 0]),
        ("memory made code", libc::SYS_mprotect, [0, 4096, code, 0, 0, 0]),
        ("process", libc::SYS_clone, [number(libc::SIGCHLD), 0, 0, 0, 0, 0]),
        ("limit raised", libc::SYS_prlimit64, [0, 7, 1, 0, 0, 0]),
        ("limit of another process", libc::SYS_prlimit64, [other, 7, 0, 1, 0, 0]),
        ("signal to another process", libc::SYS_tgkill, [other, 0, 9, 0, 0, 0]),
        ("may be traced", libc::SYS_prctl, [number(libc::PR_SET_DUMPABLE), 1, 0, 0, 0, 0]),
        // The numbers of x32, which an x86-64 kernel may know.
        ("call of x32", libc::SYS_read | 0x4000_0000, [0, 0, 0, 0, 0, 0]),
    ]
}

/// Calls that are refused whatever their arguments are.
const FORBIDDEN_CALLS: &[(&str, i64)] = &[
    ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("kill", libc::SYS_kill),
    ("tkill", libc::SYS_tkill),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("execve", libc::SYS_execve),
    ("execveat", libc::SYS_execveat),
    ("clone3", libc::SYS_clone3),
    ("unshare", libc::SYS_unshare),
    ("setns", libc::SYS_setns),
    ("openat", libc::SYS_openat),
    ("openat2", libc::SYS_openat2),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("memfd_create", libc::SYS_memfd_create),
    ("socket", libc::SYS_socket),
    ("socketpair", libc::SYS_socketpair),
    ("connect", libc::SYS_connect),
    ("bind", libc::SYS_bind),
    ("sendto", libc::SYS_sendto),
    ("sendmsg", libc::SYS_sendmsg),
    ("recvmsg", libc::SYS_recvmsg),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("bpf", libc::SYS_bpf),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("add_key", libc::SYS_add_key),
    ("keyctl", libc::SYS_keyctl),
    ("mount", libc::SYS_mount),
    ("chroot", libc::SYS_chroot),
    ("seccomp", libc::SYS_seccomp),
    ("setuid", libc::SYS_setuid),
    ("ioctl", libc::SYS_ioctl),
    ("fcntl", libc::SYS_fcntl),
    ("dup", libc::SYS_dup),
];

#[test]
fn the_filter_refuses_calls_that_a_worker_does_not_need() {
    let filter = kernel::filter().unwrap();
    for (what, call, arguments) in usual_calls() {
        assert_eq!(verdict(&filter, call, arguments), u32::from(SeccompAction::Allow), "{what}");
    }
    let refused = u32::from(SeccompAction::Errno(libc::ENOSYS.unsigned_abs()));
    for (what, call, arguments) in unusual_calls() {
        assert_eq!(verdict(&filter, call, arguments), refused, "{what}");
    }
    for (what, call) in FORBIDDEN_CALLS {
        for arguments in [[0; 6], [1; 6], [u64::MAX; 6]] {
            assert_eq!(verdict(&filter, *call, arguments), refused, "{what}");
        }
    }
}
