//! Confinement of a worker, which it sets up before it reads anything.
//!
//! | means | leaves |
//! |---|---|
//! | resource limits | so much address space and processor time; no file may grow, no core is written |
//! | Landlock | no file that is not open, no TCP, no signal and no socket of another process |
//! | seccomp | a list of system calls: memory, threads of its own, time, and its open files |
//! | the score of the kernel's killer | when memory is short, this process goes first |
//! | the signal of the parent's end | none outlives the server, a stopped one neither |
//!
//! Resource limits exist on every system. Where the kernel has no Landlock or no seccomp, the
//! worker reports that and continues: see
//! `docs/decisions/0050-run-each-sql-query-in-a-child-process.md`.

use std::io;

use rlimit::Resource;
use tidings_sql::{limits::WorkerLimits, message::Confinement};

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

/// Standard input, output and error, the connection twice, and one more that the system may open
/// briefly.
const OPEN_FILES_MAX: u64 = 8;

/// Confines the process, which must still have only one thread.
///
/// # Errors
/// Fails if a resource limit or the signal for the parent's end cannot be set.
pub(super) fn confine(limits: WorkerLimits) -> io::Result<Confinement> {
    kernel::end_with_server()?;
    go_first();
    let address_bytes = program_bytes().saturating_add(limits.address_bytes_max);
    let landlock = kernel::forbid_files();
    for (resource, max) in [
        (Resource::AS, address_bytes),
        (Resource::CPU, limits.cpu_seconds_max),
        (Resource::FSIZE, 0),
        (Resource::CORE, 0),
        (Resource::NOFILE, OPEN_FILES_MAX),
    ] {
        resource.set(max, max)?;
    }
    Ok(Confinement { landlock, seccomp: kernel::forbid_calls() })
}

/// Returns the bytes of address space that the program has without a query.
fn program_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib = kib.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(1 << 20).saturating_mul(1024)
}

/// Makes the kernel end this process before the server when memory is short.
#[expect(clippy::disallowed_methods, reason = "a file of the kernel's, of which nothing is kept")]
fn go_first() {
    // Without it the kernel chooses by memory use alone.
    drop(std::fs::write("/proc/self/oom_score_adj", "1000"));
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::{collections::BTreeMap, io};

    use landlock::{
        ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope,
    };
    use rustix::process::{Signal, set_parent_process_death_signal};
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };

    /// `PR_SET_VMA`, by which allocators name their memory.
    const PR_SET_VMA: u64 = 0x5356_4d41;

    /// Standard input, output and error, and the connection twice.
    const OWN_FILES_MAX: u64 = 4;
    /// The file descriptor of memory without a file: -1.
    const NO_FILE: u64 = 0xffff_ffff;

    /// Calls that are always allowed.
    const CALLS: &[libc::c_long] = &[
        // Memory.
        libc::SYS_brk,
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_munmap,
        // Its threads.
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_membarrier,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_set_robust_list,
        libc::SYS_sigaltstack,
        // Time and chance.
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_getrandom,
        libc::SYS_nanosleep,
    ];

    /// Makes the kernel kill the process when the thread that started it ends. That thread lives as
    /// long as the server does.
    pub(super) fn end_with_server() -> io::Result<()> {
        Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
    }

    /// Uses Landlock to keep the process from files, ports and other processes.
    pub(super) fn forbid_files() -> bool {
        let restrict = || -> Result<RulesetStatus, RulesetError> {
            let ruleset = Ruleset::default()
                .handle_access(AccessFs::from_all(ABI::V5))?
                .handle_access(AccessNet::from_all(ABI::V5))?
                .scope(Scope::from_all(ABI::V6))?;
            Ok(ruleset.create()?.restrict_self()?.ruleset)
        };
        restrict().is_ok_and(|status| status != RulesetStatus::NotEnforced)
    }

    /// Limits the process to the system calls on the list.
    pub(super) fn forbid_calls() -> bool {
        filter().is_some_and(|filter| seccompiler::apply_filter(&filter).is_ok())
    }

    pub(super) fn filter() -> Option<BpfProgram> {
        let condition = |argument, operator, value| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)
        };
        let first =
            |operator, value| SeccompCondition::new(0, SeccompCmpArgLen::Dword, operator, value);
        let exec = libc::PROT_EXEC.unsigned_abs().into();
        let thread = libc::CLONE_THREAD.unsigned_abs().into();
        let rules = |conditions: Vec<Result<SeccompCondition, _>>| {
            let rules = conditions.into_iter();
            let rules = rules.map(|condition| SeccompRule::new(vec![condition?]));
            rules.collect::<Result<Vec<_>, _>>()
        };
        let own_file = || vec![first(SeccompCmpOp::Le, OWN_FILES_MAX)];
        let restricted: [(libc::c_long, Vec<_>); 6] = [
            // Only its own files, and none that the server left open.
            (libc::SYS_read, own_file()),
            (libc::SYS_write, own_file()),
            (libc::SYS_close, own_file()),
            // No new programs.
            (libc::SYS_mprotect, vec![condition(2, SeccompCmpOp::MaskedEq(exec), 0)]),
            // Threads but no processes. `clone3` answers as unknown, and the C library then uses
            // this call.
            (libc::SYS_clone, vec![condition(0, SeccompCmpOp::MaskedEq(thread), thread)]),
            (
                libc::SYS_prctl,
                vec![
                    condition(0, SeccompCmpOp::Eq, libc::PR_SET_NAME.unsigned_abs().into()),
                    condition(0, SeccompCmpOp::Eq, PR_SET_VMA),
                ],
            ),
        ];
        let mut allowed: BTreeMap<i64, Vec<SeccompRule>> =
            CALLS.iter().map(|call| (*call, Vec::new())).collect();
        for (call, conditions) in restricted {
            allowed.insert(call, rules(conditions).ok()?);
        }
        // Only memory without a file, and no new programs.
        let anonymous =
            SeccompCondition::new(4, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, NO_FILE);
        let data = condition(2, SeccompCmpOp::MaskedEq(exec), 0);
        let memory = SeccompRule::new(vec![anonymous.ok()?, data.ok()?]).ok()?;
        allowed.insert(libc::SYS_mmap, vec![memory]);
        // Its own limits may be read but not raised.
        let (itself, unchanged) = (first(SeccompCmpOp::Eq, 0), condition(2, SeccompCmpOp::Eq, 0));
        let limits = SeccompRule::new(vec![itself.ok()?, unchanged.ok()?]).ok()?;
        allowed.insert(libc::SYS_prlimit64, vec![limits]);
        // Signals to itself only: a process without memory aborts with one.
        let own = condition(0, SeccompCmpOp::Eq, std::process::id().into());
        allowed.insert(libc::SYS_tgkill, rules(vec![own]).ok()?);
        // The answer of an old kernel; callers continue without the system call.
        let refused = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
        let architecture = std::env::consts::ARCH.try_into().ok()?;
        let filter = SeccompFilter::new(allowed, refused, SeccompAction::Allow, architecture);
        filter.ok()?.try_into().ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::io;

    pub(super) fn end_with_server() -> io::Result<()> {
        Ok(())
    }

    pub(super) fn forbid_files() -> bool {
        false
    }

    pub(super) fn forbid_calls() -> bool {
        false
    }
}
