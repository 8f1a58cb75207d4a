//! A change that people look at before it is on the branch.
//!
//! The order makes every run the same whatever the one before it came to: first what the forge has of this request, then what the
//! branch holds, then the branch of its own, then the pull request, then the wait. Each of them finds what is there.

use std::time::{Duration, Instant};

use clap::ArgAction;
use forge::{ForgeArgs, PullRequest, Session, State, Wanted, body};
use gitops::{Change, Edit, Proposal, Remote};
use step::{Context, Done, Failure, Kind};

use crate::diff;
use crate::request::Request;
use crate::{BRANCH, COMMIT, PULL_REQUEST, SLACK};

/// A large forge may say that it has merged before each of its Git servers shows it.
const LAG: Duration = Duration::from_secs(10);
/// How often it is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(500);

/// How a commit comes to be on the branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// By a push.
    Push,
    /// By somebody who merges a pull request.
    PullRequest,
}

/// The flags of pull requests.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Forge")]
pub struct PullRequestArgs {
    /// How the commit comes to be on the branch: `push`, or `pull-request`, which opens one from `vm-request/<request id>` or finds the open one
    #[arg(long, value_enum, default_value_t = Mode::Push, value_name = "MODE", hide_possible_values = true)]
    pub mode: Mode,
    /// Wait until the pull request is merged; closed instead, it is `refused`
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub wait_merged: bool,
    /// Labels for the pull request, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// Who is asked to review it, separated by commas: user names, `organisation/team` on GitHub and Gitea, ids on Bitbucket and Azure DevOps
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub reviewers: Vec<String>,
    /// Which forge
    #[command(flatten)]
    pub forge: ForgeArgs,
}

/// What is said of the request to who looks at it.
#[derive(Debug)]
pub(crate) struct About {
    /// The branch of its own.
    head: String,
    title: String,
    lines: Vec<(&'static str, String)>,
}

impl About {
    pub(crate) fn of(request: Option<&Request>, title: &str) -> Result<Self, Failure> {
        let request = request.ok_or_else(|| {
            let what =
                "a pull request needs a request, whose id names its branch: there is none in the source";
            Failure::new(Kind::Usage, what).hint("`--mode=pull-request` is for what `render-vm` wrote")
        })?;
        let lines = request.trailers().into_iter().map(|(name, value)| (name, value.to_owned()));
        Ok(Self { head: request.branch(), title: title.to_owned(), lines: lines.collect() })
    }
}

/// Everything that a run in this mode has.
pub(crate) struct Work<'a> {
    pub(crate) args: &'a PullRequestArgs,
    pub(crate) session: &'a Session,
    pub(crate) about: About,
    pub(crate) context: &'a Context,
}

impl Work<'_> {
    /// Propose it, and wait until it is merged; `witness` reads the branch then.
    pub(crate) async fn run(self, remote: Remote, witness: Remote, change: Change) -> Result<Done, Failure> {
        let (context, session, base) = (self.context, self.session, remote.branch().to_owned());
        let head = self.about.head.clone();
        let mut wanted = Wanted {
            head: head.clone(),
            base: base.clone(),
            title: self.about.title.clone(),
            body: String::new(),
            labels: self.args.labels.clone(),
            reviewers: self.args.reviewers.clone(),
        };
        session.check(&wanted)?;
        let there = session.find(&head, &base, context).await?;
        if let Some(there) = &there {
            context.result(PULL_REQUEST, &there.url);
        }
        let host = remote.host();
        let merged = there.as_ref().and_then(|one| match &one.state {
            State::Merged(commit) => Some(commit.clone()),
            _ => None,
        });
        let closed = there.clone().filter(|one| one.state == State::Closed);
        let over = there.clone().zip(merged.clone());
        let proposal = self.push(remote, &change, over, closed).await?;
        let (pushed, edits) = match proposal {
            Proposal::There(commit) => {
                let commit = self.merge_commit(there.as_ref(), merged).await.unwrap_or(commit);
                context.result(COMMIT, &commit);
                let what = format!(
                    "nothing to do, made already by commit `{commit}` on branch `{base}` at `{host}`"
                );
                return Ok(Done::new(what));
            }
            Proposal::Pushed { pushed, edits } => (pushed, edits),
        };
        context.result(BRANCH, &head);
        context.result(COMMIT, &pushed.commit);
        if pushed.changed {
            context.result(step::CHANGED, "true");
        }
        wanted.body = self.text(&edits);
        let (one, changed) = session.open(&wanted, there, context).await.map_err(unknown)?;
        context.result(PULL_REQUEST, &one.url);
        if changed {
            context.result(step::CHANGED, "true");
        }
        tracing::info!("pull request `{}` is open", one.url);
        if !self.args.wait_merged {
            let what = if pushed.changed || changed {
                "asked for by"
            } else {
                "nothing to do, asked for already by"
            };
            return Ok(Done::new(format!("{what} pull request `{}`, which is not merged yet", one.url)));
        }
        let commit = session.merged(&one, context).await?;
        context.result(BRANCH, &base);
        context.result(COMMIT, &commit);
        context.result(step::CHANGED, "true");
        // who merged it may have changed it before; what counts is what the branch holds
        self.push(witness, &change, Some((one.clone(), commit.clone())), None).await.map_err(unknown)?;
        Ok(Done::new(format!(
            "pull request `{}` is merged by commit `{commit}` on branch `{base}` at `{host}`",
            one.url
        )))
    }

    /// [`propose`] on a thread of its own, as Git blocks.
    async fn push(
        &self,
        remote: Remote,
        change: &Change,
        merged: Option<(PullRequest, String)>,
        closed: Option<PullRequest>,
    ) -> Result<Proposal, Failure> {
        let (context, change, head) = (self.context.clone(), change.clone(), self.about.head.clone());
        let work = tokio::task::spawn_blocking(move || {
            propose(remote, &change, &head, merged.as_ref(), closed.as_ref(), &context)
        });
        tokio::select! {
            ended = work => {
                ended.unwrap_or_else(|_| Err(Failure::new(Kind::Internal, "the push ended without a word")))
            }
            () = tokio::time::sleep(self.context.left() + SLACK) => {
                let what = "cannot tell whether the push was accepted: it still sends its answer";
                Err(unknown(Failure::new(Kind::Transient, what)))
            }
        }
    }

    /// The commit by which the forge merged it; it may have done so since it was asked.
    async fn merge_commit(&self, there: Option<&PullRequest>, merged: Option<String>) -> Option<String> {
        if merged.is_some() {
            return merged;
        }
        let one = there.filter(|one| matches!(one.state, State::Open(_)))?;
        let now = self.session.find(&self.about.head, one.base(), self.context).await.ok()??;
        if let State::Merged(commit) = now.state { Some(commit) } else { None }
    }

    fn text(&self, edits: &[Edit]) -> String {
        let lines: Vec<(&str, &str)> =
            self.about.lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.session.redact(&body(&lines, &diff::of(edits), self.session.longest()))
    }
}

/// The change on the branch of its own, unless there was a pull request that is over.
fn propose(
    remote: Remote,
    change: &Change,
    head: &str,
    replaced: Option<&(PullRequest, String)>,
    closed: Option<&PullRequest>,
    context: &Context,
) -> Result<Proposal, Failure> {
    if replaced.is_none() && closed.is_none() {
        return remote.propose(change, head, context);
    }
    let until = Instant::now() + LAG;
    loop {
        if let gitops::Plan::Done(commit) = remote.plan(change, context)? {
            return Ok(Proposal::There(commit));
        }
        let Some((one, commit)) = replaced else { break };
        if Instant::now() >= until || context.stopping() || context.left().is_zero() {
            let what = format!(
                "pull request `{}` was merged by commit `{commit}`, and branch `{}` at `{}` does not hold the change any more",
                one.url,
                remote.branch(),
                remote.host()
            );
            return Err(
                Failure::new(Kind::Superseded, what).hint("a new request needs a request id of its own")
            );
        }
        std::thread::sleep(GLANCE);
    }
    match closed {
        Some(one) => Err(one.closed()),
        None => remote.propose(change, head, context),
    }
}

/// The branch is pushed by now: that nothing was changed cannot be said any more.
fn unknown(failure: Failure) -> Failure {
    if failure.kind() != Kind::Transient {
        return failure;
    }
    let same = Failure::new(Kind::Unknown, failure.message());
    same.hint("run it again: what is done already is found and kept")
}
