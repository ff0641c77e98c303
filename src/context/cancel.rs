//! The tree of what can be cancelled. A place knows those below it weakly, and they it strongly: who is forgotten by its users leaves the tree, and a context that
//! nobody cancels leaks nothing.
//!
//! Cancelling takes the children out under the lock and goes on with them outside, so no lock is held while another is taken, and no code of the user's runs
//! under one. A child that comes meanwhile finds its parent over, and is over from the start.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::{Error, Never};
use crate::alarm::{Timer, after_func};
use crate::base::lock::{Lock, Rank};
use crate::channel::{Receiver, Sender, bounded};
use crate::go::go;
use crate::moment::Instant;

/// Why a context was cancelled, in the canceller's words.
#[derive(Clone)]
pub struct Cause(Arc<dyn StdError + Send + Sync>);

impl Cause {
    pub(super) fn new(error: Box<dyn StdError + Send + Sync>) -> Self {
        Self(Arc::from(error))
    }

    /// The cause, if it is of this type.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cause({:?})", self.0)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// A place in the tree.
pub(super) struct Canceler {
    parent: Option<Arc<Canceler>>,
    id: u64,
    /// The earliest on the way up.
    deadline: Option<Instant>,
    /// Closed when it is over; nothing is ever sent.
    end: Sender<Never>,
    done: Receiver<Never>,
    state: Lock<State>,
}

/// Guarded by the place's lock.
#[derive(Default)]
struct State {
    over: Option<(Error, Option<Cause>)>,
    children: HashMap<u64, Weak<Canceler>>,
    calls: HashMap<u64, Arc<Call>>,
    /// Ends it at the deadline.
    timer: Option<Timer>,
}

/// What `after_func` has to do, until it is done or stopped.
type Call = Lock<Option<Box<dyn FnOnce() + Send>>>;

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Canceler {
    /// A place below `parent`, over at `deadline` at the latest.
    pub(super) fn below(parent: Option<&Arc<Self>>, deadline: Option<Instant>) -> Arc<Self> {
        let inherited = parent.and_then(|parent| parent.deadline);
        let own = deadline.filter(|deadline| inherited.is_none_or(|inherited| *deadline < inherited));
        let (end, done) = bounded(0);
        let new = Arc::new(Self {
            parent: parent.cloned(),
            id: next_id(),
            deadline: own.or(inherited),
            end,
            done,
            state: Lock::new(Rank::Api, State::default()),
        });
        if let Some(parent) = parent {
            let over = {
                let mut state = parent.state.lock();
                if state.over.is_none() {
                    state.children.insert(new.id, Arc::downgrade(&new));
                }
                state.over.clone()
            };
            if let Some((error, cause)) = over {
                new.cancel(error, cause);
            }
        }
        if let Some(own) = own {
            new.arm(own);
        }
        new
    }

    fn arm(self: &Arc<Self>, deadline: Instant) {
        let left = deadline.duration_since(Instant::now());
        if left.is_zero() {
            return self.cancel(Error::DeadlineExceeded, None);
        }
        let weak = Arc::downgrade(self);
        let timer = after_func(left, move || {
            if let Some(canceler) = weak.upgrade() {
                canceler.cancel(Error::DeadlineExceeded, None);
            }
        });
        let unneeded = {
            let mut state = self.state.lock();
            if state.over.is_some() { Some(timer) } else { state.timer.replace(timer) }
        };
        if let Some(timer) = unneeded {
            timer.stop();
        }
    }

    pub(super) fn done(&self) -> &Receiver<Never> {
        &self.done
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn err(&self) -> Option<Error> {
        let over = self.state.lock().over.as_ref().map(|(error, _)| *error);
        if over.is_none() && self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            // Its timer is on the way; who looks first need not wait for it.
            self.cancel(Error::DeadlineExceeded, None);
            return Some(Error::DeadlineExceeded);
        }
        over
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        let error = self.err()?;
        let cause = self.state.lock().over.as_ref().and_then(|(_, cause)| cause.clone());
        Some(cause.unwrap_or_else(|| Cause::new(Box::new(error))))
    }

    /// Ends this place and all below it, unless it is over.
    pub(super) fn cancel(&self, error: Error, cause: Option<Cause>) {
        if let Some(parent) = &self.parent {
            // Over or not, nobody has to tell us any more.
            let _ = parent.state.lock().children.remove(&self.id);
        }
        let mut below = Vec::new();
        self.end_one(error, cause.clone(), &mut below);
        // Not by recursion: chains may be long.
        while let Some(child) = below.pop() {
            child.end_one(error, cause.clone(), &mut below);
        }
    }

    fn end_one(&self, error: Error, cause: Option<Cause>, below: &mut Vec<Arc<Self>>) {
        let ended = {
            let mut state = self.state.lock();
            if state.over.is_some() {
                return;
            }
            // Before anybody can see the error.
            self.end.close();
            state.over = Some((error, cause));
            State {
                over: None,
                children: std::mem::take(&mut state.children),
                calls: std::mem::take(&mut state.calls),
                timer: state.timer.take(),
            }
        };
        if let Some(timer) = ended.timer {
            timer.stop();
        }
        below.extend(ended.children.into_values().filter_map(|child| child.upgrade()));
        ended.calls.into_values().for_each(|call| start(&call));
    }
}

impl Drop for Canceler {
    fn drop(&mut self) {
        let timer = self.state.lock().timer.take();
        if let Some(timer) = timer {
            timer.stop();
        }
        let mut parent = self.parent.take();
        if let Some(parent) = &parent {
            let _ = parent.state.lock().children.remove(&self.id);
        }
        // One after the other: a long chain would otherwise be dropped by recursion.
        while let Some(mut canceler) = parent.and_then(|parent| Arc::try_unwrap(parent).ok()) {
            parent = canceler.parent.take();
            if let Some(above) = &parent {
                let _ = above.state.lock().children.remove(&canceler.id);
            }
        }
    }
}

/// Runs what has not been stopped.
fn start(call: &Call) {
    let f = call.lock().take();
    if let Some(f) = f {
        go(f);
    }
}

/// A function that runs when a context is over: made by [`Context::after_func`](super::Context::after_func).
pub struct AfterFunc {
    call: Arc<Call>,
    id: u64,
    canceler: Option<Weak<Canceler>>,
}

impl AfterFunc {
    pub(super) fn new(canceler: Option<&Arc<Canceler>>, f: Box<dyn FnOnce() + Send>) -> Self {
        let new = Self {
            call: Arc::new(Lock::new(Rank::Api, Some(f))),
            id: next_id(),
            canceler: canceler.map(Arc::downgrade),
        };
        if let Some(canceler) = canceler {
            let over = {
                let mut state = canceler.state.lock();
                if state.over.is_none() {
                    state.calls.insert(new.id, new.call.clone());
                }
                state.over.is_some()
            };
            if over {
                start(&new.call);
            }
        }
        new
    }

    /// Keeps the function from running. True if it does: it had not been started, nor stopped before.
    pub fn stop(&self) -> bool {
        let f = self.call.lock().take();
        if let Some(canceler) = self.canceler.as_ref().and_then(Weak::upgrade) {
            let _call = canceler.state.lock().calls.remove(&self.id);
        }
        f.is_some()
    }
}

impl fmt::Debug for AfterFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("AfterFunc { .. }")
    }
}
