//! What runs in a round: drawn from the seed alone.

use std::fmt;
use std::io;

#[cfg(feature = "gc")]
use super::collect;
use super::{Tally, faults, loads};

/// SplitMix64.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// One kind of load: `size` from 1 to 10, and a seed of its own. The error says which invariant did not hold.
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) run: fn(u64, u64, &Tally) -> Result<(), String>,
}

const LOADS: &[Load] = &[
    Load { name: "mpmc", run: loads::mpmc },
    Load { name: "rendezvous", run: loads::rendezvous },
    Load { name: "select", run: loads::select },
    Load { name: "pipeline", run: loads::pipeline },
    Load { name: "locks", run: loads::locks },
    Load { name: "semaphore", run: loads::semaphore },
    Load { name: "condvar", run: loads::condvar },
    Load { name: "groups", run: loads::groups },
    Load { name: "tree", run: loads::tree },
    Load { name: "timers", run: loads::timers },
    Load { name: "timeouts", run: loads::timeouts },
    Load { name: "contexts", run: loads::contexts },
    Load { name: "parking", run: loads::parking },
    Load { name: "blocking", run: loads::blocking },
    Load { name: "stacks", run: loads::stacks },
    Load { name: "sockets", run: loads::sockets },
    Load { name: "futures", run: loads::futures },
    Load { name: "watching", run: loads::watching },
    Load { name: "panics", run: faults::panics },
    Load { name: "cancels", run: faults::cancels },
    Load { name: "refusals", run: faults::refusals },
    Load { name: "slow", run: faults::slow },
    Load { name: "stops", run: faults::stops },
    #[cfg(feature = "gc")]
    Load { name: "gc-graph", run: collect::graph },
    #[cfg(feature = "gc")]
    Load { name: "gc-destructors", run: collect::destructors },
    #[cfg(feature = "gc")]
    Load { name: "gc-weak", run: collect::weak },
    #[cfg(feature = "gc")]
    Load { name: "gc-collections", run: collect::collections },
    #[cfg(feature = "gc")]
    Load { name: "gc-pool", run: collect::pool },
    #[cfg(feature = "gc")]
    Load { name: "gc-leaks", run: collect::leaks },
    #[cfg(feature = "gc")]
    Load { name: "gc-knobs", run: collect::knobs },
];

/// One load of a round.
pub(super) struct Part {
    pub(super) load: &'static Load,
    pub(super) size: u64,
    pub(super) seed: u64,
}

/// One round.
pub(super) struct Plan {
    pub(super) parts: Vec<Part>,
}

impl Plan {
    /// The next round: two to six loads.
    pub(super) fn draw(rng: &mut Rng, only: &[String]) -> Self {
        let may = |load: &&Load| only.is_empty() || only.iter().any(|name| name == load.name);
        let loads: Vec<&'static Load> = LOADS.iter().filter(may).collect();
        let parts = (0..2 + rng.below(5))
            .map(|_| Part {
                load: loads[rng.below(loads.len() as u64) as usize],
                size: 1 + rng.below(10),
                seed: rng.next(),
            })
            .collect();
        Self { parts }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.parts.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", part.load.name, part.size)?;
        }
        Ok(())
    }
}

/// Whether these are names of loads.
pub(super) fn check(names: &[String]) -> io::Result<()> {
    match names.iter().find(|name| LOADS.iter().all(|load| load.name != **name)) {
        None => Ok(()),
        Some(name) => {
            let all: Vec<_> = LOADS.iter().map(|load| load.name).collect();
            let text = format!("no load is called {name:?}; there are {}", all.join(", "));
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}
