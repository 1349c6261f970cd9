//! Filters of calls (seccomp): which calls of the kernel are still answered. It never looks at what a call points
//! to, for another thread could change that in between.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, apply_filter_all_threads, sock_filter,
};
use std::collections::BTreeMap;
use std::io;

/// Calls of another way to call the same kernel have this bit; a list of numbers would miss them.
#[cfg(target_arch = "x86_64")]
const X32_CALLS_FROM: u32 = 0x4000_0000;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Whether the kernel has filters; changes nothing.
#[allow(unsafe_code, reason = "the call has no safe form among our dependencies")]
pub fn is_there() -> bool {
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the call reads one number from the place it is given.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0_u32, &raw const action) };
    answer == 0
}

/// What computes on its pipes needs: memory, threads, its clock, an end. Everything else is answered as by a kernel
/// that does not have it, which libraries know how to live with.
pub fn only_compute() -> io::Result<()> {
    const FREE: &[libc::c_long] = &[
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_fstat,
        libc::SYS_lseek,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_restart_syscall,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_getcpu,
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_gettimeofday,
        libc::SYS_getrusage,
        libc::SYS_getrandom,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let mut rules: Rules = FREE.iter().map(|call| (*call, Vec::new())).collect();
    // Threads, and no processes. What else can ask for a process hides its wishes behind a pointer.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![long(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
    // No memory that can be run: what is compiled here is run elsewhere.
    let run = libc::PROT_EXEC as u64;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![long(2, SeccompCmpOp::MaskedEq(run), 0)?]);
    }
    // Limits are read, never set.
    rules.insert(libc::SYS_prlimit64, vec![long(2, SeccompCmpOp::Eq, 0)?]);
    let names = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA];
    rules.insert(libc::SYS_prctl, one_of(0, names.map(|name| name as u64))?);
    let looks = [libc::F_GETFD, libc::F_GETFL];
    rules.insert(libc::SYS_fcntl, one_of(1, looks.map(|look| look as u64))?);
    // It may end itself, and nobody else.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, one_of(0, [own])?);
    let lacking = SeccompAction::Errno(libc::ENOSYS as u32);
    apply_filter(&compiled(rules, lacking, SeccompAction::Allow)?).map_err(io::Error::other)
}

/// What no server asks for: other processes' memory, the kernel's own workings, mounts, clocks, keys, other users. In
/// all threads of this process, and all that it starts.
pub fn no_administration() -> io::Result<()> {
    const NEVER: &[libc::c_long] = &[
        // Other processes.
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_process_madvise,
        libc::SYS_kcmp,
        libc::SYS_pidfd_getfd,
        libc::SYS_perf_event_open,
        // The kernel itself.
        libc::SYS_bpf,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_kexec_load,
        libc::SYS_kexec_file_load,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_syslog,
        libc::SYS_reboot,
        libc::SYS_acct,
        libc::SYS_quotactl,
        libc::SYS_quotactl_fd,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_personality,
        // Keys of the kernel.
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        // Mounts, namespaces, files without names.
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fspick,
        libc::SYS_mount_setattr,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_open_by_handle_at,
        libc::SYS_fanotify_init,
        // The clock and the name of the machine.
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_clock_adjtime,
        libc::SYS_adjtimex,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        libc::SYS_vhangup,
        // Other users.
        libc::SYS_setuid,
        libc::SYS_setgid,
        libc::SYS_setreuid,
        libc::SYS_setregid,
        libc::SYS_setresuid,
        libc::SYS_setresgid,
        libc::SYS_setgroups,
        libc::SYS_setfsuid,
        libc::SYS_setfsgid,
        libc::SYS_capset,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_iopl,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_ioperm,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_modify_ldt,
    ];
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let rules = NEVER.iter().map(|call| (*call, Vec::new())).collect();
    let filter = compiled(rules, SeccompAction::Allow, refused)?;
    for filter in [Some(filter), no_other_way_to_call()].into_iter().flatten() {
        apply_filter_all_threads(&filter).map_err(io::Error::other)?;
    }
    Ok(())
}

/// A list of what is refused holds for the numbers in it; the other set of numbers is refused as a whole.
fn no_other_way_to_call() -> Option<BpfProgram> {
    #[cfg(target_arch = "x86_64")]
    {
        let [load, jump, answer] = [
            libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
            libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K,
            libc::BPF_RET | libc::BPF_K,
        ];
        let instruction = |code: u32, jt: u8, jf: u8, k: u32| sock_filter { code: code as u16, jt, jf, k };
        Some(vec![
            // The number of the call is the first thing that a filter sees.
            instruction(load, 0, 0, 0),
            instruction(jump, 0, 1, X32_CALLS_FROM),
            instruction(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
            instruction(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
        ])
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// An argument that the kernel reads as 32 bits; what stands above them means nothing.
fn one_of<const N: usize>(argument: u8, values: [u64; N]) -> io::Result<Vec<SeccompRule>> {
    values.into_iter().map(|value| rule(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)).collect()
}

/// An argument of 64 bits.
fn long(argument: u8, comparison: SeccompCmpOp, value: u64) -> io::Result<SeccompRule> {
    rule(argument, SeccompCmpArgLen::Qword, comparison, value)
}

fn rule(argument: u8, length: SeccompCmpArgLen, comparison: SeccompCmpOp, value: u64) -> io::Result<SeccompRule> {
    let condition = SeccompCondition::new(argument, length, comparison, value).map_err(io::Error::other)?;
    SeccompRule::new(vec![condition]).map_err(io::Error::other)
}

fn compiled(rules: Rules, otherwise: SeccompAction, listed: SeccompAction) -> io::Result<BpfProgram> {
    let machine = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, otherwise, listed, machine).map_err(io::Error::other)?;
    BpfProgram::try_from(filter).map_err(io::Error::other)
}
