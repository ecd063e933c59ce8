//! What a process of the daemon may not do any more, whatever a log or a request makes of it.
//!
//! Two walls of the kernel's: Landlock for files, TCP and signals, seccomp for system calls; and limits. Each
//! holds for the thread that raises it and for what that starts, so it is raised before a process has a
//! second one, and never comes down.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::resource::{Resource, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use super::process::{Death, fork, wait_for};

/// What is forbidden, as far as the kernel knows it: newer rules would change what an upgrade of the kernel
/// does to a running daemon.
const KNOWN: ABI = ABI::V6;
/// So many descriptors are enough for a worker: its own seven, a log, a result.
const WORKER_DESCRIPTORS: u64 = 64;

/// The walls that this system has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Walls {
    /// Files, TCP, signals.
    pub landlock: bool,
    /// System calls.
    pub seccomp: bool,
}

/// What may be done with the files below a folder, or with one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Right {
    /// Folders are listed, files read.
    Read,
    /// Folders are listed, files made, written and removed; not read.
    Write,
}

impl Walls {
    /// Tries in a child of its own which walls there are. A container may forbid what the kernel has.
    ///
    /// # Errors
    /// If there is no child to be had.
    pub fn of_this_system() -> io::Result<Walls> {
        let pid = fork(|| {
            let all = Walls { landlock: true, seccomp: true };
            i32::from(Walls { seccomp: false, ..all }.raise_files(&[]).is_ok())
                + if all.raise_calls(worker_calls()).is_ok() { 2 } else { 0 }
        })?;
        match wait_for(pid)? {
            Death::Exit(code) => Ok(Walls { landlock: code & 1 != 0, seccomp: code & 2 != 0 }),
            // What kills who tries is no wall.
            Death::Signal(_) => Ok(Walls::default()),
        }
    }

    /// Are there all?
    pub fn are_whole(self) -> bool {
        self.landlock && self.seccomp
    }

    /// Shuts a worker in: it opens nothing, connects to nothing, signals nobody, starts nothing. What else it
    /// tries ends it by SIGSYS.
    ///
    /// # Errors
    /// If a wall does not hold that was there before.
    pub fn shut_in(self) -> io::Result<()> {
        if self.seccomp {
            // To print a trace takes files, and so it would die of that and not of what is wrong.
            // SAFETY: this process has one thread: nobody reads the environment meanwhile.
            unsafe { std::env::set_var("RUST_BACKTRACE", "0") };
        }
        self.raise_files(&[])?;
        self.raise_calls(worker_calls())
    }

    /// Keeps a process to these files. It starts no program, looks into no other process, and makes no TCP
    /// connection.
    ///
    /// # Errors
    /// Likewise. What is not there gives no right.
    pub fn keep_to(self, rights: &[(PathBuf, Right)]) -> io::Result<()> {
        self.raise_files(rights)?;
        self.raise_calls(forbidden_calls())
    }

    /// Keeps a process from starting programs and from looking into others.
    ///
    /// # Errors
    /// Likewise.
    pub fn keep_from_programs(self) -> io::Result<()> {
        self.raise_calls(forbidden_calls())
    }

    fn raise_files(self, rights: &[(PathBuf, Right)]) -> io::Result<()> {
        if !self.landlock {
            return Ok(());
        }
        let ruleset = Ruleset::default()
            .handle_access(AccessFs::from_all(KNOWN))
            .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(KNOWN)))
            .and_then(|ruleset| ruleset.scope(Scope::from_all(KNOWN)))
            .and_then(Ruleset::create);
        let mut ruleset = ruleset.map_err(io::Error::other)?;
        for (path, right) in rights {
            let Ok(at) = PathFd::new(path) else { continue };
            ruleset = ruleset.add_rule(PathBeneath::new(at, right.access(path))).map_err(io::Error::other)?;
        }
        let status = ruleset.restrict_self().map_err(io::Error::other)?;
        if status.ruleset == RulesetStatus::NotEnforced {
            Err(io::Error::other("this kernel does not enforce Landlock"))
        } else {
            Ok(())
        }
    }

    fn raise_calls(self, filter: io::Result<BpfProgram>) -> io::Result<()> {
        if !self.seccomp {
            return Ok(());
        }
        // Without that, only root may filter.
        set_no_new_privs()?;
        apply_filter(&filter?).map_err(io::Error::other)
    }
}

impl fmt::Display for Walls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.landlock, self.seccomp) {
            (true, true) => "landlock, seccomp",
            (true, false) => "landlock",
            (false, true) => "seccomp",
            (false, false) => "none",
        })
    }
}

impl Right {
    fn access(self, path: &Path) -> BitFlags<AccessFs> {
        let access = match self {
            Right::Read => make_bitflags!(AccessFs::{ReadFile | ReadDir}),
            // A file gets its name when it is whole: that is a renaming.
            Right::Write => {
                make_bitflags!(AccessFs::{ReadDir | WriteFile | Truncate | MakeReg | RemoveFile | Refer})
            }
        };
        if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) }
    }
}

/// Limits a worker: no memory image when it dies, few descriptors, no file longer than the longest result, no
/// more address space than so many bytes. It is the first to go when the system has no memory left.
///
/// # Errors
/// If the system refuses a limit.
pub fn limit_worker(result_bytes: u64, address_space: u64) -> io::Result<()> {
    let limits = [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NOFILE, WORKER_DESCRIPTORS),
        (Resource::RLIMIT_FSIZE, result_bytes),
        (Resource::RLIMIT_AS, address_space),
    ];
    for (resource, limit) in limits {
        setrlimit(resource, limit, limit)?;
    }
    // A container may show /proc for reading only.
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    Ok(())
}

/// Lets a worker do what counting takes, and nothing else.
fn worker_calls() -> io::Result<BpfProgram> {
    let always = [
        // The log that it was handed, and the result.
        libc::SYS_read,
        libc::SYS_pread64,
        libc::SYS_lseek,
        libc::SYS_fstat,
        libc::SYS_statx,
        libc::SYS_memfd_create,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_fcntl,
        libc::SYS_close,
        // The coordinator.
        libc::SYS_ppoll,
        libc::SYS_recvmsg,
        libc::SYS_sendmsg,
        // Memory.
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        // What the language and the C library do by themselves, also when they give up.
        libc::SYS_futex,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_sched_yield,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_exit,
        libc::SYS_exit_group,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        always.into_iter().map(|call| (call, Vec::new())).collect();
    // Memory that can be executed is not made.
    let no_execute = rule(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC.cast_unsigned().into()), 0)?;
    rules.insert(libc::SYS_mmap, vec![no_execute.clone()]);
    rules.insert(libc::SYS_mprotect, vec![no_execute]);
    // Signals go to itself: so it ends when it must.
    rules.insert(libc::SYS_tgkill, vec![rule(0, SeccompCmpOp::Eq, std::process::id().into())?]);
    compile(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}

/// Refuses what no process of the daemon does, with EPERM: starting programs, looking into other processes,
/// changing what the system shows of itself.
fn forbidden_calls() -> io::Result<BpfProgram> {
    let never = [
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_kcmp,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        // Its calls go past every filter.
        libc::SYS_io_uring_setup,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_setns,
        libc::SYS_unshare,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_swapoff,
    ];
    compile(
        never.into_iter().map(|call| (call, Vec::new())).collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.cast_unsigned()),
    )
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> io::Result<SeccompRule> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value);
    condition.and_then(|condition| SeccompRule::new(vec![condition])).map_err(io::Error::other)
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    other: SeccompAction,
    these: SeccompAction,
) -> io::Result<BpfProgram> {
    let arch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    SeccompFilter::new(rules, other, these, arch).and_then(TryInto::try_into).map_err(io::Error::other)
}

/// Takes hold of another process, as the tests try it.
#[cfg(debug_assertions)]
pub fn attach(pid: i32) -> io::Result<()> {
    // SAFETY: this request takes no pointer.
    let result = unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, 0, 0) };
    Ok(nix::errno::Errno::result(result).map(drop)?)
}
