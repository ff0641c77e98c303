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

/// Whether a thread has the signal blocked, or cannot run handlers at all (a kernel worker of io_uring). None if the kernel does not say. Allocates nothing.
pub(crate) fn is_deaf(tid: i32) -> Option<bool> {
    let mut path = [0_u8; 64];
    let mut text = [0_u8; 4096];
    let name = super::thread::task_path(&mut path, tid, b"/status\0");
    let read = super::thread::read_file(name, &mut text)?;
    let text = std::str::from_utf8(&text[..read]).ok()?;
    let blocked = text.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
    let mask = u64::from_str_radix(blocked.trim(), 16).ok()?;
    let bit = 1_u64 << (signal()? - 1);
    Some(mask & bit != 0)
}
