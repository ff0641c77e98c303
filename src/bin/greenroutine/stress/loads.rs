//! The loads: each uses some feature hard and says what did not hold.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use greenroutine::channel::{self, Receiver, Sender};
use greenroutine::net::{TcpListener, TcpStream};
use greenroutine::sync::{
    Barrier, Condvar, ErrGroup, Mutex, Once, RwLock, Semaphore, SingleFlight, WaitGroup,
};
use greenroutine::time::{self, Instant};
use greenroutine::{block_on, chan, context, go, runtime, scope, select, task, yield_now};

use super::Tally;
use super::plan::Rng;

/// Nothing, or which invariant did not hold.
pub(super) type Checked = Result<(), String>;

/// An invariant.
pub(super) fn same<T: PartialEq + Debug>(what: &str, is: T, should: T) -> Checked {
    if is == should { Ok(()) } else { Err(format!("{what}: {is:?} instead of {should:?}")) }
}

/// Receives all: each of `senders` has sent 0 to `each` - 1, marked with its number, in order; this receiver may have gotten any part of them.
fn in_order(r: &Receiver<(u64, u64)>, senders: u64) -> Result<Vec<u64>, String> {
    let mut last = vec![None; senders as usize];
    let mut counts = vec![0; senders as usize];
    for (from, number) in r {
        if last[from as usize] >= Some(number) {
            return Err(format!("{number} of sender {from} came after {:?}", last[from as usize]));
        }
        last[from as usize] = Some(number);
        counts[from as usize] += 1;
    }
    Ok(counts)
}

fn many_to_many(
    s: Sender<(u64, u64)>,
    r: Receiver<(u64, u64)>,
    ends: u64,
    each: u64,
    tally: &Tally,
) -> Checked {
    let receivers: Vec<_> = (0..ends)
        .map(|_| {
            let r = r.clone();
            go(move || in_order(&r, ends))
        })
        .collect();
    for from in 0..ends {
        let s = s.clone();
        go(move || (0..each).all(|number| s.send((from, number)).is_ok()));
    }
    drop((s, r));
    let mut counts = vec![0; ends as usize];
    for receiver in receivers {
        let got = receiver.join().map_err(|error| error.to_string())??;
        counts.iter_mut().zip(got).for_each(|(count, got)| *count += got);
    }
    Tally::add(&tally.messages, ends * each);
    same("messages by sender", counts, vec![each; ends as usize])
}

/// Many senders and receivers on a buffer, or without a bound.
pub(super) fn mpmc(size: u64, seed: u64, tally: &Tally) -> Checked {
    let mut rng = Rng(seed);
    let (s, r) = match rng.below(4) {
        0 => channel::unbounded(),
        room => chan([1, 7, 64][room as usize - 1]),
    };
    many_to_many(s, r, 1 + rng.below(6), size * 200, tally)
}

/// The same without a buffer.
pub(super) fn rendezvous(size: u64, seed: u64, tally: &Tally) -> Checked {
    let (s, r) = chan(0);
    many_to_many(s, r, 1 + seed % 6, size * 100, tally)
}

/// Sends and receives by select, with timeouts between; what was sent was received once.
pub(super) fn select(size: u64, seed: u64, tally: &Tally) -> Checked {
    let (a, from_a) = chan::<u64>(0);
    let (b, from_b) = chan::<u64>(2);
    let (sent, got) = (&AtomicU64::new(0), &AtomicU64::new(0));
    let each = size * 100;
    scope(|s| {
        for n in 0..3 {
            let (a, b) = (a.clone(), b.clone());
            s.go(move || {
                let mut rng = Rng(seed ^ n);
                for _ in 0..each {
                    let value = rng.next() >> 16;
                    select! {
                        send(a, value) -> done => assert!(done.is_ok()),
                        send(b, value) -> done => assert!(done.is_ok()),
                    }
                    sent.fetch_add(value, SeqCst);
                }
            });
        }
        drop((a, b));
        for _ in 0..3 {
            let (mut from_a, mut from_b) = (from_a.clone(), from_b.clone());
            s.go(move || {
                let (mut open_a, mut open_b) = (true, true);
                while open_a || open_b {
                    select! {
                        recv(from_a) -> value => match value {
                            Ok(value) => drop(got.fetch_add(value, SeqCst)),
                            Err(_) => (open_a, from_a) = (false, channel::never()),
                        },
                        recv(from_b) -> value => match value {
                            Ok(value) => drop(got.fetch_add(value, SeqCst)),
                            Err(_) => (open_b, from_b) = (false, channel::never()),
                        },
                        default(Duration::from_micros(200)) => yield_now(),
                    }
                }
            });
        }
    });
    Tally::add(&tally.messages, 3 * each);
    same("the sum of what was selected", got.load(SeqCst), sent.load(SeqCst))
}

/// A row of stages, each a goroutine: what goes in comes out in order.
pub(super) fn pipeline(size: u64, seed: u64, tally: &Tally) -> Checked {
    let (stages, count) = (5 + size * 5, size * 50);
    let (first, mut end) = chan::<u64>((seed % 3) as usize);
    for _ in 0..stages {
        let (s, r) = chan((seed % 3) as usize);
        let from = std::mem::replace(&mut end, r);
        go(move || from.iter().all(|value| s.send(value + 1).is_ok()));
    }
    go(move || (0..count).all(|value| first.send(value).is_ok()));
    let out: Vec<_> = end.iter().collect();
    Tally::add(&tally.messages, stages * count);
    same("what came out", out, (stages..stages + count).collect())
}

/// Counters under mutexes and reader-writer locks; readers see no half of a change.
pub(super) fn locks(size: u64, seed: u64, tally: &Tally) -> Checked {
    let (mutex, pair, torn) = (Mutex::new(0), RwLock::new((0_u64, 0_u64)), AtomicU64::new(0));
    let (parts, each) = (2 + seed % 8, size * 200);
    scope(|s| {
        for part in 0..parts {
            let (mutex, pair, torn) = (&mutex, &pair, &torn);
            s.go(move || {
                let mut rng = Rng(seed ^ part);
                for _ in 0..each {
                    let mut guard = mutex.lock();
                    *guard += 1;
                    if rng.below(50) == 0 {
                        yield_now();
                    }
                    drop(guard);
                    if rng.below(4) == 0 {
                        let mut pair = pair.write();
                        pair.0 += 1;
                        if rng.below(20) == 0 {
                            yield_now();
                        }
                        pair.1 += 1;
                    } else {
                        let pair = pair.read();
                        torn.fetch_add(u64::from(pair.0 != pair.1), SeqCst);
                    }
                }
            });
        }
    });
    Tally::add(&tally.locks, 2 * parts * each);
    same("torn reads", torn.into_inner(), 0)?;
    same("locked additions", mutex.into_inner(), parts * each)
}

/// Never more inside than there are permits, and all permits are there at the end.
pub(super) fn semaphore(size: u64, seed: u64, _: &Tally) -> Checked {
    let permits = 1 + (seed % 5) as usize;
    let (semaphore, inside, most) = (Semaphore::new(permits), AtomicU64::new(0), AtomicU64::new(0));
    scope(|s| {
        for part in 0..8_u64 {
            let (semaphore, inside, most) = (&semaphore, &inside, &most);
            s.go(move || {
                let mut rng = Rng(seed ^ part);
                for _ in 0..size * 30 {
                    let count = 1 + rng.below(permits as u64);
                    let guard = match rng.below(3) {
                        0 => semaphore.try_acquire(count as usize),
                        1 => semaphore.acquire_timeout(count as usize, Duration::from_micros(300)),
                        _ => Some(semaphore.acquire(count as usize)),
                    };
                    if let Some(guard) = guard {
                        most.fetch_max(inside.fetch_add(count, SeqCst) + count, SeqCst);
                        yield_now();
                        inside.fetch_sub(count, SeqCst);
                        drop(guard);
                    }
                }
            });
        }
    });
    if most.load(SeqCst) > permits as u64 {
        return Err(format!("{} of {permits} permits were out", most.load(SeqCst)));
    }
    same("permits at the end", semaphore.available(), permits)
}

/// A bounded buffer with two conditions.
pub(super) fn condvar(size: u64, seed: u64, tally: &Tally) -> Checked {
    let room = 1 + (seed % 4) as usize;
    let (buffer, filled, emptied) = (Mutex::new(Vec::new()), Condvar::new(), Condvar::new());
    let (each, sum) = (size * 50, AtomicU64::new(0));
    scope(|s| {
        for _ in 0..3 {
            s.go(|| {
                for value in 0..each {
                    let mut buffer = buffer.lock();
                    emptied.wait_while(&mut buffer, |buffer| buffer.len() == room);
                    buffer.push(value);
                    filled.notify_one();
                }
            });
            s.go(|| {
                for _ in 0..each {
                    let mut buffer = buffer.lock();
                    filled.wait_while(&mut buffer, |buffer| buffer.is_empty());
                    sum.fetch_add(buffer.pop().unwrap_or_default(), SeqCst);
                    emptied.notify_one();
                }
            });
        }
    });
    Tally::add(&tally.messages, 3 * each);
    same("the sum of the buffer", sum.load(SeqCst), 3 * (each * (each - 1) / 2))
}

/// Wait groups, barriers, once, error groups, single flights.
pub(super) fn groups(size: u64, seed: u64, _: &Tally) -> Checked {
    for round in 0..size * 3 {
        let (done, group) = (Arc::new(AtomicU64::new(0)), WaitGroup::new());
        let (barrier, once, flights) =
            (Arc::new(Barrier::new(4)), Arc::new(Once::new()), Arc::new(SingleFlight::new()));
        for _ in 0..4 {
            let (done, barrier, once, flights) =
                (done.clone(), barrier.clone(), once.clone(), flights.clone());
            group.go(move || {
                let leads = barrier.wait().is_leader();
                once.call_once(|| {
                    done.fetch_add(1000, SeqCst);
                });
                let value = flights.run(round, || {
                    yield_now();
                    round + 1
                });
                done.fetch_add(u64::from(value == round + 1) + 100 * u64::from(leads), SeqCst);
            });
        }
        group.wait();
        same("four, one leader, once", done.load(SeqCst), 1104)?;
        let errors = ErrGroup::new();
        for n in 0..5 {
            errors.go(move || if n == seed % 5 { Err(n) } else { Ok(()) });
        }
        same("the group's error", errors.wait(), Err(seed % 5))?;
    }
    Ok(())
}

fn sum_of(from: u64, width: u64) -> u64 {
    if width == 1 {
        return from;
    }
    let handles: Vec<_> = (0..10).map(|n| go(move || sum_of(from + n * width / 10, width / 10))).collect();
    handles.into_iter().map(|handle| handle.join().unwrap_or_default()).sum()
}

/// A tree of goroutines that sums up.
pub(super) fn tree(size: u64, _: u64, _: &Tally) -> Checked {
    let width = if size > 7 { 10_000 } else { 1000 };
    same("the tree's sum", sum_of(0, width), width * (width - 1) / 2)
}

/// Nothing wakes early, and tickers tick.
pub(super) fn timers(size: u64, seed: u64, tally: &Tally) -> Checked {
    let (early, count) = (AtomicU64::new(0), size * 50);
    scope(|s| {
        for n in 0..count {
            let early = &early;
            s.go(move || {
                let wait = Duration::from_micros(Rng(seed ^ n).below(3000));
                let start = Instant::now();
                match n % 3 {
                    0 => time::sleep(wait),
                    1 => drop(time::Timer::new(wait).receiver().recv()),
                    _ => drop(channel::after(wait).recv()),
                }
                early.fetch_add(u64::from(start.elapsed() < wait), SeqCst);
            });
        }
        s.go(|| {
            let ticker = time::Ticker::new(Duration::from_micros(100));
            ticker.receiver().iter().take(size as usize).for_each(drop);
        });
        for _ in 0..size {
            let timer = time::after_func(Duration::from_secs(3600), || ());
            assert!(timer.stop(), "an hour has not passed");
        }
    });
    Tally::add(&tally.timers, count);
    same("early timers", early.load(SeqCst), 0)
}

/// Operations that time out, or just do not, lose nothing.
pub(super) fn timeouts(size: u64, seed: u64, tally: &Tally) -> Checked {
    let (s, r) = chan::<u64>(0);
    let (sent, got) = (AtomicU64::new(0), AtomicU64::new(0));
    scope(|scope| {
        for part in 0..3 {
            let (s, r, sent, got) = (s.clone(), r.clone(), &sent, &got);
            scope.go(move || {
                let mut rng = Rng(seed ^ part);
                for _ in 0..size * 30 {
                    let value = rng.next() >> 16;
                    if s.send_timeout(value, Duration::from_micros(rng.below(100))).is_ok() {
                        sent.fetch_add(value, SeqCst);
                    }
                }
            });
            scope.go(move || {
                let mut rng = Rng(!seed ^ part);
                for _ in 0..size * 30 {
                    if let Ok(value) = r.recv_timeout(Duration::from_micros(rng.below(100))) {
                        got.fetch_add(value, SeqCst);
                    }
                    let _ = time::timeout(Duration::from_micros(rng.below(50)), task::park);
                }
            });
        }
    });
    Tally::add(&tally.timers, size * 90);
    same("the sum of what was sent in time", got.load(SeqCst), sent.load(SeqCst))
}

/// A tree of contexts: cancelling the root reaches all.
pub(super) fn contexts(size: u64, seed: u64, _: &Tally) -> Checked {
    let (root, cancel) = context::background().with_cancel();
    let mut handles = Vec::new();
    let mut all = vec![(root, None)];
    for n in 0..size * 10 {
        let parent = all[(Rng(seed ^ n).next() % all.len() as u64) as usize].0.clone();
        let (child, own) = parent.with_timeout(Duration::from_secs(3600));
        let waits = child.clone();
        handles.push(go(move || waits.done().recv().is_err() && waits.err().is_some()));
        all.push((child, Some(own)));
    }
    yield_now();
    cancel.cancel();
    let ended = handles.into_iter().filter_map(|handle| handle.join().ok()).filter(|ended| *ended).count();
    same("cancelled contexts", ended as u64, size * 10)
}

/// Two goroutines that unpark each other.
pub(super) fn parking(size: u64, _: u64, _: &Tally) -> Checked {
    let turn = Arc::new(AtomicU64::new(0));
    let rounds = size * 100;
    let me = task::current().ok_or("no goroutine")?;
    let (theirs, (hello, greeted)) = (turn.clone(), chan(1));
    let other = go(move || {
        drop(hello.send(task::current()));
        for round in 0..rounds {
            while theirs.load(SeqCst) != 2 * round + 1 {
                task::park();
            }
            theirs.fetch_add(1, SeqCst);
            me.unpark();
        }
    });
    let them = greeted.recv().ok().flatten().ok_or("no greeting")?;
    for round in 0..rounds {
        turn.fetch_add(1, SeqCst);
        them.unpark();
        while turn.load(SeqCst) != 2 * round + 2 {
            task::park();
        }
    }
    other.join().map_err(|error| error.to_string())?;
    same("turns", turn.load(SeqCst), 2 * rounds)
}

/// Jobs of the pool, with what they return.
pub(super) fn blocking(size: u64, seed: u64, _: &Tally) -> Checked {
    let sum = AtomicU64::new(0);
    scope(|s| {
        for n in 0..size * 5 {
            let sum = &sum;
            s.go(move || {
                let value = greenroutine::blocking(|| {
                    std::thread::sleep(Duration::from_micros(Rng(seed ^ n).below(500)));
                    n
                });
                sum.fetch_add(value, SeqCst);
            });
        }
    });
    same("the sum of the jobs", sum.load(SeqCst), (0..size * 5).sum())
}

#[inline(never)]
fn deep(depth: u64, seed: u64) -> u64 {
    let block = std::hint::black_box([seed ^ depth; 64]);
    if depth.is_multiple_of(64) {
        yield_now();
    }
    let below = if depth == 0 { 0 } else { deep(depth - 1, seed) };
    let whole = block.iter().all(|word| *word == seed ^ depth);
    below + u64::from(std::hint::black_box(whole))
}

/// Stacks that grow while others do, and hold what they held.
pub(super) fn stacks(size: u64, seed: u64, _: &Tally) -> Checked {
    let handles: Vec<_> = (0..size)
        .map(|n| {
            let depth = Rng(seed ^ n).below(3000);
            (depth, go(move || deep(depth, seed)))
        })
        .collect();
    for (depth, handle) in handles {
        same("whole frames", handle.join().map_err(|error| error.to_string())?, depth + 1)?;
    }
    Ok(())
}

fn talk(seed: u64, size: u64) -> std::io::Result<u64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let clients = 3;
    let echo = go(move || -> std::io::Result<()> {
        let mut parts = Vec::new();
        for _ in 0..clients {
            let (stream, _) = listener.accept()?;
            parts.push(go(move || -> std::io::Result<()> {
                let mut buffer = [0; 4096];
                loop {
                    match (&stream).read(&mut buffer)? {
                        0 => return Ok(()),
                        count => (&stream).write_all(&buffer[..count])?,
                    }
                }
            }));
        }
        parts.into_iter().try_for_each(|part| part.join().map_err(std::io::Error::other)?)
    });
    let talks: Vec<_> = (0..clients)
        .map(|n| {
            go(move || -> std::io::Result<u64> {
                let mut stream = TcpStream::connect(address)?;
                let (mut rng, mut bytes) = (Rng(seed ^ n), 0);
                for _ in 0..size * 3 {
                    let mut said = vec![0; 1 + rng.below(5000) as usize];
                    said.iter_mut().for_each(|byte| *byte = rng.next() as u8);
                    stream.write_all(&said)?;
                    let mut heard = vec![0; said.len()];
                    stream.read_exact(&mut heard)?;
                    if said != heard {
                        return Err(std::io::Error::other("the echo differs"));
                    }
                    bytes += said.len() as u64;
                }
                Ok(bytes)
            })
        })
        .collect();
    let mut bytes = 0;
    for talk in talks {
        bytes += talk.join().map_err(std::io::Error::other)??;
    }
    echo.join().map_err(std::io::Error::other)??;
    Ok(bytes)
}

/// An echo over sockets.
pub(super) fn sockets(size: u64, seed: u64, tally: &Tally) -> Checked {
    let bytes = talk(seed, size).map_err(|error| error.to_string())?;
    Tally::add(&tally.bytes, bytes);
    Ok(())
}

/// Handles awaited as futures.
pub(super) fn futures(size: u64, _: u64, _: &Tally) -> Checked {
    let sum = block_on(async {
        let mut sum = 0;
        for n in 0..size * 20 {
            sum += go(move || n).await.unwrap_or_default();
        }
        sum
    });
    same("the sum of the futures", sum, (0..size * 20).sum())
}

/// Somebody looks at everything meanwhile.
pub(super) fn watching(size: u64, _: u64, _: &Tally) -> Checked {
    for _ in 0..size {
        let (dump, figures) = (runtime::dump(), runtime::metrics());
        if !dump.contains(" [running]") || figures.goroutines == 0 {
            return Err(String::from("who looks is not among those who are seen"));
        }
        let states: usize = runtime::states().values().sum();
        if states == 0 {
            return Err(String::from("nobody is in any state"));
        }
        yield_now();
    }
    Ok(())
}
