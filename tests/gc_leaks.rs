//! `gc::leaks`: goroutines that wait for ever are reported, those that somebody can still wake are not.
//!
//! The programs have the shapes of the bugs in GoBench's kernels (Yuan and others, "GoBench: A Benchmark Suite of Real-World Go Concurrency Bugs", CGO 2021; the projects are in the comments), written anew
//! with this crate's names, and in an order that does not depend on luck. A channel of Go's has no ends that close it when they go: here whoever uses one holds both.
//!
//! A stale word may hide a leak from one look, never add one. So each program runs until its leaks are seen, a few times at most, and a single false alarm fails.
#![cfg(feature = "gc")]

mod common;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::mem::forget;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use greenroutine::channel::{Receiver, RecvError, SendError, Sender};
use greenroutine::gc::{self, Leak};
use greenroutine::net::UnixStream;
use greenroutine::sync::{Barrier, Condvar, Mutex, Once, RwLock, Semaphore, SingleFlight, WaitGroup};
use greenroutine::{Gc, block_on, blocking, chan, context, go, scope, select, task, time, yield_now};

/// The name of a goroutine that is reported.
fn name(leak: &Leak) -> Option<String> {
    match leak {
        Leak::Goroutine { name, .. } => name.clone(),
        _ => None,
    }
}

/// Spawns a goroutine with a name, and drops its handle.
fn named(name: &str, f: impl FnOnce() + Send + 'static) {
    drop(task::Builder::new().name(name).spawn(f).expect("a goroutine"));
}

/// Yields until nobody but the caller has anything to do.
fn settle() {
    for _ in 0..50 {
        yield_now();
    }
}

/// What a test says whose leak was hidden all the time.
const HIDDEN: &str = "are seen to leak";

/// Runs a test on goroutines in a process of its own, because the leaks of all goroutines are reported, and in others, fifty at most, while it says that a leak is hidden: a stale word in a static may do that as long as
/// the process lives. Whatever else fails, a false alarm for one, fails at once.
fn in_some_process(name: &str, test: fn()) {
    if common::is_child(name) {
        return common::on_goroutines(test);
    }
    for attempt in 1..=50 {
        let output = common::in_child(name, |_| {});
        if output.status.success() {
            return;
        }
        let text = common::text(&output);
        assert!(text.contains(HIDDEN) && attempt < 50, "attempt {attempt}: {text}");
    }
}

/// Runs a program on a stack of its own, and everybody until nobody has anything to do. What it leaves here lies below the frame of who looks.
#[inline(never)]
fn run_once(program: fn()) {
    go(program).join().expect("no panic");
    settle();
}

/// Runs a program until the goroutines with these names have been reported, thirty times at most: a stale word may hide one. Whatever else is reported is a false alarm. What was reported is cancelled,
/// and ends.
fn leaks_exactly(names: &[&str], program: fn()) {
    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        run_once(program);
        let leaks = gc::leaks();
        let found: Vec<_> = leaks.iter().filter_map(name).collect();
        assert!(found.iter().all(|name| names.contains(&name.as_str())), "a false alarm: {leaks:?}");
        leaks.iter().for_each(|leak| assert!(!leak.to_string().is_empty()));
        cancel_all(&leaks);
        seen.extend(found);
        if seen.len() == names.len() {
            return;
        }
    }
    panic!("of {names:?} only {seen:?} {HIDDEN}");
}

/// Cancels what was reported; each goroutine ends.
#[inline(never)]
fn cancel_all(leaks: &[Leak]) {
    let goroutines = || leaks.iter().filter(|leak| matches!(leak, Leak::Goroutine { .. }));
    // The end of one may have been the end of another.
    goroutines().for_each(|leak| assert!(leak.cancel() || has_ended(leak)));
    common::wait_until(|| goroutines().all(has_ended));
}

fn has_ended(leak: &Leak) -> bool {
    let Leak::Goroutine { id, .. } = leak else { return false };
    !greenroutine::runtime::dump().contains(&format!("goroutine {id} "))
}

/// A channel of Go's: whoever has it can send, receive and close. Closures take it whole, because they use its methods and not its fields.
struct Ch<T>(Sender<T>, Receiver<T>);

impl<T> Clone for Ch<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1.clone())
    }
}

impl<T> Ch<T> {
    fn sender(&self) -> &Sender<T> {
        &self.0
    }

    fn receiver(&self) -> &Receiver<T> {
        &self.1
    }

    fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.send(value)
    }

    fn recv(&self) -> Result<T, RecvError> {
        self.1.recv()
    }
}

fn ch<T>(room: usize) -> Ch<T> {
    let (sender, receiver) = chan(room);
    Ch(sender, receiver)
}

/// `n` references to the same.
fn shared<T, const N: usize>(value: T) -> [Arc<T>; N] {
    let value = Arc::new(value);
    std::array::from_fn(|_| value.clone())
}

/// Goroutines that lock two mutexes each, all of them having the first before any takes the second.
fn in_a_ring<const N: usize>(names: [&str; N]) {
    let mutexes: [_; N] = std::array::from_fn(|_| Arc::new(Mutex::new(0)));
    let meeting = Arc::new(Barrier::new(N));
    for (n, name) in names.into_iter().enumerate() {
        let (own, next, meeting) = (mutexes[n].clone(), mutexes[(n + 1) % N].clone(), meeting.clone());
        named(name, move || {
            let _own = own.lock();
            meeting.wait();
            *next.lock() += 1;
        });
    }
}

macro_rules! leaking {
    ($($(#[$about:meta])* $test:ident [$($name:literal),*] $program:block)*) => {
        $(
            $(#[$about])*
            #[test]
            fn $test() {
                in_some_process(stringify!($test), || leaks_exactly(&[$($name),*], || $program));
            }
        )*
    };
}

leaking! {
    /// cockroach 9935: an error path that locks again what it has locked.
    an_error_path_locks_again ["a"] {
        let mutex = Mutex::new(());
        named("a", move || {
            let _guard = mutex.lock();
            let _again = mutex.lock();
        });
    }

    /// cockroach 584: a loop is left with the lock held, and the next round locks it.
    a_loop_is_left_with_the_lock_held ["a"] {
        let mutex = Mutex::new(0);
        named("a", move || loop {
            let mut guard = mutex.lock();
            *guard += 1;
            if *guard == 3 {
                forget(guard);
            }
        });
    }

    /// etcd 5509: one return forgets the reader's lock; then a writer comes.
    a_reader_is_forgotten ["writer"] {
        let [reader, writer] = shared(RwLock::new(0));
        forget(reader.read());
        named("writer", move || *writer.write() += 1);
    }

    /// etcd 6708: who has it to write asks to read.
    a_writer_reads ["a"] {
        let lock = RwLock::new(0);
        named("a", move || {
            let _writes = lock.write();
            let _reads = lock.read();
        });
    }

    /// etcd 10492: a callback locks what its caller has locked.
    a_callback_locks ["a"] {
        fn with(mutex: &Mutex<u32>, callback: impl FnOnce()) {
            let _guard = mutex.lock();
            callback();
        }
        let mutex = Mutex::new(0);
        named("a", move || with(&mutex, || *mutex.lock() += 1));
    }

    /// hugo 3251: a reader that writes on the way.
    a_reader_writes ["a"] {
        let lock = RwLock::new(0);
        named("a", move || {
            let read = lock.read();
            *lock.write() = *read + 1;
        });
    }

    /// grpc 795: the first of two returns keeps the lock of a shared state from all others.
    a_lock_is_kept_from_all_others ["b", "c"] {
        let [a, b, c] = shared(Mutex::new(0));
        forget(a.lock());
        named("b", move || *b.lock() += 1);
        named("c", move || *c.lock() += 1);
    }

    /// cockroach 10214, moby 4951, kubernetes 13135: two locks in two orders.
    two_locks_in_two_orders ["a", "b"] {
        in_a_ring(["a", "b"]);
    }

    /// kubernetes 30872: three locks in a ring.
    three_locks_in_a_ring ["a", "b", "c"] {
        in_a_ring(["a", "b", "c"]);
    }

    /// Ten locks in a ring, the philosophers'.
    ten_locks_in_a_ring ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        in_a_ring(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
    }

    /// cockroach 6181, 16167, kubernetes 58107, 62464: one that reads asks again behind a writer.
    a_reader_reads_again_behind_a_writer ["reader", "writer"] {
        let [lock, writer] = shared(RwLock::new(0));
        let (is_read, go_on) = (ch(0), ch::<()>(0));
        let (first, second) = (is_read.clone(), go_on.clone());
        named("reader", move || {
            let _reads = lock.read();
            first.send(()).unwrap();
            second.recv().unwrap();
            let _again = lock.read();
        });
        is_read.recv().unwrap();
        named("writer", move || *writer.write() += 1);
        settle();
        go_on.send(()).unwrap();
    }

    /// syncthing 4829: a method under the lock calls another that takes it.
    a_method_calls_another_that_locks ["a"] {
        struct Counter(Mutex<u32>);
        impl Counter {
            fn get(&self) -> u32 {
                *self.0.lock()
            }
            fn add(&self) {
                *self.0.lock() += self.get();
            }
        }
        let counter = Counter(Mutex::new(1));
        named("a", move || {
            let mut guard = counter.0.lock();
            *guard = 2;
            counter.add();
        });
    }

    /// moby 36114: reference and owner each lock the other, of two kinds of lock.
    a_mutex_and_a_rwlock_in_two_orders ["a", "b"] {
        let ([m1, m2], [r1, r2], [b1, b2]) =
            (shared(Mutex::new(0)), shared(RwLock::new(0)), shared(Barrier::new(2)));
        named("a", move || {
            let _guard = m1.lock();
            b1.wait();
            let _reads = r1.read();
        });
        named("b", move || {
            let _writes = r2.write();
            b2.wait();
            *m2.lock() += 1;
        });
    }

    /// A semaphore's permits are all with one that asks for another.
    more_permits_than_there_are ["a"] {
        let semaphore = Semaphore::new(2);
        named("a", move || {
            let _all = semaphore.acquire(2);
            let _another = semaphore.acquire(1);
        });
    }

    /// Permits that were forgotten.
    a_permit_is_forgotten ["b"] {
        let [a, b] = shared(Semaphore::new(1));
        forget(a.acquire(1));
        named("b", move || drop(b.acquire(1)));
    }

    /// Two that take one permit each, and then another one each.
    permits_one_by_one ["a", "b"] {
        let ([s1, s2], [b1, b2]) = (shared(Semaphore::new(2)), shared(Barrier::new(2)));
        for (name, semaphore, meeting) in [("a", s1, b1), ("b", s2, b2)] {
            named(name, move || {
                let _one = semaphore.acquire(1);
                meeting.wait();
                let _other = semaphore.acquire(1);
            });
        }
    }

    /// What initialises waits for itself to be initialised.
    once_within_itself_by_another ["a", "b"] {
        let [once, inner] = shared(Once::new());
        let (start, started) = chan(0);
        named("b", move || {
            started.recv().unwrap();
            inner.call_once(|| {});
        });
        named("a", move || {
            let ends = ch::<()>(0);
            once.call_once(|| {
                start.send(()).unwrap();
                let _ = ends.recv();
            });
            drop(ends);
        });
    }

    /// One call for all, which never ends.
    a_flight_that_never_lands ["a", "b"] {
        let [a, b] = shared(SingleFlight::<u32, u32>::new());
        let (start, started) = chan(0);
        named("a", move || {
            a.run(1, || {
                let ends = ch(0);
                start.send(()).unwrap();
                ends.recv().unwrap()
            });
        });
        started.recv().unwrap();
        named("b", move || {
            b.run(1, || 2);
        });
    }

    /// A barrier for one more than come.
    a_barrier_for_one_more ["a", "b"] {
        let [a, b] = shared(Barrier::new(3));
        named("a", move || _ = a.wait());
        named("b", move || _ = b.wait());
    }

    /// cockroach 2448, grpc 862, kubernetes 5316: the result is sent when who wanted it is gone.
    a_result_that_nobody_wants ["worker"] {
        let result = ch(0);
        let worker = result.clone();
        named("worker", move || worker.send(1).unwrap());
        select! {
            recv(result.receiver()) -> _ => {}
            default => {}
        }
    }

    /// moby 33781, istio 16224: it was given up by timeout, and the answer comes later.
    an_answer_after_the_timeout ["worker"] {
        let (result, timeout) = (ch(0), ch(0));
        let (worker, late) = (result.clone(), timeout.clone());
        named("worker", move || {
            late.send(()).unwrap();
            worker.send(1).unwrap();
        });
        select! {
            recv(timeout.receiver()) -> _ => {}
        }
    }

    /// A value from nobody.
    a_receiver_without_sender ["a"] {
        let values = ch::<u32>(0);
        named("a", move || _ = values.recv());
    }

    /// A sender that is forgotten, so that the channel is not closed.
    a_sender_is_forgotten ["a"] {
        let (sender, receiver) = chan::<u32>(0);
        forget(sender);
        named("a", move || _ = receiver.recv());
    }

    /// A buffer that fills.
    a_buffer_that_fills ["a"] {
        let values = ch(3);
        named("a", move || (0..4).for_each(|n| values.send(n).unwrap()));
    }

    /// grpc 1275, moby 21233: those who go on sending when the first error has ended the reader.
    more_errors_than_are_read ["second"] {
        let errors = ch(0);
        for name in ["second", "second"] {
            let errors = errors.clone();
            named(name, move || errors.send(1).unwrap());
        }
        errors.recv().unwrap();
    }

    /// cockroach 35931: a row is pushed to an output that has stopped.
    a_row_for_an_output_that_has_stopped ["a"] {
        let (rows, stopped) = (ch(1), ch(0));
        let (input, seen) = (rows.clone(), stopped.clone());
        named("a", move || {
            input.send(1).unwrap();
            seen.recv().unwrap();
            input.send(2).unwrap();
        });
        stopped.send(()).unwrap();
    }

    /// etcd 6857: a status is asked of a node that has stopped.
    a_status_of_one_that_has_stopped ["asks"] {
        let (stop, status) = (ch(0), ch::<Sender<u32>>(0));
        let (stopped, asked) = (stop.clone(), status.clone());
        let node = go(move || loop {
            select! {
                recv(asked.receiver()) -> answer => answer.unwrap().send(1).unwrap(),
                recv(stopped.receiver()) -> _ => return,
            }
        });
        stop.send(()).unwrap();
        node.join().unwrap();
        named("asks", move || {
            let (answer, answered) = chan(0);
            status.send(answer).unwrap();
            let _ = answered.recv();
        });
    }

    /// etcd 7492, moby 28462: it holds the lock while it sends to one that waits for the lock.
    a_send_under_the_lock_of_the_receiver ["sends", "receives"] {
        let [m1, m2] = shared(Mutex::new(0));
        let values = ch(0);
        let receiver = values.clone();
        let (start, started) = chan(0);
        named("sends", move || {
            let _guard = m1.lock();
            start.send(()).unwrap();
            values.send(1).unwrap();
        });
        started.recv().unwrap();
        named("receives", move || {
            let _guard = m2.lock();
            receiver.recv().unwrap();
        });
    }

    /// cockroach 13197, kubernetes 6632: the lock is wanted by one that others wait for with the lock.
    a_receive_under_the_lock_of_the_sender ["sends", "receives"] {
        let [m1, m2] = shared(Mutex::new(0));
        let values = ch(0);
        let sender = values.clone();
        let (start, started) = chan(0);
        named("receives", move || {
            let _guard = m1.lock();
            start.send(()).unwrap();
            values.recv().unwrap();
        });
        started.recv().unwrap();
        named("sends", move || {
            *m2.lock() += 1;
            sender.send(1).unwrap();
        });
    }

    /// kubernetes 10182: the consumer locks, and producers send under that lock.
    producers_under_the_lock ["consumer", "producer"] {
        let [m1, m2] = shared(Mutex::new(0));
        let updates = ch(0);
        let consumer = updates.clone();
        let (start, started) = chan(0);
        named("producer", move || {
            let _guard = m1.lock();
            updates.send(1).unwrap();
            start.send(()).unwrap();
            updates.send(2).unwrap();
        });
        named("consumer", move || {
            consumer.recv().unwrap();
            started.recv().unwrap();
            *m2.lock() += 1;
            consumer.recv().unwrap();
        });
    }

    /// cockroach 25456, 24808: both ends are one goroutine's.
    it_sends_to_itself ["a"] {
        let values = ch(0);
        named("a", move || {
            values.send(1).unwrap();
            values.recv().unwrap();
        });
    }

    /// cockroach 10790: the stopper is not asked while it sends.
    a_stop_that_is_not_looked_at ["a"] {
        let (values, stop) = (ch(0), ch::<()>(0));
        let (output, stopped) = (values.clone(), stop.clone());
        named("a", move || loop {
            output.send(1).unwrap();
            if stopped.receiver().try_recv().is_ok() {
                return;
            }
        });
        values.recv().unwrap();
        stop.sender().try_send(()).unwrap_err();
    }

    /// cockroach 13755: a cursor that is not closed keeps the one that feeds it.
    a_cursor_that_is_not_closed ["feeds"] {
        let (rows, closed) = (ch(0), ch::<()>(0));
        let (feed, close) = (rows.clone(), closed.clone());
        named("feeds", move || {
            for row in 0.. {
                select! {
                    send(feed.sender(), row) -> _ => {}
                    recv(close.receiver()) -> _ => return,
                }
            }
        });
        assert_eq!((rows.recv(), rows.recv()), (Ok(0), Ok(1)));
    }

    /// cockroach 35073: a row is sent, but the receiver waits for the end of those that send.
    a_receiver_that_waits_for_its_senders ["waits", "sends"] {
        let values = ch(0);
        let output = values.clone();
        named("waits", move || {
            let group = Arc::new(WaitGroup::new());
            group.add(1);
            let done = group.clone();
            named("sends", move || {
                output.send(1).unwrap();
                done.done();
            });
            group.wait();
            values.recv().unwrap();
        });
    }

    /// grpc 660: what runs the benchmark is gone before those that report to it.
    a_report_to_one_that_has_returned ["reports"] {
        let done = ch(0);
        for _ in 0..2 {
            let done = done.clone();
            named("reports", move || done.send(true).unwrap());
        }
        assert!(done.recv().unwrap());
    }

    /// grpc 1353, 1424: each waits for the other's address.
    each_waits_for_the_others_message ["a", "b"] {
        let (x, y) = (ch::<u32>(0), ch::<u32>(0));
        let (x2, y2) = (x.clone(), y.clone());
        named("a", move || y.send(x.recv().unwrap()).unwrap());
        named("b", move || x2.send(y2.recv().unwrap()).unwrap());
    }

    /// grpc 1460: a stream is waited for by select while its window is waited for under its lock.
    a_window_under_the_lock ["keeps", "waits"] {
        let [m1, m2] = shared(Mutex::new(0));
        let (window, ticks) = (ch::<u32>(0), ch::<()>(0));
        let (other, start) = (window.clone(), ticks.clone());
        named("keeps", move || {
            let _guard = m1.lock();
            start.send(()).unwrap();
            window.recv().unwrap();
        });
        ticks.recv().unwrap();
        named("waits", move || {
            *m2.lock() += 1;
            other.send(1).unwrap();
        });
    }

    /// grpc 3017: a timer's goroutine has to let go of the lock before it is stopped.
    two_that_stop_each_other ["a", "b"] {
        let (stop_a, stop_b) = (ch::<()>(0), ch::<()>(0));
        let (to_a, to_b) = (stop_a.clone(), stop_b.clone());
        named("a", move || {
            to_b.send(()).unwrap();
            stop_a.recv().unwrap();
        });
        named("b", move || {
            to_a.send(()).unwrap();
            stop_b.recv().unwrap();
        });
    }

    /// hugo 5379: pages wait for the site's once, which waits for pages.
    a_once_that_waits_for_those_who_wait_for_it ["site", "page"] {
        let [o1, o2] = shared(Once::new());
        let pages = ch(0);
        let ready = pages.clone();
        let (start, started) = chan(0);
        named("site", move || {
            o1.call_once(|| {
                start.send(()).unwrap();
                pages.recv().unwrap();
            });
        });
        started.recv().unwrap();
        named("page", move || {
            o2.call_once(|| unreachable!());
            ready.send(()).unwrap();
        });
    }

    /// cockroach 1055, 1462: a task waits for the drain that waits for tasks.
    a_drain_that_waits_for_its_own_task ["task", "drains"] {
        let [g1, g2] = shared(WaitGroup::new());
        let stopped = ch::<()>(0);
        let drained = stopped.clone();
        g1.add(1);
        named("task", move || {
            stopped.recv().unwrap();
            g1.done();
        });
        named("drains", move || {
            g2.wait();
            drained.send(()).unwrap();
        });
    }

    /// moby 25384: the group is waited for in the loop, and counts all rounds.
    a_group_that_is_waited_for_too_early ["a"] {
        let group = WaitGroup::new();
        named("a", move || {
            group.add(2);
            for _ in 0..2 {
                group.done();
                group.wait();
            }
        });
    }

    /// kubernetes 11298: one path does not say that it is done.
    a_path_that_is_not_done ["waits"] {
        let [group, done] = shared(WaitGroup::new());
        group.add(2);
        named("worker", move || done.done());
        named("waits", move || group.wait());
    }

    /// istio 17860: the agent's end is counted, and it is restarted.
    an_agent_that_is_restarted ["agent"] {
        let [group, own] = shared(WaitGroup::new());
        group.add(1);
        named("agent", move || {
            own.add(1);
            own.done();
            own.wait();
        });
        group.add(0);
    }

    /// cockroach 3710: three wait for a queue that the fourth does not fill.
    a_queue_that_nobody_fills ["a", "b", "c"] {
        let queue = ch::<u32>(10);
        for name in ["a", "b", "c"] {
            let queue = queue.clone();
            named(name, move || _ = queue.recv());
        }
    }

    /// moby 30408: signalled before it is waited for.
    a_signal_before_the_wait ["waits"] {
        let [a, b] = shared((Mutex::new(false), Condvar::new()));
        a.1.notify_all();
        named("waits", move || {
            let mut guard = b.0.lock();
            b.1.wait(&mut guard);
        });
    }

    /// moby 27782: what watches is told by the condition of another.
    a_condition_that_stays_false ["waits"] {
        let [a, b] = shared((Mutex::new(false), Condvar::new()));
        named("waits", move || b.1.wait_while(&mut b.0.lock(), |ready| !*ready));
        settle();
        a.1.notify_all();
    }

    /// cockroach 18101: one of two is signalled.
    one_signal_for_two ["waits"] {
        let state = Arc::new((Mutex::new(0), Condvar::new()));
        for _ in 0..2 {
            let state = state.clone();
            named("waits", move || {
                let mut turns = state.0.lock();
                state.1.wait_while(&mut turns, |turns| *turns == 0);
                *turns -= 1;
            });
        }
        *state.0.lock() += 1;
        state.1.notify_all();
    }

    /// kubernetes 25331: the watch's lock is held while it waits for the result to be read.
    a_condition_whose_signaller_waits_for_the_waiter ["waits", "signals"] {
        let [a, b] = shared((Mutex::new(false), Condvar::new()));
        let values = ch(0);
        let result = values.clone();
        named("waits", move || {
            b.1.wait_while(&mut b.0.lock(), |ready| !*ready);
            values.recv().unwrap();
        });
        named("signals", move || {
            result.send(1).unwrap();
            *a.0.lock() = true;
            a.1.notify_all();
        });
    }

    /// kubernetes 26980: neither of two ever comes.
    a_select_of_two_that_never_come ["a"] {
        let (x, y) = (ch::<u32>(0), ch::<u32>(0));
        named("a", move || {
            select! {
                recv(x.receiver()) -> _ => {}
                recv(y.receiver()) -> _ => {}
            }
        });
    }

    /// serving 2137: one holds what the other's select is for.
    two_selects_for_each_other ["a", "b"] {
        let (x, y) = (ch::<u32>(0), ch::<u32>(0));
        let (x2, y2) = (x.clone(), y.clone());
        named("a", move || {
            select! {
                recv(x.receiver()) -> v => y.send(v.unwrap()).unwrap(),
            }
        });
        named("b", move || {
            select! {
                recv(y2.receiver()) -> v => x2.send(v.unwrap()).unwrap(),
            }
        });
    }

    /// kubernetes 38669: the event that would wake it is in the select that waits.
    a_select_that_sends_to_itself ["a"] {
        let (events, stop) = (ch::<u32>(0), ch::<()>(0));
        named("a", move || {
            let (to, from) = (events.sender(), events.receiver());
            select! {
                send(to, 1) -> _ => {}
                recv(stop.receiver()) -> _ => {}
            }
            let _ = from.recv();
        });
    }

    /// kubernetes 70277: the ticker's channel is closed, but what is waited for is another.
    a_channel_that_is_not_the_one_that_closes ["waits"] {
        let (done, after) = (ch::<()>(0), ch::<()>(0));
        named("waits", move || _ = after.recv());
        done.sender().close();
    }

    /// moby 33293, istio 18454: a context whose cancellation is forgotten.
    a_context_whose_cancellation_is_forgotten ["waits"] {
        let (context, cancel) = context::background().with_cancel();
        forget(cancel);
        named("waits", move || _ = context.done().recv());
    }

    /// etcd 7902: each of several rounds waits for one more release than there are.
    a_round_more_than_releases ["waits"] {
        let rounds = ch(0);
        for _ in 0..2 {
            let rounds = rounds.clone();
            named("waits", move || (0..2).for_each(|_| _ = rounds.recv()));
        }
        rounds.send(()).unwrap();
        rounds.send(()).unwrap();
        rounds.send(()).unwrap();
    }

    /// moby 4395: the error of a function that is not waited for.
    an_error_that_nobody_takes ["f"] {
        fn start() -> Ch<u32> {
            let errors = ch(0);
            let own = errors.clone();
            named("f", move || _ = own.send(1));
            errors
        }
        start();
    }

    /// moby 29733: the plugin is activated by one that waits for it under its lock.
    an_activation_under_the_lock ["waits", "activates"] {
        let [a, b] = shared((Mutex::new(0), ch::<()>(0)));
        let (start, started) = chan(0);
        named("waits", move || {
            let _guard = a.0.lock();
            start.send(()).unwrap();
            a.1.recv().unwrap();
        });
        started.recv().unwrap();
        named("activates", move || {
            *b.0.lock() += 1;
            b.1.send(()).unwrap();
        });
    }

    /// syncthing 5795: it is closed by what it calls, and waits for its own end.
    one_that_waits_for_its_own_end ["a"] {
        let ended = ch::<()>(0);
        named("a", move || {
            ended.recv().unwrap();
            ended.sender().close();
        });
    }

    /// One that joins one that waits for ever.
    a_joiner_of_one_that_waits_for_ever ["joins", "joined"] {
        let joined = task::Builder::new().name("joined").spawn(|| {
            let values = ch::<u32>(0);
            let _ = values.recv();
        });
        named("joins", move || _ = joined.unwrap().join());
    }

    /// A scope whose child waits for ever.
    a_scope_whose_child_waits_for_ever ["owner"] {
        named("owner", || {
            let values = ch::<u32>(0);
            scope(|s| {
                s.go(|| _ = values.recv());
            });
        });
    }

    /// Parked, with nobody who has its handle.
    parked_with_nobody_who_has_its_handle ["a"] {
        named("a", task::park);
    }

    /// A pipeline whose end is gone.
    a_pipeline_whose_end_is_gone ["source", "middle", "last"] {
        let (first, second, third) = (ch(0), ch(0), ch(0));
        let (f2, s2) = (first.clone(), second.clone());
        let t2 = third.clone();
        named("source", move || (0..u32::MAX).for_each(|n| first.send(n).unwrap()));
        named("middle", move || f2.receiver().iter().for_each(|n: u32| second.send(n).unwrap()));
        named("last", move || s2.receiver().iter().for_each(|n: u32| third.send(n).unwrap()));
        assert_eq!(t2.recv(), Ok(0));
    }

    /// What waits is held by a cycle of collected objects that nobody reaches.
    held_by_garbage ["a"] {
        struct Node {
            values: Ch<u32>,
            other: Mutex<Option<gc::GcDrop<Node>>>,
        }
        let values = ch(0);
        let node = gc::GcDrop::new(Node { values: values.clone(), other: Mutex::new(None) });
        node.with(|own| *own.other.lock() = Some(node));
        named("a", move || {
            node.with(|own| assert!(own.values.receiver().is_empty()));
            let _ = values.recv();
        });
    }
}

/// Nobody is reported while a goroutine waits for what `program` returns, and that ends it: a program whose waiter is lost would not end.
fn nobody_leaks<K: Send + 'static>(program: fn() -> (task::JoinHandle<()>, K), end: fn(K)) {
    let (waiter, kept) = program();
    settle();
    for _ in 0..3 {
        assert_eq!(gc::leaks(), []);
    }
    end(kept);
    waiter.join().expect("no panic");
}

macro_rules! innocent {
    ($($(#[$about:meta])* $test:ident $program:block $end:expr;)*) => {
        $(
            $(#[$about])*
            #[test]
            fn $test() {
                common::alone(stringify!($test), || common::on_goroutines(|| nobody_leaks(|| $program, $end)));
            }
        )*
    };
}

/// Somebody waits for a value, which whoever has the sender can bring.
fn waiter() -> (task::JoinHandle<()>, Sender<u32>) {
    let (sender, receiver) = chan(0);
    (go(move || assert_eq!(receiver.recv(), Ok(1))), sender)
}

/// Brings it.
fn bring(sender: &Sender<u32>) {
    sender.send(1).unwrap();
}

innocent! {
    /// The sender is a local of who looks.
    a_sender_in_a_local { waiter() } |sender| bring(&sender);

    /// In a box in a vector.
    a_sender_in_a_box {
        let (waiter, sender) = waiter();
        (waiter, vec![None, Some(Box::new(sender))])
    } |kept| bring(kept[1].as_ref().unwrap());

    /// In a static.
    a_sender_in_a_static {
        static KEPT: Mutex<Option<Sender<u32>>> = Mutex::new(None);
        let (waiter, sender) = waiter();
        *KEPT.lock() = Some(sender);
        (waiter, || bring(&KEPT.lock().take().unwrap()))
    } |end| end();

    /// In a thread-local of another thread, which waits for a message of std's.
    a_sender_in_a_thread_local {
        thread_local!(static KEPT: RefCell<Option<Sender<u32>>> = const { RefCell::new(None) });
        let (waiter, sender) = waiter();
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            KEPT.set(Some(sender));
            stopped.recv().unwrap();
            bring(&KEPT.take().unwrap());
        });
        (waiter, (stop, thread))
    } |(stop, thread)| {
        stop.send(()).unwrap();
        blocking(move || thread.join().unwrap());
    };

    /// On the stack of a thread that sleeps in the kernel.
    a_sender_on_a_threads_stack {
        let (waiter, sender) = waiter();
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            stopped.recv().unwrap();
            bring(&sender);
        });
        (waiter, (stop, thread))
    } |(stop, thread)| {
        stop.send(()).unwrap();
        blocking(move || thread.join().unwrap());
    };

    /// In a collected object.
    a_sender_in_a_collected_object {
        let (waiter, sender) = waiter();
        (waiter, Gc::new([gc::GcDrop::new(sender)]))
    } |kept| kept[0].with(bring);

    /// With a goroutine that sleeps.
    a_sender_of_one_that_sleeps {
        let (waiter, sender) = waiter();
        go(move || {
            time::sleep(Duration::from_millis(5));
            bring(&sender);
        });
        (waiter, ())
    } |()| {};

    /// With a goroutine that runs all the time.
    a_sender_of_one_that_runs {
        let (waiter, sender) = waiter();
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = stop.clone();
        go(move || {
            while !is_stopped.load(Ordering::Relaxed) {
                yield_now();
            }
            bring(&sender);
        });
        (waiter, stop)
    } |stop| stop.store(true, Ordering::Relaxed);

    /// With one that waits for what the looker has.
    a_sender_of_one_that_waits_in_a_chain {
        let (waiter, sender) = waiter();
        let (go_on, wait) = chan::<()>(0);
        let middle = go(move || {
            wait.recv().unwrap();
            bring(&sender);
        });
        (go(move || {
            middle.join().unwrap();
            waiter.join().unwrap();
        }), go_on)
    } |go_on| go_on.send(()).unwrap();

    /// On a thread of the pool.
    a_sender_of_blocking_work {
        let (waiter, sender) = waiter();
        let (stop, stopped) = mpsc::channel();
        go(move || blocking(move || {
            stopped.recv().unwrap();
            bring(&sender);
        }));
        (waiter, stop)
    } |stop| stop.send(()).unwrap();

    /// With a future.
    a_sender_of_a_future {
        let (waiter, sender) = waiter();
        let (wake, woken) = chan::<()>(0);
        go(move || block_on(async move {
            woken.recv_async().await.unwrap();
            bring(&sender);
        }));
        (waiter, wake)
    } |wake| wake.send(()).unwrap();

    /// With a function that a timer will call.
    a_sender_of_a_timers_function {
        let (waiter, sender) = waiter();
        (waiter, time::after_func(Duration::from_secs(3600), move || bring(&sender)))
    } |timer| _ = timer.reset(Duration::ZERO);

    /// With a function that the end of a context will call.
    a_sender_of_a_contexts_function {
        let (waiter, sender) = waiter();
        let (context, cancel) = context::background().with_cancel();
        context.after_func(move || bring(&sender));
        (waiter, cancel)
    } |cancel| cancel.cancel();

    /// Whose address only C has.
    a_sender_that_c_has {
        let (waiter, sender) = waiter();
        (waiter, !(Box::into_raw(Box::new(sender)) as usize))
    } |hidden| {
        // SAFETY: of `into_raw`.
        let sender = *unsafe { Box::from_raw(!hidden as *mut Sender<u32>) };
        bring(&sender);
    };

    /// A lock whose holder waits for what the looker has.
    a_lock_that_is_held {
        let [mutex, other] = shared(Mutex::new(0));
        let (waiter, sender) = waiter();
        let holder = task::Builder::new().spawn(move || {
            let _guard = mutex.lock();
            waiter.join().unwrap();
        });
        (go(move || {
            *other.lock() += 1;
            holder.unwrap().join().unwrap();
        }), sender)
    } |sender| bring(&sender);

    /// A condition that the looker signals.
    a_condition_to_be_signalled {
        let [state, other] = shared((Mutex::new(false), Condvar::new()));
        (go(move || other.1.wait_while(&mut other.0.lock(), |ready| !*ready)), state)
    } |state| {
        *state.0.lock() = true;
        state.1.notify_all();
    };

    /// A wait group that the looker counts down.
    a_group_to_be_done {
        let [group, other] = shared(WaitGroup::new());
        group.add(1);
        (go(move || other.wait()), group)
    } |group| group.done();

    /// Parked, and its handle is kept.
    parked_with_a_handle {
        let (give, take) = chan(1);
        let parked = go(move || {
            give.send(task::current().unwrap()).unwrap();
            task::park();
        });
        (parked, take.recv().unwrap())
    } |handle| handle.unpark();

    /// A lock, a receive, a select with a deadline.
    with_a_deadline {
        (go(|| {
            let (values, mutex) = (ch::<u32>(0), Mutex::new(()));
            forget(mutex.lock());
            assert!(mutex.try_lock_for(Duration::from_millis(2)).is_none());
            values.receiver().recv_timeout(Duration::from_millis(2)).unwrap_err();
            select! {
                recv(values.receiver()) -> _ => {}
                default(Duration::from_millis(2)) => {}
            }
        }), ())
    } |()| {};

    /// A scope whose child sleeps.
    a_scope_whose_child_sleeps {
        (go(|| scope(|s| {
            s.go(|| time::sleep(Duration::from_millis(5)));
        })), ())
    } |()| {};

    /// A socket from which nothing has come yet.
    a_socket {
        let (own, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (waiter, sender) = waiter();
        go(move || {
            let mut stream = UnixStream::from(theirs);
            stream.read_exact(&mut [0]).unwrap();
            bring(&sender);
        });
        (waiter, own)
    } |mut own| own.write_all(&[1]).unwrap();
}
