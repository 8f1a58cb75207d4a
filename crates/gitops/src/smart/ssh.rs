//! One request to a server over SSH, and its answer.

use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};

use super::{Failed, Service};
use crate::address::Way;
use crate::exchange::Link;
use crate::ssh::Login;
use crate::trouble::Trouble;
use crate::wire::advert;
use crate::wire::ssh::{Conversation, Place, Shell};
use crate::wire::stream::Patience;
use crate::wire::{Error, old};

/// What ends a conversation is four bytes: they are given no longer.
const GOODBYE: Duration = Duration::from_secs(1);

/// A login, and the command that runs there.
#[derive(Debug, Default)]
pub(super) struct State {
    shell: Option<Shell>,
    running: Option<(Service, Conversation)>,
}

impl State {
    /// What runs is not asked any more.
    pub(super) fn hang_up(&mut self, patience: Patience) {
        if let Some((_, mut running)) = self.running.take() {
            running.allow(patience.at_most(GOODBYE));
            // it may have ended already
            let _ = running.send(old::GOODBYE);
        }
    }
}

impl Link {
    /// One request, or none before a command's first words, and its answer, which `read` takes from the connection.
    pub(super) fn talk<T>(
        &self,
        login: &Login,
        service: Service,
        body: Option<&[u8]>,
        until: Instant,
        read: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
    ) -> Result<T, Failed> {
        let patience = service.patience(until);
        let kept = {
            let mut state = self.smart.ssh.borrow_mut();
            let kept = state.running.take_if(|(of, _)| body.is_some() && *of == service);
            state.hang_up(patience);
            kept
        };
        let (mut running, greeted) = match kept {
            Some((_, running)) => (running, true),
            None => (self.run(login, service, patience)?, false),
        };
        running.allow(patience);
        let greeting = match (body, greeted) {
            // of a fetch, which says nothing new; a push has just read the first words of its command
            (Some(_), false) => advert::fetches(&mut running, &self.reference()).map(drop),
            _ => Ok(()),
        };
        let result = greeting.and_then(|()| match body.map(|body| running.send(body)) {
            Some(Err(error)) if error.kind() == ErrorKind::TimedOut => Err(error.into()),
            // a server may answer before it has heard everything, and then hear no more
            _ => read(&mut running),
        });
        match result {
            Ok(result) => {
                // a command is for one push, and in version 0 for one pack
                let goes_on = service == Service::Fetch && !self.smart.is_old();
                if body.is_none() || goes_on {
                    self.smart.ssh.borrow_mut().running = Some((service, running));
                }
                Ok(result)
            }
            Err(error) => Err(self.broken(running, error, body.is_none())),
        }
    }

    /// Begin a command.
    fn run(&self, login: &Login, service: Service, patience: Patience) -> Result<Conversation, Failed> {
        let before = |trouble| Failed::Trouble { trouble, sent: false };
        let command = format!("{} '{}'", service.name(), self.address.argument());
        let variable = (service == Service::Fetch).then_some(("GIT_PROTOCOL", "version=2"));
        let kept = self.smart.ssh.borrow_mut().shell.take();
        let mut used = kept.is_some();
        let mut shell = kept.map_or_else(|| self.log_in(login, patience), Ok).map_err(before)?;
        loop {
            match shell.run(&command, variable, patience) {
                Ok(running) => {
                    self.smart.ssh.borrow_mut().shell = Some(shell);
                    return Ok(running);
                }
                // a server closes a connection that was idle for a while
                Err(error) if used && error.kind() != ErrorKind::TimedOut => {
                    used = false;
                    shell = self.log_in(login, patience).map_err(before)?;
                }
                Err(error) => return Err(before(Trouble::of_answer(&error.into(), &self.secrets))),
            }
        }
    }

    fn log_in(&self, login: &Login, patience: Patience) -> Result<Shell, Trouble> {
        let Way::Ssh(user) = self.address.way() else { return Err(Trouble::redirected()) };
        let place = Place { name: self.address.name(), port: self.address.port(), user };
        Shell::open(place, login, patience)
    }

    /// An answer is none: what the command has said besides tells why, if it has ended. Its first words may be a refusal.
    fn broken(&self, mut running: Conversation, error: Error, first: bool) -> Failed {
        let ended = matches!(&error, Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof);
        let complaint = if ended { running.complaint() } else { String::new() };
        drop(running);
        if matches!(error, Error::Io(_)) && complaint.is_empty() {
            // it may be the connection's end as well
            self.smart.ssh.borrow_mut().shell = None;
        }
        Failed::Answer(match complaint {
            said if said.is_empty() => error,
            said if first => Error::Said(said),
            // it has not refused what was asked, it broke off
            said => Error::Io(io::Error::other(format!("the server says: {said}"))),
        })
    }
}
