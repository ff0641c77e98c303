//! Spawning: a cell, the closure in it, a queue. No stack yet, and on a worker no lock and no atomic read-modify-write.

use std::fmt;
use std::io;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::core::{Core, Runnable, count};
use super::worker::{self, Role, Worker};
use super::{ambient, config, park, seeded};
use crate::base::{fence as fences, meta, tell};
use crate::routine::scope::ScopeData;
use crate::routine::{Kind, Outcome, Task, TaskRef, body, place, slot};
use crate::stack::{StackError, arena, commit, geometry};
use crate::sys::OsError;

/// What a builder asks for.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<Box<str>>,
    pub(crate) stack_max: Option<usize>,
    pub(crate) dedicated: bool,
}

impl Options {
    fn is_plain(&self) -> bool {
        self.name.is_none() && self.stack_max.is_none() && !self.dedicated
    }
}

/// A spawn that failed. The closure has been dropped.
#[derive(Debug)]
pub(crate) enum SpawnError {
    /// The runtime is shut down.
    Closed(String),
    /// No stack.
    Stack(StackError),
    /// No memory for the cell.
    Os(OsError),
    /// The thread of a dedicated goroutine, the global runtime, or a value out of range.
    Io(io::Error),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::Closed(name) => {
                write!(f, "the runtime {name:?} is shut down: no goroutine can be spawned on it any more")
            }
            SpawnError::Stack(error) => write!(f, "cannot spawn a goroutine: {error}"),
            SpawnError::Os(error) => write!(f, "cannot spawn a goroutine: {error}"),
            SpawnError::Io(error) => write!(f, "cannot spawn a goroutine: {error}"),
        }
    }
}

impl std::error::Error for SpawnError {}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Closed(_) => io::Error::other(error),
            SpawnError::Stack(error) => error.into(),
            SpawnError::Os(error) => error.into(),
            SpawnError::Io(error) => error,
        }
    }
}

/// Spawns `f` on the runtime of the caller, or on `on`. The result belongs to the one handle that the caller makes of the returned task.
///
/// # Safety
///
/// - `F` and `T` may be sent to another thread.
/// - They outlive the goroutine: they are `'static`, or somebody waits for it before they end. `scope` outlives it likewise.
#[inline(always)]
pub(crate) unsafe fn spawn<F: FnOnce() -> T, T>(
    f: F,
    on: Option<&Arc<Core>>,
    scope: *const ScopeData,
    options: Options,
    site: &'static Location<'static>,
) -> Result<TaskRef, SpawnError> {
    let name = tell::name(options.name.as_deref());
    // SAFETY: our own contract.
    let spawned = unsafe { spawn_untold(f, on, scope, options, site) };
    if let Ok(task) = spawned {
        // The caller's handle is a reference of the cell, so this is its id still.
        tell::spawned(task.id.load(Ordering::Relaxed), name.as_deref(), site);
    }
    spawned
}

/// # Safety
///
/// - As [`spawn`].
#[inline(always)]
unsafe fn spawn_untold<F: FnOnce() -> T, T>(
    f: F,
    on: Option<&Arc<Core>>,
    scope: *const ScopeData,
    options: Options,
    site: &'static Location<'static>,
) -> Result<TaskRef, SpawnError> {
    let class = const { place::class_for::<F, T>() };
    if let Some(slot) = slot::current() {
        park::safepoint(slot);
        // SAFETY: we run on the slot; nothing suspends between here and the last use.
        let worker = unsafe { worker::of_slot(slot) };
        if options.is_plain() && worker.spawns_here(on) {
            let task = worker.new_task(class, site)?;
            task.set_scope(scope);
            // SAFETY: the cell is new and of this class; the rest is our contract.
            unsafe { place::put_closure(task, f) };
            return worker.launch(task);
        }
    }
    let core = match on {
        Some(core) => core.clone(),
        None => ambient::current_core().map_err(SpawnError::Io)?,
    };
    if options.dedicated && core.seeded.is_some() {
        return Err(SpawnError::Io(seeded::refused("a dedicated goroutine")));
    }
    let task = core.new_task(class, site, options.stack_max)?;
    task.set_scope(scope);
    if let Some(name) = options.name {
        // SAFETY: nobody else knows the cell yet.
        unsafe { (*task.extras_mut()).name = Some(name) };
    }
    // SAFETY: as above.
    unsafe { place::put_closure(task, f) };
    if options.dedicated { core.launch_dedicated(task) } else { core.launch(task) }
}

/// Sets a fresh cell up, all but closure and scope.
#[inline(always)]
fn init(task: TaskRef, core: &Core, class: usize, id: u64, site: &'static Location<'static>) {
    task.kind.set(Kind::Goroutine);
    task.class.set(class as u8);
    task.cancel.store(0, Ordering::Relaxed);
    task.token.store(0, Ordering::Relaxed);
    task.futex.store(0, Ordering::Relaxed);
    task.slot.store(ptr::null_mut(), Ordering::Relaxed);
    task.home.store(ptr::null_mut(), Ordering::Relaxed);
    task.runtime.store(ptr::from_ref(core).cast_mut().cast(), Ordering::Relaxed);
    task.id.store(id, Ordering::Relaxed);
    task.site.set(site);
    task.extras.store(ptr::null_mut(), Ordering::Relaxed);
    task.stack_max.set(core.config.stack_max as u32);
    task.more.set(0);
    task.hidden_panics.set(0);
    task.pins.set(0);
    task.outcome.set(Outcome::None);
    task.fresh.set(true);
    task.bound.store(false, Ordering::Relaxed);
    task.life.begin();
}

impl Worker {
    /// Whether a plain spawn for `on` goes to this worker's own queue.
    #[inline(always)]
    fn spawns_here(&self, on: Option<&Arc<Core>>) -> bool {
        self.shared.role != Role::Dedicated && on.is_none_or(|on| Arc::ptr_eq(on, &self.core))
    }

    /// A cell for a goroutine that this worker spawns.
    #[inline(always)]
    fn new_task(&self, class: usize, site: &'static Location<'static>) -> Result<TaskRef, SpawnError> {
        let unchecked = self.spawns_unchecked.get();
        if unchecked == 0 {
            self.check_stacks()?;
        } else {
            self.spawns_unchecked.set(unchecked - 1);
        }
        let (mut id, mut end) = self.ids.get();
        if id == end {
            id = self.core.fresh_ids(64);
            end = id + 64;
        }
        let block = self.cells.take(class).map_err(SpawnError::Os)?;
        self.ids.set((id + 1, end));
        let task = Task::from_block(block);
        init(task, &self.core, class, id, site);
        Ok(task)
    }

    #[cold]
    #[inline(never)]
    fn check_stacks(&self) -> Result<(), SpawnError> {
        if arena::check_free(self.core.stack_class).is_err() {
            // What waits in our own cache may be the last there is.
            self.stacks.flush();
            arena::check_free(self.core.stack_class).map_err(SpawnError::Stack)?;
        }
        self.spawns_unchecked.set(self.core.spawns_per_check - 1);
        Ok(())
    }

    /// Puts a new goroutine into the queue.
    #[inline(always)]
    fn launch(&self, task: TaskRef) -> Result<TaskRef, SpawnError> {
        count(&self.shared.counters.spawned);
        // Pairs with the heavy fence in `Core::close`: either it counts us, or we see that it closes.
        fences::light();
        if self.core.closing.load(Ordering::Relaxed) {
            count(&self.shared.counters.finished);
            self.core.after_finish();
            return Err(self.core.refuse_closed(task));
        }
        self.shared.fresh.push(task);
        self.backlog.set(self.backlog.get() + 1);
        self.work_pushed();
        Ok(task)
    }
}

impl Core {
    /// A cell for a goroutine spawned from outside, or with options. A stack of a size of its own is taken now.
    #[cold]
    #[inline(never)]
    fn new_task(
        &self,
        class: usize,
        site: &'static Location<'static>,
        stack_max: Option<usize>,
    ) -> Result<TaskRef, SpawnError> {
        let stack_max = match stack_max {
            Some(bytes) => {
                config::check_stack_max(bytes, "task::Builder::stack_max").map_err(SpawnError::Io)?
            }
            None => self.config.stack_max,
        };
        let stack_class = geometry::class_for(stack_max);
        let header = if stack_max == self.config.stack_max {
            arena::check_free(stack_class).map_err(SpawnError::Stack)?;
            None
        } else {
            Some(arena::take(stack_class).map_err(SpawnError::Stack)?)
        };
        let block = match meta::take_one(class) {
            Ok(block) => block,
            Err(error) => {
                if let Some(header) = header {
                    arena::give(header, self.guard_mode);
                }
                return Err(SpawnError::Os(error));
            }
        };
        let task = Task::from_block(block);
        init(task, self, class, self.fresh_ids(1), site);
        task.stack_max.set(stack_max as u32);
        if let Some(header) = header {
            commit::set_limit(header, stack_max, self.guard_mode);
            slot::Slot::of(header).custom.set(true);
            task.slot.store(ptr::from_ref(slot::Slot::of(header)).cast_mut(), Ordering::Relaxed);
        }
        Ok(task)
    }

    /// Puts a new goroutine where any worker finds it.
    #[cold]
    #[inline(never)]
    fn launch(&self, task: TaskRef) -> Result<TaskRef, SpawnError> {
        self.count_foreign(task)?;
        self.injector.push(Runnable::new(task));
        fence(Ordering::SeqCst);
        self.wake_for_work();
        Ok(task)
    }

    /// Starts a worker for a new goroutine alone.
    #[cold]
    #[inline(never)]
    fn launch_dedicated(self: &Arc<Self>, task: TaskRef) -> Result<TaskRef, SpawnError> {
        self.count_foreign(task)?;
        self.reap_threads();
        let shared = match self.start_worker(Role::Dedicated) {
            Ok(shared) => shared,
            Err(error) => {
                self.uncount_foreign();
                self.discard(task);
                return Err(SpawnError::Io(error));
            }
        };
        task.bound.store(true, Ordering::Relaxed);
        task.pins.set(1);
        task.home.store(Arc::as_ptr(&shared).cast_mut().cast(), Ordering::Relaxed);
        shared.inbox.push(task);
        worker::notify(&shared);
        Ok(task)
    }

    fn count_foreign(&self, task: TaskRef) -> Result<(), SpawnError> {
        self.foreign_spawned.fetch_add(1, Ordering::SeqCst);
        // As in `Worker::launch`, with SeqCst operations in place of the fences.
        if self.closing.load(Ordering::SeqCst) {
            self.uncount_foreign();
            self.return_stack(task);
            return Err(self.refuse_closed(task));
        }
        Ok(())
    }

    fn uncount_foreign(&self) {
        self.foreign_spawned.fetch_sub(1, Ordering::SeqCst);
        self.after_finish();
    }

    /// Gives back what `Core::new_task` took for the stack.
    fn return_stack(&self, task: TaskRef) {
        if let Some(slot) = task.slot() {
            slot.custom.set(false);
            arena::give(&slot.stack, self.guard_mode);
        }
    }

    fn discard(&self, task: TaskRef) {
        self.return_stack(task);
        self.drop_unstarted(task);
    }

    #[cold]
    fn refuse_closed(&self, task: TaskRef) -> SpawnError {
        self.drop_unstarted(task);
        SpawnError::Closed(self.config.name.clone())
    }

    /// Drops the closure and the cell of a goroutine that no queue has seen.
    fn drop_unstarted(&self, task: TaskRef) {
        // The cell goes even if the closure's destructor panics.
        struct Free(TaskRef);
        impl Drop for Free {
            fn drop(&mut self) {
                if self.0.life.abandon() {
                    body::end_cell(self.0);
                    meta::give_one(self.0.block(), self.0.class.get() as usize);
                }
            }
        }
        let _free = Free(task);
        // SAFETY: the goroutine is in no queue and has no handle, so the payload is ours, and it holds the closure.
        unsafe { place::drop_closure(task) };
    }
}
