//! One worker's timers: a 4-ary heap of deadlines. It knows no clock and wakes nobody: [`Timers::expire`] hands back what
//! is due and the scheduler does the rest.
//!
//! A 4-ary heap is Go's choice (and LaMarca and Ladner's, 1996): half the depth of a binary one, and the four children
//! share a cache line. Entries are addressed through a slab, so cancelling takes the entry out at once and no pointer into
//! anybody's frame is kept.

#![forbid(unsafe_code)]

/// Names an armed timer; stale once it expired or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId {
    slot: u32,
    generation: u32,
}

struct Entry {
    deadline: u64,
    /// Orders equal deadlines as they were armed.
    sequence: u64,
    slot: u32,
}

impl Entry {
    fn key(&self) -> (u64, u64) {
        (self.deadline, self.sequence)
    }
}

struct Slot<P> {
    generation: u32,
    /// Position in the heap while armed.
    position: u32,
    /// `Some` exactly while armed.
    payload: Option<P>,
}

/// The heap. `heap[i].slot` and `slots[s].position` are inverse to each other for armed timers.
pub(crate) struct Timers<P> {
    heap: Vec<Entry>,
    slots: Vec<Slot<P>>,
    free: Vec<u32>,
    sequence: u64,
}

const ARITY: usize = 4;

impl<P> Timers<P> {
    /// No timers.
    pub(crate) const fn new() -> Self {
        Self { heap: Vec::new(), slots: Vec::new(), free: Vec::new(), sequence: 0 }
    }

    /// The earliest deadline, or [`u64::MAX`].
    pub(crate) fn next_deadline(&self) -> u64 {
        self.heap.first().map_or(u64::MAX, |entry| entry.deadline)
    }

    /// How many are armed.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Arms a timer.
    pub(crate) fn arm(&mut self, deadline: u64, payload: P) -> TimerId {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot { generation: 0, position: 0, payload: None });
                (self.slots.len() - 1) as u32
            }
        };
        self.slots[slot as usize].payload = Some(payload);
        let sequence = self.sequence;
        self.sequence += 1;
        self.heap.push(Entry { deadline, sequence, slot });
        self.up(self.heap.len() - 1);
        TimerId { slot, generation: self.slots[slot as usize].generation }
    }

    /// Disarms a timer; `None` if it expired or was cancelled before.
    pub(crate) fn cancel(&mut self, id: TimerId) -> Option<P> {
        let slot = self.slots.get(id.slot as usize)?;
        if slot.generation != id.generation || slot.payload.is_none() {
            return None;
        }
        let position = slot.position as usize;
        Some(self.remove(position))
    }

    /// Takes the next timer whose deadline is at or before `now`.
    pub(crate) fn expire(&mut self, now: u64) -> Option<P> {
        if self.next_deadline() > now {
            return None;
        }
        Some(self.remove(0))
    }

    fn remove(&mut self, position: usize) -> P {
        let entry = self.heap.swap_remove(position);
        if position < self.heap.len() {
            self.up(position);
            let moved = self.slots[self.heap[position].slot as usize].position as usize;
            self.down(moved.max(position));
        }
        let slot = &mut self.slots[entry.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(entry.slot);
        slot.payload.take().expect("an entry of the heap is armed")
    }

    /// Restores the order from `at` towards the root, and the positions on the way.
    fn up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / ARITY;
            if self.heap[parent].key() <= self.heap[at].key() {
                break;
            }
            self.heap.swap(parent, at);
            self.place(at);
            at = parent;
        }
        self.place(at);
    }

    /// Restores the order from `at` towards the leaves, and the positions on the way.
    fn down(&mut self, mut at: usize) {
        loop {
            let first = at * ARITY + 1;
            let last = (first + ARITY).min(self.heap.len());
            let Some(least) = (first..last).min_by_key(|child| self.heap[*child].key()) else { break };
            if self.heap[at].key() <= self.heap[least].key() {
                break;
            }
            self.heap.swap(at, least);
            self.place(at);
            at = least;
        }
        self.place(at);
    }

    fn place(&mut self, at: usize) {
        if let Some(entry) = self.heap.get(at) {
            self.slots[entry.slot as usize].position = at as u32;
        }
    }

    /// The invariant of the type, for tests.
    #[cfg(test)]
    fn check(&self) {
        for (position, entry) in self.heap.iter().enumerate() {
            assert_eq!(self.slots[entry.slot as usize].position as usize, position);
            assert!(self.slots[entry.slot as usize].payload.is_some());
            if position > 0 {
                assert!(self.heap[(position - 1) / ARITY].key() <= entry.key());
            }
        }
        assert_eq!(self.heap.len() + self.free.len(), self.slots.len());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Arm(u64),
        Cancel(usize),
        Expire(u64),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            (0..50_u64).prop_map(Op::Arm),
            any::<usize>().prop_map(Op::Cancel),
            (0..60_u64).prop_map(Op::Expire),
        ];
        proptest::collection::vec(op, 0..200)
    }

    proptest! {
        // Against the naive model: a list sorted by (deadline, order of arming).
        #[test]
        fn behaves_like_a_sorted_list(ops in ops()) {
            let mut timers = Timers::new();
            let mut model: Vec<(u64, u64)> = Vec::new();
            let mut ids: Vec<(TimerId, u64)> = Vec::new();
            for (n, op) in ops.into_iter().enumerate() {
                let n = n as u64;
                match op {
                    Op::Arm(deadline) => {
                        ids.push((timers.arm(deadline, n), n));
                        model.push((deadline, n));
                        model.sort_unstable();
                    }
                    Op::Cancel(which) if !ids.is_empty() => {
                        let (id, payload) = ids[which % ids.len()];
                        let armed = model.iter().position(|(_, p)| *p == payload);
                        prop_assert_eq!(timers.cancel(id), armed.map(|at| model.remove(at).1));
                    }
                    Op::Cancel(_) => {}
                    Op::Expire(now) => {
                        let due = model.first().filter(|(deadline, _)| *deadline <= now).copied();
                        prop_assert_eq!(timers.expire(now), due.map(|(_, payload)| payload));
                        if due.is_some() {
                            model.remove(0);
                        }
                    }
                }
                timers.check();
                prop_assert_eq!(timers.len(), model.len());
                prop_assert_eq!(timers.next_deadline(), model.first().map_or(u64::MAX, |(d, _)| *d));
            }
        }
    }
}
