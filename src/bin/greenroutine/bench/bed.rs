//! What a workload runs on: a fresh runtime in one mode, and the size of the work. Made by the runner, used by the workloads.

use std::fmt;
use std::io;

use greenroutine::Runtime;
use greenroutine::runtime::Builder;
use serde::{Deserialize, Serialize};

/// What `--quick` divides sizes by.
const QUICK: usize = 20;

/// Whether started goroutines may change workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    Home,
    Free,
}

impl Mode {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Free => "free",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// See the file's documentation.
pub(super) struct Bed {
    pub(super) mode: Mode,
    pub(super) quick: bool,
    pub(super) workers: Option<usize>,
    /// How many goroutines wait, for the drawing of memory over their number.
    pub(super) goroutines: Option<usize>,
}

impl Bed {
    /// A runtime with the defaults.
    pub(super) fn runtime(&self) -> io::Result<Runtime> {
        self.runtime_with(|builder| builder)
    }

    /// A runtime with settings of the workload's own.
    pub(super) fn runtime_with(&self, settings: impl FnOnce(Builder) -> Builder) -> io::Result<Runtime> {
        let mut builder = settings(Runtime::builder());
        if let Some(workers) = self.workers {
            builder = builder.workers(workers);
        }
        if self.mode == Mode::Free {
            builder = super::free::let_migrate(builder);
        }
        builder.build()
    }

    /// `full`, or a twentieth of it.
    pub(super) fn size(&self, full: usize) -> usize {
        if self.quick { full / QUICK } else { full }
    }
}
