//! A worker without work: search, doze, sleep. The order and the waits are the protocol of docs/PROTOCOLS.md, "Sleep".
//!
//! What may be stolen has *aged*: a thief looks twice, 3 µs apart, and takes from a victim that had something both times and either
//! did not switch in between (it is busy with one goroutine) or has a backlog. Two goroutines that talk tightly, and a spawn that
//! is joined at once, so stay where they are; Go waits 3 µs as well, zio 100 µs (its issue 574: stealing without age cost 4x).
//!
//! Loot is judged afterwards ([`Loot`]): goroutines that are too short to be worth moving are left where they are for a while.
//!
//! Dozing keeps one searcher near: it looks again after 50 µs, four times, before it sleeps for good. While it dozes, spawns wake
//! nobody unless they pile up. So a loop of spawn and join on another worker costs a futex call every 250 µs and not one a spawn.

use std::sync::atomic::Ordering;

use super::core::{Core, WorkerShared, count};
use super::worker::{Role, Worker, notify_search, state};
use crate::arch;
use crate::base::fence;
use crate::routine::TaskRef;
use crate::sys::clock;

/// How long a look at the victims ages what they have.
const AGE_NS: u64 = 3_000;
/// Looks before a searcher dozes: about 10 µs.
const LOOKS: usize = 3;
/// A doze, and how many follow each other.
const DOZE_NS: u64 = 50_000;
const DOZES: usize = 4;
/// A victim with this many waiting is stolen from even while it switches.
const BACKLOG: usize = 4;

/// How long a `next` waits before it may be taken, in free mode. Two that talk hand over within a microsecond; a thief that comes sooner tears them
/// apart (tokio's issue 8065, where that cost a third).
const NEXT_AGE_NS: u64 = 20_000;

/// A worker whose `next` waits: the goroutine run it was seen in, and since when.
#[derive(Clone, Copy)]
pub(super) struct Watched {
    index: usize,
    tick: u64,
    since: u64,
}

impl Watched {
    /// Nobody.
    pub(super) const NOBODY: Self = Self { index: usize::MAX, tick: 0, since: 0 };
}

/// Loot whose goroutines took less than this each, everything included, was not worth its way: a stolen cell moves between two
/// processors' caches twice, which costs its old worker more than running it would have (measured: 10,000 empty goroutines took 80 ns each
/// with two workers stealing from each other, 40 with one).
const WORTH_NS: u64 = 400;
/// How long a thief leaves backlogs alone after worthless loot, at first and at most.
const REGRET_NS: (u64, u64) = (50_000, 800_000);

/// What a worker's last theft was worth.
#[derive(Clone, Copy, Default)]
pub(super) struct Loot {
    /// When it was taken, and the worker's tick then; 0 when it has been judged.
    taken_at: u64,
    tick: u64,
    /// Backlogs are left alone until then, and for how long it was this time.
    regret_until: u64,
    regret: u64,
    /// A victim and the tick it was seen in, and since when.
    held: (usize, u64),
    held_since: u64,
}

/// How a sleep ended.
pub(super) enum Asleep {
    /// Something came, or somebody woke us.
    Look,
    /// The same, with the searching token.
    Search,
    /// The runtime ends.
    End,
}

impl Core {
    /// Wakes one sleeper to search, unless somebody searches already.
    pub(crate) fn wake_searcher(&self) {
        if let Some(index) = self.idle.take_sleeper() {
            notify_search(self.worker(index));
        }
    }

    /// Wakes one sleeper if work that was published calls for it. The caller has executed the fence.
    pub(crate) fn wake_for_work(&self) {
        if self.idle.needs_wake() {
            self.wake_searcher();
        }
    }
}

impl Worker {
    /// Waits for work. `None` when the runtime ends.
    #[cold]
    #[inline(never)]
    pub(super) fn find_work(&self) -> Option<TaskRef> {
        let most = (self.core.config.workers / 2).max(1);
        self.judge_loot();
        let mut token = false;
        loop {
            if self.takes_new_work() && (token || self.core.idle.begin_search(most)) {
                let found = self.search();
                // The last searcher to find work wakes the next one if there may be more.
                if self.core.idle.end_search() && found.is_some() && self.sees_work() {
                    self.core.wake_searcher();
                }
                if found.is_some() {
                    return found;
                }
            } else if token {
                // A spare that was woken for new work and may not take it any more.
                self.pass_search_on();
            }
            token = false;
            if let Some(task) = self.own_work() {
                return Some(task);
            }
            match self.sleep() {
                Asleep::Look => {}
                Asleep::Search => token = true,
                Asleep::End => return None,
            }
            if let Some(task) = self.own_work() {
                if token {
                    // The work that we were woken for may be elsewhere.
                    self.pass_search_on();
                }
                return Some(task);
            }
        }
    }

    /// Gives the searching token back without having searched. Whoever pushed work since it was taken has woken nobody because of it.
    fn pass_search_on(&self) {
        self.core.idle.end_search();
        fence::heavy();
        if self.sees_work() {
            self.core.wake_for_work();
        }
    }

    /// Work that is this worker's alone: inbox, timers, descriptors, queues.
    fn own_work(&self) -> Option<TaskRef> {
        self.drain_inbox();
        self.fire_timers();
        self.poll_ready();
        self.pick_own()
    }

    fn pick_own(&self) -> Option<TaskRef> {
        if let Some(task) = self.steal_next_of(&self.shared) {
            return Some(task);
        }
        self.local.pop().or_else(|| self.shared.fresh.pop())
    }

    /// Takes the `next` of a worker: our own, or that of a stuck one in free mode.
    fn steal_next_of(&self, victim: &WorkerShared) -> Option<TaskRef> {
        if victim.next.load(Ordering::Relaxed).is_null() {
            return None;
        }
        let next = victim.next.swap(std::ptr::null_mut(), Ordering::Acquire);
        // SAFETY: null, or a goroutine that was put there; cells are mapped for ever.
        unsafe { next.as_ref() }
    }

    fn fire_timers(&self) {
        let mut now = 0;
        let mut due = |shared: &WorkerShared| {
            let deadline = shared.timers.next_deadline();
            if deadline == u64::MAX {
                return false;
            }
            if now == 0 {
                now = clock::now_ns();
            }
            deadline <= now
        };
        if due(&self.shared) {
            self.fire_own(clock::now_ns());
        }
        // A stuck worker cannot fire its own.
        if self.takes_new_work() {
            for victim in self.core.workers().filter(|w| w.stuck.load(Ordering::Relaxed)) {
                if due(victim) {
                    victim.timers.fire(clock::now_ns(), |task| self.ready_tail(task));
                }
            }
        }
    }

    /// Looks for work until it is found, or there has been none for a while.
    fn search(&self) -> Option<TaskRef> {
        for _ in 0..LOOKS {
            if let Some(task) = self.look_and_age() {
                return Some(task);
            }
        }
        if !self.core.idle.begin_doze(self.shared.index) {
            return None;
        }
        let mut found = None;
        let mut dozes = 0;
        // Where somebody has work that it is not time to take, one thief stays near.
        while dozes < DOZES || self.has_busy_victim() {
            dozes += 1;
            self.core.idle.set_quiet(self.shared.index, self.loot.get().regret_until > clock::now_ns());
            self.doze();
            found = self.look_and_age();
            if found.is_some() || self.core.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        self.core.idle.end_doze();
        found
    }

    /// The loot is used up: notes whether it was worth it.
    fn judge_loot(&self) {
        let mut loot = self.loot.get();
        if loot.taken_at == 0 {
            return;
        }
        let now = clock::now_ns();
        // Two ticks a run.
        let runs = (self.shared.tick.load(Ordering::Relaxed) - loot.tick).max(2) / 2;
        if (now - loot.taken_at) / runs < WORTH_NS {
            loot.regret = (2 * loot.regret).clamp(REGRET_NS.0, REGRET_NS.1);
            loot.regret_until = now + loot.regret;
        } else {
            loot.regret = 0;
            loot.regret_until = 0;
        }
        loot.taken_at = 0;
        self.loot.set(loot);
    }

    /// Whether another worker has something that it has not come to yet.
    fn has_busy_victim(&self) -> bool {
        self.core.workers().any(|w| {
            w.index != self.shared.index
                && (!w.fresh.is_empty() || (self.free && !w.next.load(Ordering::Relaxed).is_null()))
        })
    }

    fn doze(&self) {
        let state = &self.shared.state;
        let dozing = self.asleep(state::DOZING);
        state.store(dozing, Ordering::SeqCst);
        // After the store: whoever pushes to the inbox now sees it and wakes us.
        if self.shared.inbox.is_empty() {
            let deadline = (clock::now_ns() + DOZE_NS).min(self.shared.timers.next_deadline());
            self.nap(dozing, deadline);
        }
        state.store(state::RUNNING, Ordering::SeqCst);
    }

    /// One look at everything, 3 µs for it to age, and another one that takes.
    fn look_and_age(&self) -> Option<TaskRef> {
        if let Some(task) = self.own_work().or_else(|| self.pop_injector()) {
            return Some(task);
        }
        // What each victim looked like: its tick, if it had something.
        let workers = self.core.workers().len();
        let start = self.rng.borrow_mut().below(workers);
        let mut seen = [None; 16];
        let victims = |at: usize| self.core.worker((start + at) % workers);
        for (at, seen) in seen.iter_mut().enumerate().take(workers.min(16)) {
            let victim = victims(at);
            if victim.index != self.shared.index && !victim.fresh.is_empty() {
                *seen = Some(victim.tick.load(Ordering::Relaxed));
            }
        }
        let until = clock::now_ns() + AGE_NS;
        while clock::now_ns() < until {
            for _ in 0..16 {
                arch::spin_hint();
            }
            if !self.shared.inbox.is_empty() {
                return self.own_work();
            }
        }
        for (at, seen) in seen.iter().enumerate() {
            let Some(tick) = seen else { continue };
            let victim = victims(at);
            let waiting = victim.fresh.len();
            let same_tick = victim.tick.load(Ordering::Relaxed) == *tick;
            if waiting > 0
                && self.may_take(victim.index, waiting, same_tick, *tick, until)
                && let Some(task) = self.steal_from(victim)
            {
                count(&self.shared.counters.steals);
                let mut loot = self.loot.get();
                loot.taken_at = clock::now_ns();
                loot.tick = self.shared.tick.load(Ordering::Relaxed);
                self.loot.set(loot);
                return Some(task);
            }
        }
        if self.free {
            if let Some(task) = self.steal_waiting_next() {
                return Some(task);
            }
            self.poll_for_busy();
        }
        self.pop_injector()
    }

    /// Free mode: takes a `next` that has waited for [`NEXT_AGE_NS`] while its worker stayed in one goroutine: what was woken beside a goroutine that
    /// goes on for long (tokio's issue 4941, where it waits until that one is through).
    fn steal_waiting_next(&self) -> Option<TaskRef> {
        let now = clock::now_ns();
        let mut watched = self.watched_next.get();
        for victim in self.core.workers().filter(|w| w.index != self.shared.index) {
            if victim.next.load(Ordering::Relaxed).is_null() {
                continue;
            }
            let tick = victim.tick.load(Ordering::Relaxed);
            if (watched.index, watched.tick) == (victim.index, tick) {
                let aged = now - watched.since >= NEXT_AGE_NS || victim.stuck.load(Ordering::Relaxed);
                if aged && let Some(task) = self.steal_next_of(victim) {
                    count(&self.shared.counters.steals);
                    return Some(task);
                }
                return None;
            }
            // One at a time.
            watched = Watched { index: victim.index, tick, since: now };
        }
        self.watched_next.set(watched);
        None
    }

    /// Whether it is time to take from a victim with `waiting` goroutines, who is still in the same goroutine as 3 µs ago or is not.
    fn may_take(&self, index: usize, waiting: usize, same_tick: bool, tick: u64, now: u64) -> bool {
        let mut loot = self.loot.get();
        if now >= loot.regret_until {
            return same_tick || waiting >= BACKLOG;
        }
        // The last loot was worthless: only from a victim that has been in one goroutine for as long as we have waited.
        if !same_tick || loot.held != (index, tick) {
            loot.held = (index, tick);
            loot.held_since = now;
            self.loot.set(loot);
            return false;
        }
        now - loot.held_since >= loot.regret
    }

    /// Takes a batch from a victim: the first to run now, the rest for later.
    fn steal_from(&self, victim: &WorkerShared) -> Option<TaskRef> {
        let mut first = None;
        victim.fresh.steal(|task| match first {
            None => first = Some(task),
            Some(_) => self.shared.fresh.push(task),
        });
        first
    }

    /// Whether there is work that anybody may take, and that has nobody who is about to: a victim that is busy with one goroutine.
    fn sees_work(&self) -> bool {
        !self.core.injector.is_empty() || self.core.workers().any(|w| !w.fresh.is_empty())
    }

    /// Sleeps until there may be work.
    pub(super) fn sleep(&self) -> Asleep {
        let shared = &*self.shared;
        let in_mask = shared.role != Role::Dedicated;
        let new_work = in_mask && self.takes_new_work();
        let asleep = self.asleep(state::SLEEPING);
        shared.state.store(asleep, Ordering::SeqCst);
        if new_work {
            self.core.idle.begin_sleep(shared.index);
        }
        // Pairs with the light fence after a push to `fresh`; pushes to inbox and injector are SeqCst.
        fence::heavy();
        let stop = self.core.stop.load(Ordering::SeqCst);
        if in_mask && !new_work && self.sees_work() {
            // A spare that may not take it any more: it may have been searching when that was pushed, so that nobody was woken.
            self.core.wake_for_work();
        }
        let busy = stop
            || asleep != self.asleep(state::SLEEPING)
            || !shared.inbox.is_empty()
            || (new_work && (!self.core.injector.is_empty() || self.has_unwatched_victim()))
            || (new_work != (in_mask && self.takes_new_work()));
        if !busy {
            count(&shared.counters.sleeps);
            let deadline = self.sleep_deadline(new_work);
            while shared.state.load(Ordering::SeqCst) == asleep {
                if !self.nap(asleep, deadline) {
                    break;
                }
            }
            let woken_at = shared.woken_at.swap(0, Ordering::Relaxed);
            if woken_at != 0 {
                shared.latencies.wake.add(clock::now_ns().saturating_sub(woken_at));
            }
        }
        if new_work && !self.core.idle.end_sleep(shared.index) {
            // Taken by a waker: its token is in our name, or will be in a moment.
            while shared.state.load(Ordering::SeqCst) != state::SEARCH {
                arch::spin_hint();
            }
            shared.state.store(state::RUNNING, Ordering::SeqCst);
            self.core.monitor.worker_woke();
            return Asleep::Search;
        }
        shared.state.store(state::RUNNING, Ordering::SeqCst);
        if stop {
            return Asleep::End;
        }
        self.core.monitor.worker_woke();
        Asleep::Look
    }

    /// Whether a victim has something and nobody is about to look. Read after the heavy fence, so a push whose pusher did not see
    /// us sleep is seen here. A dozer looks again within 50 µs, and reads this itself before it sleeps.
    fn has_unwatched_victim(&self) -> bool {
        !self.core.idle.has_dozer() && self.has_busy_victim()
    }

    fn sleep_deadline(&self, new_work: bool) -> u64 {
        let own = self.shared.timers.next_deadline();
        if !new_work {
            return own;
        }
        self.core
            .workers()
            .filter(|w| w.stuck.load(Ordering::Relaxed))
            .map(|w| w.timers.next_deadline())
            .fold(own, u64::min)
    }
}
