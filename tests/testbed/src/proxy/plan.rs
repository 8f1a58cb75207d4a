//! What is to happen, in line or by lot.

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// What happens to one connection, whatever the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server is reached this much later.
    Late(Duration),
    /// It ends after so many bytes.
    Cut(After, Ending),
    /// What the server sends arrives, one byte a second.
    Drip,
}

/// Bytes that are carried before a connection ends; after 0 of them it ends before anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// From the client to the server.
    Up(u64),
    /// From the server to the client.
    Down(u64),
}

/// How the client sees a connection end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Closed. (Where the client still sends, its kernel makes a reset of that.)
    Close,
    /// Reset.
    Reset,
    /// Nothing is carried any more, and nobody closes it.
    Silence,
}

/// How the answer to a push is lost that the server has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The connection is reset.
    Reset,
    /// The connection is closed.
    Close,
    /// The first bytes of the answer arrive, then the connection is reset.
    PartReset,
    /// The first bytes of the answer arrive, then the connection is closed.
    PartClose,
    /// The server's Git is killed before it writes its report: over SSH the channel is closed without one, over HTTP the answer
    /// is empty.
    Killed,
    /// Nothing ever arrives, and nobody closes the connection.
    Silence,
}

impl Loss {
    /// Every way.
    pub const ALL: [Self; 6] =
        [Self::Reset, Self::Close, Self::PartReset, Self::PartClose, Self::Killed, Self::Silence];

    /// How many bytes of the answer arrive, and how the connection ends then; `None` where it is the server that ends.
    ///
    /// A part is 16 bytes: less than HTTP's status line, and less than SSH's smallest packet with its authentication code.
    pub(super) const fn cut(self) -> Option<(u64, Ending)> {
        match self {
            Self::Reset => Some((0, Ending::Reset)),
            Self::Close => Some((0, Ending::Close)),
            Self::PartReset => Some((16, Ending::Reset)),
            Self::PartClose => Some((16, Ending::Close)),
            Self::Silence => Some((0, Ending::Silence)),
            Self::Killed => None,
        }
    }
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Met {
    /// Connections.
    pub connections: u64,
    /// Connections that met a fault.
    pub faults: u64,
    /// Accepted pushes whose answer was lost.
    pub losses: u64,
}

/// What is drawn by lot.
#[derive(Debug)]
pub struct Chances {
    random: StdRng,
    faults: f64,
    losses: f64,
    silence: f64,
}

impl Chances {
    /// This share of all connections meets a fault and of all accepted pushes loses its answer (0 to 1); of what ends, this
    /// share in silence, which takes the client a minute. The same seed draws the same lots.
    pub fn new(seed: u64, faults: f64, losses: f64, silence: f64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), faults, losses, silence }
    }

    fn ending(&mut self) -> Ending {
        if self.random.random_bool(self.silence) {
            return Ending::Silence;
        }
        if self.random.random() { Ending::Close } else { Ending::Reset }
    }

    fn fault(&mut self) -> Option<Fault> {
        if !self.random.random_bool(self.faults) {
            return None;
        }
        // an exchange of Git is some thousand bytes; what is cut behind its end is not cut
        let bytes = self.random.random_range(0..4000);
        Some(match self.random.random_range(0..5) {
            0 => Fault::Late(Duration::from_millis(bytes)),
            1 | 2 => Fault::Cut(After::Up(bytes), self.ending()),
            _ => Fault::Cut(After::Down(bytes), self.ending()),
        })
    }

    fn loss(&mut self) -> Option<Loss> {
        if !self.random.random_bool(self.losses) {
            return None;
        }
        if self.random.random_bool(self.silence) {
            return Some(Loss::Silence);
        }
        let quick: Vec<_> = Loss::ALL.into_iter().filter(|loss| *loss != Loss::Silence).collect();
        quick.choose(&mut self.random).copied()
    }
}

/// What happens next.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) faults: VecDeque<Option<Fault>>,
    pub(super) losses: VecDeque<Loss>,
    pub(super) chances: Option<Chances>,
    pub(super) met: Met,
}

impl Plan {
    pub(super) fn next_fault(&mut self) -> Option<Fault> {
        let drawn = || self.chances.as_mut().and_then(Chances::fault);
        let fault = self.faults.pop_front().unwrap_or_else(drawn);
        self.met.connections += 1;
        self.met.faults += u64::from(fault.is_some());
        fault
    }

    pub(super) fn next_loss(&mut self) -> Option<Loss> {
        self.losses.pop_front().or_else(|| self.chances.as_mut().and_then(Chances::loss))
    }
}
