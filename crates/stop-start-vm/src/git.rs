//! The change in the repository: one value in one file.

use std::time::Duration;

use gitops::{Change, File, Message, Remote};
use rand::RngExt as _;
use step::{Context, Done, Failure, Kind};
use vm::edit::power::Machine;

use crate::locate::{Located, Place};
use crate::{Args, COMMIT, PREVIOUS_RUN_STRATEGY, Power};

/// After the deadline an exchange under way may take this long to end by its own timeout.
const SLACK: Duration = Duration::from_secs(4);
/// The longest pause before the file is read again that somebody else changed meanwhile.
const AGAIN: Duration = Duration::from_millis(500);

/// So far back the stop is looked for whose start this is; the default is right for nearly every machine.
const STOPS: u16 = 1024;
/// So far back a request that was carried out before is looked for: runs again come soon.
const REQUESTS: u16 = 64;

/// The trailers by which a later start finds what a stop has changed.
const VIRTUAL_MACHINE: &str = "Virtual-Machine";
const FILE: &str = "File";
const PREVIOUS: &str = "Previous-Run-Strategy";
const REQUEST_ID: &str = "Request-Id";

/// A repository that declares what was asked for.
#[derive(Debug)]
pub(crate) struct Changed {
    /// The commit that declares it: ours, or the tip where nothing had to be changed.
    pub(crate) commit: String,
    /// The folder of the file.
    pub(crate) folder: String,
    pub(crate) done: Done,
}

/// Change the value, whatever else is pushed meanwhile, until the deadline.
pub(crate) async fn change(args: &Args, remote: Remote, context: &Context) -> Result<Changed, Failure> {
    let place = format!("branch `{}` at `{}`", remote.branch(), remote.host());
    let work = tokio::task::spawn_blocking({
        let (args, context) = (args.clone(), context.clone());
        move || Turn { args: &args, remote: &remote, context: &context }.turn()
    });
    tokio::select! {
        ended = work => ended.unwrap_or_else(|_| Err(Failure::new(Kind::Internal, "the push ended without a word"))),
        () = tokio::time::sleep(context.left() + SLACK) => {
            let what = format!("cannot tell whether the push to {place} was accepted: it still sends its answer");
            Err(Failure::new(Kind::Unknown, what).hint("run it again: what is done already is found and kept"))
        }
    }
}

struct Turn<'a> {
    args: &'a Args,
    remote: &'a Remote,
    context: &'a Context,
}

impl Turn<'_> {
    fn turn(&self) -> Result<Changed, Failure> {
        let place = Place::of(self.args)?;
        loop {
            match self.attempt(&place) {
                // the value is one and is ours to set, whatever else was changed in its file: read it again
                Err(failure) if failure.kind() == Kind::Conflict && !self.over() => {
                    tracing::info!("{}; reading it again", failure.message());
                    std::thread::sleep(AGAIN.mul_f64(rand::rng().random()).min(self.context.left()));
                }
                ended => return ended,
            }
        }
    }

    fn over(&self) -> bool {
        self.context.stopping() || self.context.left().is_zero()
    }

    fn attempt(&self, place: &Place) -> Result<Changed, Failure> {
        let (branch, host) = (self.remote.branch(), self.remote.host());
        let tip = self.remote.tip(self.context)?.ok_or_else(|| {
            Failure::new(Kind::Usage, format!("there is no branch `{branch}` at `{host}`"))
                .hint("`--branch` names the branch that Argo CD reads")
        })?;
        let vm = &self.args.change.vm;
        let machine = Machine { namespace: vm.namespace(), name: vm.name() };
        let located = place.locate(self.remote, &tip, machine)?;
        let declared = located.power.declared().strategy().to_owned();
        self.context.result(PREVIOUS_RUN_STRATEGY, &declared);
        if declared == "Manual" {
            let what = format!(
                "`{}` declares run strategy `Manual`: Git does not own the power of `{vm}`",
                located.file
            );
            return Err(
                Failure::new(Kind::Refused, what).hint("use `--via api`, or declare another run strategy")
            );
        }
        let text = if self.args.power == Power::Off {
            located.power.off()
        } else {
            let before = if located.power.declared().is_off() { self.before(&located, &tip)? } else { None };
            located.power.on(before.as_deref())
        };
        let text = text.map_err(|fault| {
            let what = format!("cannot change the power in `{}`: {fault}", located.file);
            fault.way_out().into_iter().fold(Failure::new(Kind::Refused, what), Failure::hint)
        })?;
        let folder = located.file.as_str().rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let Some(text) = text else {
            self.context.result(COMMIT, &tip);
            let done = Done::new(format!(
                "nothing to do, `{vm}` is declared {declared} already in `{}` on branch `{branch}` at `{host}`",
                located.file
            ));
            return Ok(Changed { commit: tip, folder, done });
        };
        self.not_superseded(&located, &tip)?;
        let pushed = self.remote.push(&self.commit(&located, &tip, &declared, text)?, self.context)?;
        self.context.result(COMMIT, &pushed.commit);
        if pushed.changed {
            self.context.result(step::CHANGED, "true");
        }
        let done = Done::new(format!(
            "{} vm `{vm}` by commit `{}` on branch `{branch}` at `{host}`",
            if self.args.power == Power::Off { "stopped" } else { "started" },
            pushed.commit
        ));
        Ok(Changed { commit: pushed.commit, folder, done })
    }

    fn commit(&self, located: &Located, tip: &str, declared: &str, text: String) -> Result<Change, Failure> {
        let vm = self.args.change.vm.to_string();
        let verb = self.verb();
        let mut trailers = Vec::new();
        let given = [
            (REQUEST_ID, self.args.request_id.as_deref()),
            ("Requested-By", self.args.requested_by.as_deref()),
            ("Reason", self.args.reason.as_deref()),
        ];
        trailers.extend(given.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
        trailers.extend([
            ("Operation", verb),
            (VIRTUAL_MACHINE, vm.as_str()),
            (FILE, located.file.as_str()),
            (PREVIOUS, declared),
        ]);
        Ok(Change {
            files: vec![File { path: located.file.clone(), bytes: text.into_bytes() }],
            remove: Vec::new(),
            unchanged: Vec::new(),
            keep: Vec::new(),
            marker: None,
            base: Some(tip.to_owned()),
            message: Message::new(&format!("{verb} vm {vm}"), &trailers)?,
            time: None,
        })
    }

    const fn verb(&self) -> &'static str {
        match self.args.power {
            Power::Off => "stop",
            _ => "start",
        }
    }

    /// The strategy that the newest stop of this machine in this file put an end to, if that was not long ago.
    fn before(&self, located: &Located, tip: &str) -> Result<Option<String>, Failure> {
        let (vm, file) = (self.args.change.vm.to_string(), located.file.to_string());
        let is_ours = |message: &str| {
            trailer(message, VIRTUAL_MACHINE) == Some(&vm)
                && trailer(message, FILE) == Some(&file)
                && trailer(message, "Operation") == Some("stop")
        };
        let found = self.remote.last_message(tip, STOPS, is_ours, self.context)?;
        let before = found.and_then(|(_, message)| trailer(&message, PREVIOUS).map(str::to_owned));
        // a machine that only the API starts would not be on
        Ok(before.filter(|strategy| strategy != "Manual"))
    }

    /// A request that was carried out before and is not in force any more was undone by a later one.
    fn not_superseded(&self, located: &Located, tip: &str) -> Result<(), Failure> {
        let Some(id) = &self.args.request_id else { return Ok(()) };
        let (vm, file, verb) = (self.args.change.vm.to_string(), located.file.to_string(), self.verb());
        let is_ours = |message: &str| {
            trailer(message, REQUEST_ID) == Some(id)
                && trailer(message, VIRTUAL_MACHINE) == Some(&vm)
                && trailer(message, FILE) == Some(&file)
                && trailer(message, "Operation") == Some(verb)
        };
        match self.remote.last_message(tip, REQUESTS, is_ours, self.context)? {
            None => Ok(()),
            Some((commit, _)) => {
                let what = format!(
                    "commit `{commit}` made this change on branch `{}` at `{}`, and a later one replaced it",
                    self.remote.branch(),
                    self.remote.host()
                );
                Err(Failure::new(Kind::Superseded, what).hint("a new request needs a request id of its own"))
            }
        }
    }
}

/// The value of a trailer in the last paragraph of a commit message, as [`Message`] writes it.
fn trailer<'m>(message: &'m str, name: &str) -> Option<&'m str> {
    let (_, trailers) = message.trim_end().rsplit_once("\n\n")?;
    trailers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[cfg(test)]
mod tests {
    use super::trailer;

    #[test]
    fn trailers_are_in_the_last_paragraph() {
        let message = "stop vm a/b\n\nFile: x\n\nOperation: stop\nFile: vms/b.yaml\n";
        assert_eq!(trailer(message, "File"), Some("vms/b.yaml"));
        assert_eq!(trailer(message, "Operation"), Some("stop"));
        assert_eq!(trailer(message, "Op"), None);
        assert_eq!(trailer("File: x\n", "File"), None);
    }
}
