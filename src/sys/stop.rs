//! The signal that stops threads for the collector: which it is, sending it, and what it interrupted. A thread that is only asked where it is (`look`) gets the same.
//!
//! A real-time signal that has no handler yet is taken, from the top downwards: programs that use one mostly count from the bottom. It runs on the alternate stack where the
//! thread has one, because a goroutine's stack has no room for the registers of a modern processor; it restarts what it interrupts (`SA_RESTART`).

use std::sync::OnceLock;

use super::{OsError, signal};

/// What a thread was doing when it was stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interrupted {
    /// Its stack pointer.
    pub(crate) sp: usize,
    /// Where the kernel has put its registers, vector registers included: `[start, end)`.
    pub(crate) registers: (usize, usize),
}

/// Called in the signal handler: no lock, no allocation, no panic. Thread-locals without destructor may be used.
pub(crate) type StopHandler = fn(Interrupted);

static CHOSEN: OnceLock<Result<i32, OsError>> = OnceLock::new();
static HANDLER: OnceLock<StopHandler> = OnceLock::new();

/// Chooses a signal and installs `handler` for it. Only the first call has an effect.
pub(crate) fn install(handler: StopHandler) -> Result<(), OsError> {
    HANDLER.get_or_init(|| handler);
    prepare()
}

/// Chooses a signal, for who only looks.
pub(super) fn prepare() -> Result<(), OsError> {
    CHOSEN
        .get_or_init(|| choose().and_then(|signal| set_handler(signal).map(|()| signal)))
        .clone()
        .map(|_| ())
}

/// The signal.
pub(crate) fn signal() -> Option<i32> {
    CHOSEN.get()?.as_ref().ok().copied()
}

fn choose() -> Result<i32, OsError> {
    for signal in (libc::SIGRTMIN()..libc::SIGRTMAX()).rev() {
        if signal::handler_of(signal) == Some(libc::SIG_DFL) {
            return Ok(signal);
        }
    }
    Err(OsError {
        call: "sigaction: every real-time signal has a handler already",
        bytes: 0,
        errno: libc::EBUSY,
    })
}

fn set_handler(signal: i32) -> Result<(), OsError> {
    let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    let mut action = signal::action(on_signal as *const () as usize, flags);
    // A stopped thread runs no other handler: what that would change has been read already.
    // SAFETY: the mask is writable.
    unsafe { libc::sigfillset(&mut action.sa_mask) };
    // But a fault in this handler must be seen.
    // SAFETY: as above.
    unsafe { libc::sigdelset(&mut action.sa_mask, libc::SIGSEGV) };
    // SAFETY: `on_signal` is async-signal-safe, as StopHandler's contract demands of what it calls.
    unsafe { signal::set(signal, &action) }
}

extern "C" fn on_signal(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    signal::keeping_errno(|| {
        #[cfg(feature = "backtrace")]
        // SAFETY: the kernel passes a valid ucontext to an SA_SIGINFO handler.
        super::look::answer(|| unsafe { registers(context) });
        if let Some(handler) = HANDLER.get() {
            // SAFETY: the kernel passes a valid ucontext to an SA_SIGINFO handler.
            handler(unsafe { interrupted(context) });
        }
    });
}

/// # Safety
///
/// - `context` is the third argument of an `SA_SIGINFO` handler that is still running.
unsafe fn interrupted(context: *mut libc::c_void) -> Interrupted {
    // SAFETY: by the contract this is a live, aligned ucontext_t.
    let ucontext = unsafe { &*context.cast::<libc::ucontext_t>() };
    let start = context as usize;
    #[cfg(target_arch = "x86_64")]
    {
        let sp = ucontext.uc_mcontext.gregs[libc::REG_RSP as usize] as usize;
        let state = ucontext.uc_mcontext.fpregs as usize;
        let end = if state == 0 {
            start + size_of::<libc::ucontext_t>()
        } else {
            // SAFETY: not null, so the kernel's fxsave area, which is in the frame, above the context.
            state + unsafe { extended_size(state) }
        };
        Interrupted { sp, registers: (start, end.max(start + size_of::<libc::ucontext_t>())) }
    }
    #[cfg(target_arch = "aarch64")]
    {
        // The vector registers are in the context's reserved part. Those of SVE, where it is in use, may follow it: 8 KiB at most.
        let sp = ucontext.uc_mcontext.sp as usize;
        Interrupted { sp, registers: (start, start + size_of::<libc::ucontext_t>()) }
    }
}

/// # Safety
///
/// - As for `interrupted`.
#[cfg(feature = "backtrace")]
unsafe fn registers(context: *mut libc::c_void) -> super::look::Registers {
    // SAFETY: by the contract this is a live, aligned ucontext_t.
    let machine = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    {
        let [pc, sp, fp] =
            [libc::REG_RIP, libc::REG_RSP, libc::REG_RBP].map(|at| machine.gregs[at as usize] as usize);
        super::look::Registers { pc, sp, fp, link: 0 }
    }
    #[cfg(target_arch = "aarch64")]
    {
        let [pc, sp, fp, link] =
            [machine.pc, machine.sp, machine.regs[29], machine.regs[30]].map(|word| word as usize);
        super::look::Registers { pc, sp, fp, link }
    }
}

/// Bytes of the processor's state at `state`: `sw_reserved.extended_size` if its magic number is there (arch/x86/include/uapi/asm/sigcontext.h), or the 512 of fxsave.
///
/// # Safety
///
/// - `state` is the `fpregs` of a signal's context.
#[cfg(target_arch = "x86_64")]
unsafe fn extended_size(state: usize) -> usize {
    const FXSAVE: usize = 512;
    const SW_RESERVED: usize = 464;
    const MAGIC1: u32 = 0x4650_5853;
    // SAFETY: inside the 512 bytes that every such area has.
    let words = unsafe { ((state + SW_RESERVED) as *const [u32; 2]).read() };
    if words[0] == MAGIC1 { words[1] as usize } else { FXSAVE }
}

/// Sends the signal to a thread of this process. False if there is no such thread any more.
pub(crate) fn send(tid: i32) -> bool {
    let Some(signal) = signal() else { return false };
    // SAFETY: integers only.
    unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), tid, signal) == 0 }
}

/// Whether a thread hears the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// It does.
    Hears,
    /// It has the signal blocked, or cannot run handlers at all (a kernel worker of io_uring).
    Deaf,
    /// It will in a moment. It has blocked everything, also the two signals that only the C library can block: it is being born, or on its way through `pthread_create`, `posix_spawn` or `fork`. Or it
    /// has blocked what our handler blocks, and has not come back from the stop before.
    NotYet,
}

/// Of the thread `tid`. None if the kernel does not say. Allocates nothing.
pub(crate) fn hearing(tid: i32) -> Option<Hearing> {
    let mut path = [0_u8; 64];
    let mut text = [0_u8; 4096];
    let name = super::thread::task_path(&mut path, tid, b"/status\0");
    let read = super::thread::read_file(name, &mut text)?;
    hearing_of(&text[..read], signal()?)
}

/// What a `status` of the kernel says. A thread's name, which is in there, need not be text.
fn hearing_of(status: &[u8], signal: i32) -> Option<Hearing> {
    /// Where glibc keeps its own: `pthread_sigmask` never blocks 32 and 33, and raw calls inside of the library do.
    const INTERNAL: u64 = 1 << 31 | 1 << 32;
    let line = |key: &[u8]| status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key));
    let mask = std::str::from_utf8(line(b"SigBlk:")?).ok()?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    let bit = |signal: i32| 1_u64 << (signal - 1);
    if mask & bit(signal) == 0 {
        return Some(Hearing::Hears);
    }
    let of_our_handler = !(INTERNAL | bit(libc::SIGSEGV) | bit(libc::SIGKILL) | bit(libc::SIGSTOP));
    // The kernel's workers block all there is, for good.
    let of_the_kernel = line(b"Name:\t").is_some_and(|name| name.starts_with(b"iou-"));
    let passes = mask & INTERNAL == INTERNAL || mask == of_our_handler;
    Some(if passes && !of_the_kernel { Hearing::NotYet } else { Hearing::Deaf })
}

/// Blocks all signals of the caller, those of the C library included, or none: as that library does for a moment.
#[cfg(test)]
pub(crate) fn block_all(blocks: bool) {
    let all = if blocks { u64::MAX } else { 0 };
    let how = libc::SIG_SETMASK;
    // SAFETY: a set of 64 signals, which the kernel only reads.
    let result =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const all, 0_usize, size_of_val(&all)) };
    assert_eq!(result, 0);
}

/// A thread of the C library's that runs `f`, and has not called anything of ours before.
#[cfg(test)]
pub(crate) fn foreign_thread(f: fn()) {
    extern "C" fn start(f: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: made of a `fn()` below.
        let f = unsafe { std::mem::transmute::<*mut libc::c_void, fn()>(f) };
        f();
        std::ptr::null_mut()
    }
    let mut thread = 0;
    // SAFETY: the thread's number is writable, and the function does not unwind.
    let error = unsafe { libc::pthread_create(&mut thread, std::ptr::null(), start, f as *mut libc::c_void) };
    assert_eq!(error, 0);
    // SAFETY: it was made just now, and nobody joins it.
    unsafe { libc::pthread_detach(thread) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hears() {
        let of = |name: &[u8], mask: &str| {
            let status =
                [b"Name:\t", name, b"\nState:\tR\nSigBlk:\t", mask.as_bytes(), b"\nSigCgt:\t0\n"].concat();
            hearing_of(&status, 63)
        };
        assert_eq!(of(b"a", "0000000000000000"), Some(Hearing::Hears));
        assert_eq!(of(b"a", "4000000000000000"), Some(Hearing::Deaf));
        // All that a program can block, and all that the C library can.
        assert_eq!(of(b"a", "fffffffe7ffbfeff"), Some(Hearing::Deaf));
        assert_eq!(of(b"a", "fffffffffffbfeff"), Some(Hearing::NotYet));
        assert_eq!(of(b"a", "fffffffe7ffbfaff"), Some(Hearing::NotYet), "our handler");
        assert_eq!(of(b"iou-wrk-17", "fffffffffffbfeff"), Some(Hearing::Deaf));
        assert_eq!(of(b"\xFF\xFE", "0000000000000000"), Some(Hearing::Hears), "a name that is not text");
        assert_eq!(hearing_of(b"", 63), None);
    }
}
