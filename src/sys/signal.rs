//! The only `sigaction` calls; SIGSEGV: the alternate stacks, and the dispatch of faults.
//!
//! A fault goes to the handlers in a table that is filled once at boot (`stack::fault`), and when none of them wants it, to
//! the handler that was there before ours, with the arguments the kernel gave. So Rust's own message for a thread that
//! overflows its stack still appears, and a debugger's or a crash reporter's handler still works.
//!
//! The handlers run on an alternate stack, because the fault is usually that there is no stack left. std gives every
//! thread it starts a small one; [`AltStack`] gives workers one with room for the overflow report.

pub(crate) mod text;

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

use super::{OsError, mem};

/// What a handler learns of a fault.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    /// The address that was accessed.
    pub(crate) address: usize,
    /// The stack pointer of the interrupted code.
    pub(crate) sp: usize,
}

/// What a handler did.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handled {
    /// The cause is gone: run the instruction again.
    Retry,
    /// Not mine.
    No,
}

/// A fault handler. It runs inside a signal handler: no lock, no allocation, no formatting, no thread-local, no panic.
pub(crate) type FaultHandler = fn(Fault) -> Handled;

static HANDLER: AtomicUsize = AtomicUsize::new(0);

struct Previous(UnsafeCell<MaybeUninit<libc::sigaction>>);
// SAFETY: written once, before the handler that reads it is installed (inside `INSTALL`), and only read afterwards.
unsafe impl Sync for Previous {}
static PREVIOUS: Previous = Previous(UnsafeCell::new(MaybeUninit::uninit()));

/// Installs `handler` in front of whatever handles SIGSEGV now. Only the first call has an effect.
pub(crate) fn install(handler: FaultHandler) -> Result<(), OsError> {
    static INSTALL: Once = Once::new();
    static OUTCOME: OnceLock<Result<(), OsError>> = OnceLock::new();
    INSTALL.call_once(|| {
        HANDLER.store(handler as usize, Ordering::Release);
        let _ = OUTCOME.set(install_dispatcher());
    });
    OUTCOME.get().cloned().unwrap_or(Ok(()))
}

/// What to do about a signal: an action with that handler and those flags, which blocks no other signal meanwhile.
pub(super) fn action(handler: usize, flags: libc::c_int) -> libc::sigaction {
    // SAFETY: all-zero is a valid sigaction (default action, empty mask).
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    action
}

/// Has a signal handled.
///
/// # Safety
///
/// - The action's handler is a function of the kind that its flags say, and does only what may be done in a handler.
pub(super) unsafe fn set(signal: libc::c_int, action: &libc::sigaction) -> Result<(), OsError> {
    // SAFETY: the caller's contract.
    match unsafe { libc::sigaction(signal, action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(OsError::last("sigaction", 0)),
    }
}

/// The handler of a signal now: a function's address, `SIG_DFL` or `SIG_IGN`.
pub(super) fn handler_of(signal: libc::c_int) -> Option<usize> {
    let mut now = action(0, 0);
    // SAFETY: `now` is writable; nothing is changed.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), &mut now) };
    (result == 0).then_some(now.sa_sigaction)
}

/// Runs what a handler does, and leaves `errno` as the interrupted code expects it.
pub(super) fn keeping_errno<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: no preconditions.
    let errno_at = unsafe { libc::__errno_location() };
    // SAFETY: this thread's errno.
    let errno = unsafe { errno_at.read() };
    let result = work();
    // SAFETY: as above.
    unsafe { errno_at.write(errno) };
    result
}

fn install_dispatcher() -> Result<(), OsError> {
    let mut action = action(dispatch as *const () as usize, libc::SA_SIGINFO | libc::SA_ONSTACK);
    // While a stack grows its thread is not stopped (`sys::stop`): the interrupted stack pointer would be out of sight.
    for stop in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        // SAFETY: the mask is writable.
        unsafe { libc::sigaddset(&mut action.sa_mask, stop) };
    }
    // The previous action is stored before ours can run, so that `dispatch` always finds it.
    // SAFETY: `PREVIOUS` is writable: `install` runs once, and nothing reads it before the second call below.
    let read = unsafe { libc::sigaction(libc::SIGSEGV, std::ptr::null(), PREVIOUS.0.get().cast()) };
    if read != 0 {
        return Err(OsError::last("sigaction", 0));
    }
    // SAFETY: `dispatch` is async-signal-safe, as the contract of FaultHandler demands of what it calls.
    unsafe { set(libc::SIGSEGV, &action) }
}

/// Whether the SIGSEGV handler in force is still ours; a program that replaced it loses stack growth.
pub(crate) fn is_installed() -> bool {
    handler_of(libc::SIGSEGV) == Some(dispatch as *const () as usize)
}

extern "C" fn dispatch(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler.
    let info_ref = unsafe { &*info };
    // Only faults that the kernel raised carry an address (si_code > 0); one sent by kill() does not.
    if info_ref.si_code > 0 {
        // SAFETY: SIGSEGV from the kernel fills in si_addr.
        let address = unsafe { info_ref.si_addr() } as usize;
        // SAFETY: the kernel passes a valid ucontext to an SA_SIGINFO handler.
        let sp = unsafe { interrupted_sp(context) };
        let handler = HANDLER.load(Ordering::Acquire);
        // SAFETY: `install` stored a FaultHandler there before it installed this dispatcher.
        let handler: FaultHandler = unsafe { std::mem::transmute(handler) };
        // Growing a stack must not change what the interrupted code sees.
        if keeping_errno(|| handler(Fault { address, sp })) == Handled::Retry {
            return;
        }
    }
    forward(signal, info, context);
}

/// Does what the process did with SIGSEGV before us.
fn forward(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: constant since before this handler was installed.
    let previous = unsafe { &*PREVIOUS.0.get() };
    // SAFETY: initialised then.
    let previous = unsafe { previous.assume_init_ref() };
    match previous.sa_sigaction {
        libc::SIG_DFL => {
            // Back to the default: the instruction runs again and the kernel ends the process, core file and all.
            // SAFETY: restoring an action that the kernel gave us.
            unsafe { libc::sigaction(signal, previous, std::ptr::null_mut()) };
        }
        libc::SIG_IGN => {}
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: an SA_SIGINFO handler has this type.
            let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: a handler without SA_SIGINFO has this type.
            let handler: extern "C" fn(i32) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}

/// The stack pointer at which the signal interrupted the thread.
///
/// # Safety
///
/// - `context` is the third argument of an `SA_SIGINFO` handler that is still running.
unsafe fn interrupted_sp(context: *mut libc::c_void) -> usize {
    // SAFETY: by the contract this is a live, aligned ucontext_t.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    let sp = context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize;
    #[cfg(target_arch = "aarch64")]
    let sp = context.uc_mcontext.sp as usize;
    sp
}

/// Writes fixed text to standard error from a signal handler.
pub(crate) fn write_stderr(text: &[u8]) {
    // SAFETY: the buffer is readable; write is async-signal-safe. Nothing can be done about a failure.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// Ends the process as std does for a broken invariant: SIGABRT, with a core file where the system keeps them.
pub(crate) fn abort() -> ! {
    // SAFETY: abort has no preconditions and is async-signal-safe.
    unsafe { libc::abort() }
}

/// An alternate signal stack of this thread, with a guard page below it; the one before it comes back on drop.
pub(crate) struct AltStack {
    base: usize,
    old: libc::stack_t,
}

impl AltStack {
    // AVX-512 state alone takes 3.5 KiB of the signal frame; the report needs little.
    const SIZE: usize = 64 * 1024;

    /// Installs one for the calling thread.
    pub(crate) fn install() -> Result<Self, OsError> {
        let base = mem::map(Self::SIZE + mem::PAGE)?;
        if let Err(error) = mem::protect_none(base, mem::PAGE) {
            mem::unmap(base, Self::SIZE + mem::PAGE);
            return Err(error);
        }
        let new = libc::stack_t {
            ss_sp: (base + mem::PAGE) as *mut libc::c_void,
            ss_flags: 0,
            ss_size: Self::SIZE,
        };
        // SAFETY: all-zero is a valid stack_t.
        let mut old: libc::stack_t = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: the new stack is mapped, writable and stays so until drop puts the old one back.
        if unsafe { libc::sigaltstack(&new, &mut old) } != 0 {
            let error = OsError::last("sigaltstack", Self::SIZE);
            mem::unmap(base, Self::SIZE + mem::PAGE);
            return Err(error);
        }
        Ok(Self { base, old })
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        // SAFETY: `old` is what this thread had before; std's lives until the thread ends.
        unsafe { libc::sigaltstack(&self.old, std::ptr::null_mut()) };
        mem::unmap(self.base, Self::SIZE + mem::PAGE);
    }
}
