//! What a test does to the forge, and sees of it.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, ensure};

use super::{Api, ApiFault, Dialect, Pull, State};
use crate::git::tls::Identity;
use crate::git::{Server, lock};

impl Server {
    /// A Git server with the API of a forge beside it, and one commit on `main`. Its one repository is `team/machines`.
    pub async fn forge(dialect: Dialect) -> Result<Self> {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let server = Self::begin(local, None, Some(State::new(dialect))).await?;
        server.first_commit()?;
        Ok(server)
    }

    /// The same over TLS; its certificate is of an authority of its own.
    pub async fn forge_tls(dialect: Dialect) -> Result<Self> {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let server = Self::begin(local, Some(Identity::new(local)?), Some(State::new(dialect))).await?;
        server.first_commit()?;
        Ok(server)
    }

    pub(super) fn state(&self) -> Result<&State> {
        self.shared.forge.as_ref().context("it is no forge")
    }

    /// The address of the repository as the forge has it.
    pub fn forge_url(&self) -> Result<String> {
        Ok(format!("{}://{}{}", self.scheme(), self.address, self.state()?.dialect.repository()))
    }

    /// Every pull request.
    pub fn pulls(&self) -> Result<Vec<Pull>> {
        Ok(lock(&self.state()?.pulls).clone())
    }

    /// Every request to the API so far, such as `GET /api/v3/repos/team/machines/pulls?state=all`.
    pub fn calls(&self) -> Result<Vec<String>> {
        Ok(lock(&self.state()?.calls).clone())
    }

    /// How many of them carried credentials, right or wrong.
    pub fn authorizations(&self) -> Result<usize> {
        Ok(*lock(&self.state()?.authorizations))
    }

    /// The next request of this kind meets this fault; several wait in line.
    pub fn api_fault(&self, on: Api, fault: ApiFault) -> Result<()> {
        lock(&self.state()?.faults).push((on, fault));
        Ok(())
    }

    /// Somebody makes a change to a pull request.
    pub fn with_pull(&self, number: u64, change: impl FnOnce(&mut Pull)) -> Result<()> {
        let mut pulls = lock(&self.state()?.pulls);
        change(pulls.iter_mut().find(|pull| pull.number == number).context("no such pull request")?);
        Ok(())
    }

    /// Somebody has one of these already.
    pub fn add_pull(&self, pull: Pull) -> Result<()> {
        lock(&self.state()?.pulls).push(pull);
        Ok(())
    }

    /// Somebody merges it: git does, with a merge commit, whose id it is. The branch goes away as it does by most forges' settings.
    pub fn merge(&self, number: u64) -> Result<String> {
        let pull =
            self.pulls()?.into_iter().find(|pull| pull.number == number).context("no such pull request")?;
        ensure!(!pull.closed, "it is over");
        let (head, git) = (format!("refs/heads/{}", pull.head), &self.repository);
        let base = git.tip()?;
        let tree = git.git(&["merge-tree", "--write-tree", &base, &head])?;
        let tip = git.git(&["rev-parse", &head])?;
        let message = format!("merge pull request {number}");
        let commit = git.git(&["commit-tree", &tree, "-p", &base, "-p", &tip, "-m", &message])?;
        git.git(&["update-ref", "refs/heads/main", &commit, &base])?;
        git.git(&["update-ref", "-d", &head])?;
        self.with_pull(number, |pull| (pull.merged, pull.closed) = (Some(commit.clone()), true))?;
        Ok(commit)
    }
}
