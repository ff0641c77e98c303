//! The auto traits of every public type, pinned: that what must be `Send` is, and that what must not be is not. Gaining one here can make safe
//! code unsound and losing one breaks users, so either is an edit of this file.

use std::cell::Cell;
use std::rc::Rc;

use greenroutine::channel::{RecvFuture, RecvStream, SendFuture};
use greenroutine::net::{
    Incoming, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixIncoming, UnixListener, UnixStream,
};
use greenroutine::runtime::{self, OsThreadGuard, Runtime};
use greenroutine::sync::{
    Barrier, BarrierWaitResult, Condvar, ErrGroup, Lazy, MappedMutexGuard, Mutex, MutexGuard, Once, OnceCell,
    RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphoreGuard, SingleFlight, WaitGroup,
    WaitTimeoutResult,
};
use greenroutine::task::{self, JoinError, JoinHandle, LocalKey, Scope, ScopedJoinHandle};
use greenroutine::{fs, time};

/// Whether a type implements a trait, for generic ones too long as they are written out: an inherent constant comes before a trait's.
macro_rules! implements {
    ($type:ty, $trait:path) => {{
        #[allow(dead_code, reason = "unused where the answer is yes")]
        trait Otherwise {
            const YES: bool = false;
        }
        struct Probe<T: ?Sized>(std::marker::PhantomData<T>);
        impl<T: ?Sized> Otherwise for Probe<T> {}
        #[allow(dead_code, reason = "unused where the answer is no")]
        impl<T: ?Sized + $trait> Probe<T> {
            const YES: bool = true;
        }
        <Probe<$type>>::YES
    }};
}

/// `type: traits`. Of the five, exactly those named are implemented.
macro_rules! pins {
    ($($type:ty: $($named:ident)*;)*) => {
        $({
            let is = [
                ("Send", const { implements!($type, Send) }),
                ("Sync", const { implements!($type, Sync) }),
                ("Unpin", const { implements!($type, Unpin) }),
                ("UnwindSafe", const { implements!($type, std::panic::UnwindSafe) }),
                ("RefUnwindSafe", const { implements!($type, std::panic::RefUnwindSafe) }),
            ];
            let has: Vec<_> = is.into_iter().filter(|(_, yes)| *yes).map(|(name, _)| name).collect();
            let named: &[&str] = &[$(stringify!($named)),*];
            assert_eq!(has, named, "the auto traits of {} (left) and what is pinned here (right)", stringify!($type));
        })*
    };
}

/// Neither `Send` nor `Sync`.
type Bound = Rc<u8>;
/// `Send`, not `Sync`.
type Movable = Cell<u8>;
/// `Sync`, not `Send`.
type Shareable = std::sync::MutexGuard<'static, u8>;
/// Not `Unpin`.
type Pinned = std::marker::PhantomPinned;

#[test]
fn the_probe_tells_the_difference() {
    pins! {
        u8: Send Sync Unpin UnwindSafe RefUnwindSafe;
        Bound: Unpin UnwindSafe RefUnwindSafe;
        Movable: Send Unpin UnwindSafe;
        Shareable: Sync Unpin UnwindSafe RefUnwindSafe;
        Pinned: Send Sync UnwindSafe RefUnwindSafe;
        &'static mut u8: Send Sync Unpin RefUnwindSafe;
    }
}

/// A handle gives the result to whoever joins, on any thread, and gives out no reference to it: both iff the result is `Send`. Results of other
/// kinds cannot come out of `go`; the rows hold the bound all the same.
#[test]
fn join_handles_travel_if_the_result_does() {
    pins! {
        JoinHandle<u8>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        JoinHandle<Movable>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        JoinHandle<Pinned>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        JoinHandle<Bound>: Unpin UnwindSafe RefUnwindSafe;
        JoinHandle<Shareable>: Unpin UnwindSafe RefUnwindSafe;
        ScopedJoinHandle<'static, u8>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        ScopedJoinHandle<'static, Movable>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        ScopedJoinHandle<'static, Pinned>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        ScopedJoinHandle<'static, Bound>: Unpin UnwindSafe RefUnwindSafe;
        ScopedJoinHandle<'static, Shareable>: Unpin UnwindSafe RefUnwindSafe;
    }
}

/// A panic's payload need not be `Sync`: the error gives it by value only.
#[test]
fn join_errors_travel() {
    pins! {
        JoinError: Send Sync Unpin;
    }
}

/// Children spawn into their scope, so it is shared between goroutines.
#[test]
fn scopes_are_shared() {
    pins! {
        Scope<'static, 'static>: Send Sync Unpin;
    }
}

#[test]
fn names_of_goroutines_travel() {
    pins! {
        task::Handle: Send Sync Unpin UnwindSafe RefUnwindSafe;
        task::Id: Send Sync Unpin UnwindSafe RefUnwindSafe;
        task::Builder: Send Sync Unpin UnwindSafe RefUnwindSafe;
    }
}

/// The key is shared by all; the values never leave their goroutine.
#[test]
fn keys_are_shared_whatever_the_value() {
    pins! {
        LocalKey<u8>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        LocalKey<Bound>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        LocalKey<Pinned>: Send Sync Unpin UnwindSafe RefUnwindSafe;
    }
}

/// As std's: one reads while another writes. A call that panics has changed nothing but what it was to change.
#[test]
fn sockets_are_shared() {
    pins! {
        TcpListener: Send Sync Unpin UnwindSafe RefUnwindSafe;
        TcpStream: Send Sync Unpin UnwindSafe RefUnwindSafe;
        UdpSocket: Send Sync Unpin UnwindSafe RefUnwindSafe;
        UnixListener: Send Sync Unpin UnwindSafe RefUnwindSafe;
        UnixStream: Send Sync Unpin UnwindSafe RefUnwindSafe;
        UnixDatagram: Send Sync Unpin UnwindSafe RefUnwindSafe;
        Incoming<'static>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        UnixIncoming<'static>: Send Sync Unpin UnwindSafe RefUnwindSafe;
    }
}

/// As the ends they belong to.
#[test]
fn futures_of_channels_travel_if_the_message_does() {
    pins! {
        RecvFuture<'static, u8>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        RecvFuture<'static, Movable>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        RecvFuture<'static, Bound>: Unpin UnwindSafe RefUnwindSafe;
        RecvFuture<'static, Pinned>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        RecvStream<'static, u8>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        RecvStream<'static, Bound>: Unpin UnwindSafe RefUnwindSafe;
        SendFuture<'static, u8>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        SendFuture<'static, Movable>: Send Unpin UnwindSafe RefUnwindSafe;
        SendFuture<'static, Bound>: Unpin UnwindSafe RefUnwindSafe;
    }
}

#[test]
fn files_and_times_travel() {
    pins! {
        fs::File: Send Sync Unpin UnwindSafe RefUnwindSafe;
        fs::OpenOptions: Send Sync Unpin UnwindSafe RefUnwindSafe;
        fs::DirEntry: Send Sync Unpin UnwindSafe RefUnwindSafe;
        time::Instant: Send Sync Unpin UnwindSafe RefUnwindSafe;
        time::Elapsed: Send Sync Unpin UnwindSafe RefUnwindSafe;
    }
}

#[test]
fn runtimes_travel() {
    pins! {
        Runtime: Send Sync Unpin UnwindSafe RefUnwindSafe;
        runtime::Builder: Send Sync Unpin;
        runtime::Metrics: Send Sync Unpin UnwindSafe RefUnwindSafe;
        runtime::WorkerMetrics: Send Sync Unpin UnwindSafe RefUnwindSafe;
        runtime::Finding: Send Sync Unpin UnwindSafe RefUnwindSafe;
    }
}

/// Dropped on another thread, the guard would release a goroutine that it did not lock.
#[test]
fn a_thread_guard_stays_on_its_thread() {
    pins! {
        OsThreadGuard: Unpin UnwindSafe RefUnwindSafe;
    }
}

/// A mutex makes what is `Send` shareable, and only that. No `RefUnwindSafe`: there is no poison to say that a panic came in between.
#[test]
fn locks_are_shared_if_the_value_may_be() {
    pins! {
        Mutex<u8>: Send Sync Unpin UnwindSafe;
        Mutex<Movable>: Send Sync Unpin UnwindSafe;
        Mutex<Bound>: Unpin UnwindSafe;
        Mutex<Shareable>: Unpin UnwindSafe;
        Mutex<Pinned>: Send Sync UnwindSafe;
        RwLock<u8>: Send Sync Unpin UnwindSafe;
        RwLock<Movable>: Send Unpin UnwindSafe;
        RwLock<Bound>: Unpin UnwindSafe;
        RwLock<Shareable>: Unpin UnwindSafe;
        RwLock<Pinned>: Send Sync UnwindSafe;
    }
}

/// A guard dropped elsewhere would be sound for these locks, but not for every lock of their API that we might want; std's are not `Send` either. A shared guard
/// gives shared references to the value.
#[test]
fn guards_stay_and_are_shared_if_the_value_may_be() {
    pins! {
        MutexGuard<'static, u8>: Sync Unpin;
        MutexGuard<'static, Movable>: Unpin;
        MutexGuard<'static, Shareable>: Sync Unpin;
        MappedMutexGuard<'static, u8>: Sync Unpin;
        MappedMutexGuard<'static, Movable>: Unpin;
        RwLockReadGuard<'static, u8>: Sync Unpin;
        RwLockReadGuard<'static, Movable>: Unpin;
        RwLockReadGuard<'static, Shareable>: Sync Unpin;
        RwLockWriteGuard<'static, u8>: Sync Unpin;
        RwLockWriteGuard<'static, Movable>: Unpin;
        SemaphoreGuard<'static>: Sync Unpin UnwindSafe RefUnwindSafe;
    }
}

#[test]
fn what_waits_is_shared() {
    pins! {
        Condvar: Send Sync Unpin UnwindSafe RefUnwindSafe;
        WaitTimeoutResult: Send Sync Unpin UnwindSafe RefUnwindSafe;
        Once: Send Sync Unpin UnwindSafe RefUnwindSafe;
        Barrier: Send Sync Unpin UnwindSafe RefUnwindSafe;
        BarrierWaitResult: Send Sync Unpin UnwindSafe RefUnwindSafe;
        Semaphore: Send Sync Unpin UnwindSafe RefUnwindSafe;
        WaitGroup: Send Sync Unpin UnwindSafe RefUnwindSafe;
    }
}

/// As std's `OnceLock` and `LazyLock`.
#[test]
fn cells_are_shared_if_the_value_may_be() {
    pins! {
        OnceCell<u8>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        OnceCell<Movable>: Send Unpin UnwindSafe;
        OnceCell<Bound>: Unpin UnwindSafe RefUnwindSafe;
        OnceCell<Shareable>: Unpin UnwindSafe RefUnwindSafe;
        OnceCell<Pinned>: Send Sync UnwindSafe RefUnwindSafe;
        Lazy<u8>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        Lazy<Movable>: Send Unpin UnwindSafe;
        Lazy<u8, Movable>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        Lazy<u8, Bound>: Unpin UnwindSafe RefUnwindSafe;
    }
}

/// The error of a group is given by value, so it need not be `Sync`; the value of a flight is cloned for those who wait, under a shared reference.
#[test]
fn groups_are_shared_if_what_they_give_may_be() {
    pins! {
        ErrGroup<u8>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        ErrGroup<Movable>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        ErrGroup<Bound>: Unpin UnwindSafe RefUnwindSafe;
        SingleFlight<u8, u8>: Send Sync Unpin UnwindSafe RefUnwindSafe;
        SingleFlight<u8, Movable>: Unpin UnwindSafe RefUnwindSafe;
        SingleFlight<Bound, u8>: Unpin UnwindSafe RefUnwindSafe;
    }
}
