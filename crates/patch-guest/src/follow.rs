//! The profile is begun in the guest, unless it was, and followed to its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use step::{CHANGED, Context, Done, Failure, Kind, human};

use crate::guest::{Guest, Target, Trouble};
use crate::remote::{Answer, Commands, State};
use crate::wanted::Wanted;
use crate::{Args, EXIT_STATUS, IP, REASON, address};

/// The pause between two looks, at first and at most.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);
/// Between making its folder and telling who it is, a process has a write to a disk to do.
const BEGINS: Duration = Duration::from_mins(1);
/// The thread that follows is given this long to end by itself at the deadline.
const SLACK: Duration = Duration::from_secs(2);

/// Patch the guest, once.
pub(crate) async fn patch(args: &Args, wanted: Wanted, context: Context) -> Result<Done, Failure> {
    let missing =
        |flag: &str| Failure::new(Kind::Usage, format!("`--action patch` is given without `{flag}`"));
    let folder = args.ssh_directory.as_deref().ok_or_else(|| missing("--ssh-directory"))?;
    let user = args.user.as_ref().ok_or_else(|| missing("--user"))?;
    let address = address::read(&args.address_file, &wanted)?;
    context.result(IP, address.to_string());
    let target = Target::new(&wanted.vm, address, args.port, user.to_string(), folder)?;
    let commands = Commands::new(
        args.becomes,
        &wanted.request_id,
        &args.state_directory,
        wanted.script.len(),
        &wanted.digest,
    );
    let work = Arc::new(Work {
        target,
        commands,
        wanted,
        context: context.clone(),
        progress: Mutex::new(Progress::Nothing(String::new())),
    });
    let thread = Arc::clone(&work);
    // libssh2 waits in the thread that asks it
    let followed = tokio::task::spawn_blocking(move || thread.follow());
    tokio::select! {
        ended = followed => ended.unwrap_or_else(|e| Err(Failure::new(Kind::Internal, e.to_string()))),
        () = context.stopped() => Err(work.unfinished()),
        () = tokio::time::sleep(context.left() + SLACK) => Err(work.unfinished()),
    }
}

/// What is known to have happened.
#[derive(Debug, Clone)]
enum Progress {
    /// Nothing, and why.
    Nothing(String),
    /// The profile was sent, and nobody said that it begins.
    Sent,
    /// It was seen to be at work.
    Begun,
}

struct Work {
    target: Target,
    commands: Commands,
    wanted: Wanted,
    context: Context,
    progress: Mutex<Progress>,
}

impl Work {
    fn follow(&self) -> Result<Done, Failure> {
        let mut guest = None;
        let mut pause = SHORTEST;
        let mut starting: Option<Instant> = None;
        let mut begun_here = false;
        let mut said = String::new();
        loop {
            if self.context.stopping() || self.context.left().is_zero() {
                return Err(self.unfinished());
            }
            match self.turn(&mut guest, &mut begun_here) {
                Ok(answer) => {
                    if answer.state != State::Starting {
                        starting = None;
                    }
                    match answer.state {
                        State::Starting if starting.get_or_insert_with(Instant::now).elapsed() > BEGINS => {
                            return self.lost("Gone", "it was ended while it began", &answer);
                        }
                        State::None | State::Cut | State::Starting => {}
                        State::Running => self.progress(Progress::Begun),
                        State::Done(status) => return self.done(status, begun_here, &answer),
                        State::Rebooted => {
                            return self.lost(
                                "Rebooted",
                                "the guest was started anew in the midst of it",
                                &answer,
                            );
                        }
                        State::Gone => {
                            return self.lost("Gone", "its process was ended in the midst of it", &answer);
                        }
                        State::Cannot => {
                            let what = format!("the guest cannot keep what is done: {}", answer.last());
                            return Err(Failure::new(Kind::Failed, what).hint(
                                "`--state-directory` is a folder of the guest that the user may make",
                            ));
                        }
                    }
                }
                Err(Trouble::Never(failure)) => {
                    let denied = failure.kind() == Kind::Permission;
                    self.context.result(REASON, if denied { "Denied" } else { "Refused" });
                    return Err(failure);
                }
                Err(Trouble::Again(why)) => {
                    guest = None;
                    if why != said {
                        tracing::info!("waiting: {why}");
                        said.clone_from(&why);
                    }
                    self.because(why);
                }
            }
            std::thread::sleep(pause.min(self.context.left()));
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// One look, and the beginning of it where there was none.
    fn turn(&self, guest: &mut Option<Guest>, begun_here: &mut bool) -> Result<Answer, Trouble> {
        let guest = match guest {
            Some(guest) => guest,
            None => guest.insert(Guest::connect(&self.target)?),
        };
        let mut answer = guest.ask(&self.commands.look, b"")?;
        if answer.state == State::None {
            if self.context.stopping() {
                return Ok(answer);
            }
            self.progress(Progress::Sent);
            *begun_here = true;
            self.context.result(CHANGED, "true");
            answer = guest.ask(&self.commands.start, &self.wanted.script)?;
        }
        if !answer.digest.is_empty() && answer.digest != self.wanted.digest {
            let what =
                format!("another request `{}` was begun in `{}`", self.wanted.request_id, self.wanted.vm);
            return Err(Trouble::Never(
                Failure::new(Kind::Conflict, what).hint("give each request an id of its own"),
            ));
        }
        Ok(answer)
    }

    fn done(&self, status: i32, here: bool, answer: &Answer) -> Result<Done, Failure> {
        self.context.result(EXIT_STATUS, status.to_string());
        show(answer);
        let Wanted { profile, vm, .. } = &self.wanted;
        let tail = if answer.last().is_empty() { String::new() } else { format!(": {}", answer.last()) };
        if status == 0 {
            let by = if here { "" } else { ", begun by an earlier run of this request" };
            return Ok(Done::new(format!("profile `{profile}` was run in the guest of `{vm}`{by}{tail}")));
        }
        self.context.result(REASON, "ProfileFailed");
        let what =
            format!("profile `{profile}` failed in the guest of `{vm}` with exit status {status}{tail}");
        Err(self.with_way_back(Failure::new(Kind::Failed, what)))
    }

    fn lost(&self, reason: &'static str, why: &str, answer: &Answer) -> Result<Done, Failure> {
        self.context.result(REASON, reason);
        show(answer);
        let Wanted { profile, vm, .. } = &self.wanted;
        let what = format!("profile `{profile}` did not come to its end in the guest of `{vm}`: {why}");
        Err(self.with_way_back(Failure::new(Kind::Failed, what)))
    }

    /// The machine may not be stopped, so nothing is taken back by itself.
    fn with_way_back(&self, failure: Failure) -> Failure {
        failure.hint(format!(
            "it runs on as it is; snapshot `{}` is the way back: request `restore` of it",
            self.wanted.snapshot
        ))
    }

    fn progress(&self, now: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    fn because(&self, why: String) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if let Progress::Nothing(because) = &mut *progress {
            *because = why;
        }
    }

    /// What is to be said when there is no more time.
    fn unfinished(&self) -> Failure {
        let Wanted { profile, vm, .. } = &self.wanted;
        let after = human(self.context.timeout());
        let follow = "run the same request again: it follows what runs and never begins it twice";
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match progress {
            Progress::Nothing(why) if why.is_empty() => {
                Failure::new(Kind::Transient, format!("cannot reach the SSH server at {}", self.target.at()))
            }
            Progress::Nothing(why) => Failure::new(Kind::Transient, why),
            Progress::Sent => {
                self.context.result(REASON, "Unknown");
                let what = format!(
                    "profile `{profile}` may have begun in the guest of `{vm}`, which does not answer"
                );
                Failure::new(Kind::Unknown, what).hint(follow)
            }
            Progress::Begun => {
                self.context.result(REASON, "Running");
                let what = format!(
                    "profile `{profile}` still runs in the guest of `{vm}` and goes on (after {after})"
                );
                Failure::new(Kind::Timeout, what).hint(follow)
            }
        }
    }
}

/// The last of what it printed.
fn show(answer: &Answer) {
    for line in &answer.lines {
        tracing::info!("guest: {line}");
    }
}
