//! Models of the lock-free protocols, for loom: `RUSTFLAGS="--cfg loom" cargo test --release --lib loom`.
//!
//! The code under test is the real one (`inbox`, `idle`, `wake`, `life`, `fence`); each model adds the few lines around it that the scheduler has, and
//! says in its name what may not happen. loom explores the interleavings and the reorderings that the orderings allow; it takes SeqCst accesses
//! for AcqRel (`fence::in_model`), and it cannot see the timed parts (doze, monitor), which only make things happen sooner.

mod bias;
mod lock;
mod sync;
mod sync_more;
mod waitq;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use loom::thread;

use crate::base::fence;
use crate::biased::{Biased, Queued};
use crate::idle::Idle;
use crate::inbox::{Inbox, Linked};
use crate::life::{Finish, Life};
use crate::remote::{self, Remote};
use crate::routine::wake::{Wait, WakeWord};

std::thread_local! {
    /// Whether `fork` lets the new thread go first.
    static NEW_FIRST: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// `loom::model`, twice. loom runs nobody else before a thread's first atomic step; so once the new threads go first, and once those that start them.
pub(crate) fn both_first(f: impl Fn() + Copy + Sync + Send + 'static) {
    for new_first in [false, true] {
        NEW_FIRST.with(|first| first.set(new_first));
        loom::model(f);
    }
}

/// `thread::spawn` in such a model.
pub(crate) fn fork<T: 'static>(f: impl FnOnce() -> T + 'static) -> thread::JoinHandle<T> {
    let handle = thread::spawn(f);
    if NEW_FIRST.with(std::cell::Cell::get) {
        thread::yield_now();
    }
    handle
}

struct Node {
    link: AtomicPtr<Node>,
    before: AtomicPtr<Node>,
    queue: AtomicU32,
    number: usize,
}

impl Queued for Node {
    fn before(&self) -> &AtomicPtr<Self> {
        &self.before
    }
    fn queue(&self) -> &AtomicU32 {
        &self.queue
    }
}

impl Linked for Node {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

fn node(number: usize) -> &'static Node {
    let (link, before) = (AtomicPtr::new(std::ptr::null_mut()), AtomicPtr::new(std::ptr::null_mut()));
    Box::leak(Box::new(Node { link, before, queue: AtomicU32::new(0), number }))
}

#[test]
fn loom_inbox_loses_and_doubles_nothing() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::<Node>::new());
        let pushers: Vec<_> = (0..2)
            .map(|n| {
                let inbox = inbox.clone();
                thread::spawn(move || {
                    inbox.push(node(2 * n));
                    inbox.push(node(2 * n + 1));
                })
            })
            .collect();
        let mut seen = Vec::new();
        inbox.take(|node| seen.push(node.number));
        for pusher in pushers {
            pusher.join().unwrap();
        }
        inbox.take(|node| seen.push(node.number));
        // Each pusher's in its own order.
        let position = |n| seen.iter().position(|s| *s == n).unwrap();
        assert!(position(0) < position(1) && position(2) < position(3));
        assert_eq!(seen.len(), 4);
    });
}

#[test]
fn loom_owner_and_thief_take_each_goroutine_once() {
    loom::model(|| {
        let queue = Arc::new(Biased::<Node>::new(1));
        queue.push(node(0));
        let second = node(1);
        queue.push(second);
        let victim = queue.clone();
        let thief = thread::spawn(move || {
            let mut taken = Vec::new();
            victim.steal(|node| taken.push(node.number));
            taken
        });
        let mut seen = Vec::new();
        if queue.take_out(second) {
            seen.push(second.number);
        }
        seen.extend(queue.pop().map(|node| node.number));
        queue.push(node(2));
        seen.extend(thief.join().unwrap());
        while let Some(node) = queue.pop() {
            seen.push(node.number);
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
        assert_eq!(queue.len(), 0);
    });
}

const RUNNING: u32 = 0;
const SLEEPING: u32 = 1;
const NOTIFIED: u32 = 3;

#[test]
fn loom_a_worker_does_not_sleep_on_a_full_inbox() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::<Node>::new());
        let state = Arc::new(AtomicU32::new(RUNNING));
        let (inbox2, state2) = (inbox.clone(), state.clone());
        let waker = thread::spawn(move || {
            inbox2.push(node(0));
            // `worker::notify`
            if state2.load(Ordering::SeqCst) == SLEEPING {
                let _ = state2.compare_exchange(SLEEPING, NOTIFIED, Ordering::SeqCst, Ordering::SeqCst);
            }
        });
        // `Worker::sleep`
        state.store(SLEEPING, Ordering::SeqCst);
        fence::heavy();
        let sleeps = inbox.is_empty();
        waker.join().unwrap();
        assert!(!sleeps || state.load(Ordering::SeqCst) == NOTIFIED, "asleep, and nobody wakes it");
    });
}

#[test]
fn loom_a_push_to_a_queue_is_seen_by_the_sleeper_or_sees_it() {
    loom::model(|| {
        let idle = Arc::new(Idle::new());
        let queue = Arc::new(AtomicUsize::new(0));
        let (idle2, queue2) = (idle.clone(), queue.clone());
        let pusher = thread::spawn(move || {
            queue2.store(1, Ordering::Release);
            fence::light();
            idle2.needs_wake() && idle2.take_sleeper() == Some(3)
        });
        // `Worker::sleep`
        idle.begin_sleep(3);
        fence::heavy();
        let sleeps = queue.load(Ordering::Acquire) == 0;
        let woken = pusher.join().unwrap();
        assert!(!sleeps || woken, "asleep beside work, and nobody was woken");
        if !sleeps && !idle.end_sleep(3) {
            assert!(woken, "taken by nobody");
        }
    });
}

#[test]
fn loom_a_sleeper_is_taken_once_and_the_token_is_its_own() {
    loom::model(|| {
        let idle = Arc::new(Idle::new());
        idle.begin_sleep(0);
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let idle = idle.clone();
                thread::spawn(move || idle.take_sleeper().is_some())
            })
            .collect();
        let woke_by_itself = idle.end_sleep(0);
        let taken = takers.into_iter().map(|taker| taker.join().unwrap()).filter(|taken| *taken).count();
        assert_eq!(taken + woke_by_itself as usize, 1);
        assert_eq!(idle.sleepers(), 0);
        if taken == 1 {
            assert!(idle.end_search(), "the token is the only one");
        }
        assert!(idle.begin_search(1), "no token is left over");
    });
}

#[test]
fn loom_a_wait_is_claimed_once() {
    loom::model(|| {
        let word = Arc::new(WakeWord::new());
        let episode = word.begin(Wait::Join, true);
        let word2 = word.clone();
        let canceller = thread::spawn(move || word2.claim_cancellable());
        let word3 = word.clone();
        let waker = thread::spawn(move || word3.claim(episode));
        let claims = [canceller.join().unwrap(), waker.join().unwrap()];
        assert_eq!(claims.iter().filter(|claimed| **claimed).count(), 1);
        // A stale ticket claims nothing, whatever the cell waits for by now.
        assert_eq!(word.begin(Wait::Join, true), episode + 1);
        assert!(!word.claim(episode));
    });
}

#[test]
fn loom_a_cancellation_meets_the_wait_or_the_wait_meets_it() {
    loom::model(|| {
        let word = Arc::new(WakeWord::new());
        let flag = Arc::new(AtomicU32::new(0));
        let (word2, flag2) = (word.clone(), flag.clone());
        let canceller = thread::spawn(move || {
            // `ready::cancel`
            flag2.store(1, Ordering::SeqCst);
            word2.claim_cancellable() || {
                fence::heavy();
                word2.claim_cancellable()
            }
        });
        // `park::commit`
        let episode = word.begin(Wait::Sleep, true);
        fence::light();
        let own = flag.load(Ordering::Relaxed) != 0 && word.claim(episode);
        assert!(own ^ canceller.join().unwrap(), "woken exactly once");
    });
}

#[test]
fn loom_an_unpark_is_not_lost() {
    loom::model(|| {
        let word = Arc::new(WakeWord::new());
        let token = Arc::new(AtomicU32::new(0));
        let (word2, token2) = (word.clone(), token.clone());
        let waker = thread::spawn(move || {
            // `Handle::unpark`
            token2.swap(1, Ordering::SeqCst) == 0 && word2.claim_wait(Wait::Park)
        });
        // `commit_park`
        let episode = word.begin(Wait::Park, true);
        loom::sync::atomic::fence(Ordering::SeqCst);
        let already = token.load(Ordering::Relaxed) == 1;
        let own = already && word.claim(episode);
        let woken = waker.join().unwrap();
        assert!(own ^ woken, "woken exactly once");
    });
}

#[test]
fn loom_the_last_child_wakes_the_owner_of_a_scope() {
    loom::model(|| {
        let word = Arc::new(WakeWord::new());
        let pending = Arc::new(AtomicUsize::new(2));
        let children: Vec<_> = (0..2)
            .map(|_| {
                let (word, pending) = (word.clone(), pending.clone());
                // `ScopeData::done`
                thread::spawn(move || {
                    pending.fetch_sub(1, Ordering::SeqCst) == 1 && word.claim_wait(Wait::Scope)
                })
            })
            .collect();
        // `commit_scope`
        let episode = word.begin(Wait::Scope, false);
        loom::sync::atomic::fence(Ordering::SeqCst);
        let own = pending.load(Ordering::SeqCst) == 0 && word.claim(episode);
        let woken = children.into_iter().map(|child| child.join().unwrap()).filter(|woken| *woken).count();
        assert_eq!(own as usize + woken, 1, "woken exactly once");
    });
}

/// A cell with what its life guards: the result, a joiner, and how often it was freed.
struct Cell {
    life: Life,
    result: loom::cell::UnsafeCell<usize>,
    joiner: loom::cell::UnsafeCell<u64>,
    wake: WakeWord,
    result_dropped: AtomicUsize,
    freed: AtomicUsize,
}

impl Cell {
    fn new() -> Arc<Self> {
        let cell = Self {
            life: Life::new(),
            result: loom::cell::UnsafeCell::new(0),
            joiner: loom::cell::UnsafeCell::new(u64::MAX),
            wake: WakeWord::new(),
            result_dropped: AtomicUsize::new(0),
            freed: AtomicUsize::new(0),
        };
        cell.life.begin();
        Arc::new(cell)
    }

    fn free(&self) {
        // Nobody reads or writes it any more: loom checks that these do not race.
        self.result.with_mut(|_| ());
        self.joiner.with_mut(|_| ());
        assert_eq!(self.freed.fetch_add(1, Ordering::Relaxed), 0, "freed once");
    }

    fn release_result(&self) {
        self.result.with_mut(|_| ());
        assert_eq!(self.result_dropped.fetch_add(1, Ordering::Relaxed), 0, "dropped once");
    }

    /// `body::finish`; true if it claimed the joiner.
    fn end(&self) -> bool {
        // SAFETY: the goroutine's until it has finished; loom checks it.
        self.result.with_mut(|result| unsafe { *result = 7 });
        match self.life.finish() {
            Finish::Left => {}
            Finish::Detached => {
                self.release_result();
                if self.life.finish_detached() {
                    self.free();
                }
            }
            Finish::Joiner => {
                // SAFETY: the finisher's once DONE is set; loom checks it.
                let episode = self.joiner.with(|joiner| unsafe { *joiner });
                if self.wake.claim(episode) {
                    return true;
                }
                if self.life.drop_refs(1) {
                    self.free();
                }
            }
        }
        false
    }

    fn take(&self, references: u32) {
        // SAFETY: the handle's once DONE is set; loom checks it.
        assert_eq!(self.result.with(|result| unsafe { *result }), 7);
        self.release_result();
        if self.life.drop_refs(references) {
            self.free();
        }
    }

    /// `commit_join`; false if the goroutine has ended.
    fn register(&self, episode: u64) -> bool {
        // SAFETY: the handle's owner's until it is registered; loom checks it.
        self.joiner.with_mut(|joiner| unsafe { *joiner = episode });
        self.life.register()
    }

    fn check(&self) {
        assert_eq!((self.result_dropped.load(Ordering::Relaxed), self.freed.load(Ordering::Relaxed)), (1, 1));
    }
}

#[test]
fn loom_join_gets_the_result_and_the_cell_is_freed_once() {
    loom::model(|| {
        let cell = Cell::new();
        let goroutine = cell.clone();
        let goroutine = thread::spawn(move || goroutine.end());
        if cell.life.is_done() {
            cell.take(1);
            assert!(!goroutine.join().unwrap());
        } else {
            let episode = cell.wake.begin(Wait::Join, true);
            if cell.register(episode) {
                assert!(goroutine.join().unwrap(), "registered, so it is woken");
                cell.take(2);
            } else {
                assert!(cell.wake.claim(episode));
                cell.take(1);
                assert!(!goroutine.join().unwrap());
            }
        }
        cell.check();
    });
}

#[test]
fn loom_a_joiner_that_is_cancelled_detaches_or_takes() {
    loom::model(|| {
        let cell = Cell::new();
        let goroutine = cell.clone();
        let goroutine = thread::spawn(move || goroutine.end());
        let episode = cell.wake.begin(Wait::Join, true);
        if cell.register(episode) {
            if cell.wake.claim_cancellable() {
                // Woken as cancelled: `JoinHandle::join`, then its drop.
                if cell.life.deregister() {
                    if !cell.life.detach() {
                        cell.take(1);
                    }
                } else {
                    cell.take(1);
                }
                assert!(!goroutine.join().unwrap());
            } else {
                assert!(goroutine.join().unwrap());
                cell.take(2);
            }
        } else {
            assert!(cell.wake.claim(episode));
            cell.take(1);
            assert!(!goroutine.join().unwrap());
        }
        cell.check();
    });
}

#[test]
fn loom_a_dropped_handle_leaves_the_result_to_one_of_both() {
    loom::model(|| {
        let cell = Cell::new();
        let goroutine = cell.clone();
        let goroutine = thread::spawn(move || goroutine.end());
        let dump = cell.clone();
        let dump = thread::spawn(move || {
            // A dump looks at the cell meanwhile.
            if dump.life.try_ref() && dump.life.drop_refs(1) {
                dump.free();
            }
        });
        if !cell.life.detach() {
            cell.take(1);
        }
        assert!(!goroutine.join().unwrap());
        dump.join().unwrap();
        cell.check();
    });
}

/// A span of two words, for the heap's remote frees.
struct FakeSpan {
    words: [AtomicU64; 2],
    summary: AtomicU64,
    link: AtomicPtr<FakeSpan>,
    owner: AtomicPtr<FakeOwner>,
    /// What the owner has folded in: loom finds two threads in it at once.
    folded: [loom::cell::Cell<u64>; 2],
}

struct FakeOwner {
    inbox: remote::Inbox<FakeSpan>,
    /// The magazines, as far as loom cares: whose they are.
    magazine: loom::cell::Cell<u64>,
}

impl Remote for FakeSpan {
    fn summary(&self) -> &AtomicU64 {
        &self.summary
    }
    fn word(&self, index: usize) -> &AtomicU64 {
        &self.words[index]
    }
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
    fn inbox(&self) -> Option<&'static remote::Inbox<Self>> {
        let owner = self.owner.load(Ordering::Acquire);
        // SAFETY: null, or leaked by `fake_owner`.
        unsafe { owner.as_ref() }.map(|owner| &owner.inbox)
    }
}

impl FakeSpan {
    fn set_owner(&self, owner: Option<&'static FakeOwner>) {
        let owner = owner.map_or(std::ptr::null_mut(), |owner| std::ptr::from_ref(owner).cast_mut());
        self.owner.store(owner, Ordering::Release);
    }

    fn is_of(&self, owner: &FakeOwner) -> bool {
        std::ptr::eq(self.owner.load(Ordering::Relaxed), owner)
    }
}

fn fake_owner() -> &'static FakeOwner {
    Box::leak(Box::new(FakeOwner { inbox: remote::Inbox::new(), magazine: loom::cell::Cell::new(0) }))
}

fn fake_span(owner: &'static FakeOwner) -> &'static FakeSpan {
    let span: &'static FakeSpan = Box::leak(Box::new(FakeSpan {
        words: [AtomicU64::new(0), AtomicU64::new(0)],
        summary: AtomicU64::new(0),
        link: AtomicPtr::new(std::ptr::null_mut()),
        owner: AtomicPtr::new(std::ptr::null_mut()),
        folded: [loom::cell::Cell::new(0), loom::cell::Cell::new(0)],
    }));
    span.set_owner(Some(owner));
    span
}

/// Takes what others freed, as a thread that holds `owner` does.
fn fold(owner: &'static FakeOwner) {
    let put = |span: &'static FakeSpan, word: usize, mask: u64| {
        assert_eq!(span.folded[word].get() & mask, 0, "a slot is freed once");
        span.folded[word].set(span.folded[word].get() | mask);
    };
    remote::drain(&owner.inbox, |span| span.is_of(owner), put, |_| ());
}

// What is shared is atomics, and cells that loom watches.
struct Static<T: 'static>(&'static T);
// SAFETY: see above: sharing the cells is what the models are about.
unsafe impl<T> Send for Static<T> {}

impl<T> Static<T> {
    fn get(&self) -> &'static T {
        self.0
    }
}

#[test]
fn loom_remote_frees_are_all_folded_in() {
    loom::model(|| {
        let owner = fake_owner();
        let span = fake_span(owner);
        let freers: Vec<_> = [(0, 1), (1, 1)]
            .map(|(word, mask)| {
                let span = Static(span);
                thread::spawn(move || {
                    remote::free(span.get(), word, mask);
                    remote::free(span.get(), 0, 2 << word);
                })
            })
            .into_iter()
            .collect();
        fold(owner);
        for freer in freers {
            freer.join().unwrap();
        }
        fold(owner);
        assert_eq!((span.folded[0].get(), span.folded[1].get()), (0b111, 1));
        assert!(owner.inbox.is_empty() && span.summary.load(Ordering::SeqCst) == 0);
    });
}

#[test]
fn loom_a_span_that_is_pushed_again_loses_no_other() {
    loom::model(|| {
        let owner = fake_owner();
        let (first, second) = (fake_span(owner), fake_span(owner));
        remote::free(first, 0, 1);
        remote::free(second, 0, 1);
        let freer = {
            let second = Static(second);
            thread::spawn(move || remote::free(second.get(), 0, 2))
        };
        fold(owner);
        freer.join().unwrap();
        fold(owner);
        assert_eq!((first.folded[0].get(), second.folded[0].get()), (1, 0b11));
    });
}

#[test]
fn loom_frees_follow_a_span_to_its_new_owner() {
    loom::model(|| {
        let (old, new) = (fake_owner(), fake_owner());
        let span = fake_span(old);
        let freer = {
            let span = Static(span);
            thread::spawn(move || {
                remote::free(span.get(), 0, 1);
                remote::free(span.get(), 0, 2);
            })
        };
        let adopter = {
            let (old, new, span) = (Static(old), Static(new), Static(span));
            thread::spawn(move || {
                // Under the registry's lock, which makes it the holder of the old record.
                fold(old.get());
                span.get().set_owner(Some(new.get()));
                fold(new.get());
            })
        };
        freer.join().unwrap();
        adopter.join().unwrap();
        // Somebody looks at the idle record again, then the owner at its own.
        fold(old);
        fold(new);
        assert_eq!(span.folded[0].get(), 0b11);
        assert_eq!(span.summary.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn loom_a_span_may_go_and_come_again_under_a_freer() {
    loom::model(|| {
        let (old, new) = (fake_owner(), fake_owner());
        let span = fake_span(old);
        let freer = {
            let span = Static(span);
            thread::spawn(move || remote::free(span.get(), 0, 1))
        };
        let mut second = None;
        // The owner learns of the slot by another's notification, say: it takes the word directly.
        if span.words[0].swap(0, Ordering::SeqCst) == 1 {
            // All free: given back, and made again by somebody else, whose slot a third thread frees.
            span.set_owner(None);
            span.set_owner(Some(new));
            let span = Static(span);
            second = Some(thread::spawn(move || remote::free(span.get(), 1, 1)));
        }
        freer.join().unwrap();
        let made_again = second.is_some();
        if let Some(second) = second {
            second.join().unwrap();
        }
        fold(old);
        fold(new);
        let expected = if made_again { (0, 1) } else { (1, 0) };
        assert_eq!((span.folded[0].get(), span.folded[1].get()), expected);
        assert_eq!(span.summary.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn loom_a_span_that_is_gone_drops_out_of_the_inbox() {
    loom::model(|| {
        let (old, new) = (fake_owner(), fake_owner());
        let span = fake_span(old);
        let freer = {
            let span = Static(span);
            thread::spawn(move || remote::free(span.get(), 0, 1))
        };
        let is_gone = span.words[0].swap(0, Ordering::SeqCst) == 1;
        if is_gone {
            span.set_owner(None);
        }
        freer.join().unwrap();
        fold(old);
        if is_gone {
            assert_eq!(span.summary.load(Ordering::SeqCst), 0);
            // Its next life works like its first.
            span.set_owner(Some(new));
            remote::free(span, 1, 4);
            fold(new);
            assert_eq!((span.folded[0].get(), span.folded[1].get()), (0, 4));
        } else {
            assert_eq!((span.folded[0].get(), span.folded[1].get()), (1, 0));
        }
    });
}

#[test]
fn loom_a_record_is_handed_back_and_taken_whole() {
    loom::model(|| {
        let owner = fake_owner();
        let span = fake_span(owner);
        let idle: Arc<loom::sync::Mutex<Option<Static<FakeOwner>>>> = Arc::new(loom::sync::Mutex::new(None));
        let freer = {
            let span = Static(span);
            thread::spawn(move || remote::free(span.get(), 0, 1))
        };
        let ends = {
            let (idle, owner) = (idle.clone(), Static(owner));
            thread::spawn(move || {
                let owner = owner;
                fold(owner.get());
                owner.get().magazine.set(owner.get().magazine.get() + 1);
                *idle.lock().unwrap() = Some(owner);
            })
        };
        let take = |idle: &loom::sync::Mutex<Option<Static<FakeOwner>>>| {
            let taken = idle.lock().unwrap().take();
            taken.is_some_and(|owner| {
                assert_eq!(owner.get().magazine.get(), 1);
                owner.get().magazine.set(2);
                fold(owner.get());
                true
            })
        };
        let first = take(&idle);
        ends.join().unwrap();
        freer.join().unwrap();
        assert!(take(&idle) != first, "one taker");
        fold(owner);
        assert_eq!((span.folded[0].get(), owner.magazine.get()), (1, 2));
    });
}
