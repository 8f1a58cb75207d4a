//! A pull request, whatever a forge calls it.

use step::{Failure, Kind};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The branch with the change.
    pub head: String,
    /// The branch that it is to be merged into.
    pub base: String,
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: String,
    /// Names of labels, which are added and never taken away.
    pub labels: Vec<String>,
    /// Who is asked to look at it, as the forge names people.
    pub reviewers: Vec<String>,
}

/// What a forge says of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number in the repository.
    pub number: u64,
    /// Where people see it.
    pub url: String,
    /// What became of it.
    pub state: State,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) labels: Vec<String>,
    pub(crate) reviewers: Vec<String>,
    pub(crate) head: String,
    pub(crate) base: String,
    /// Whether the branch is one of this very repository: anybody's copy may have a branch of the same name.
    pub(crate) own: bool,
}

impl PullRequest {
    /// The branch that it is to be merged into.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The failure of who waits for it, where it was closed and not merged.
    pub fn closed(&self) -> Failure {
        Failure::new(Kind::Refused, format!("pull request `{}` was closed and not merged", self.url)).hint(
            "whoever closed it can say why; opened again, the same request goes on, and a new one needs an id of its own",
        )
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not merged and not closed; what the forge says of why, in its own words.
    Open(Option<String>),
    /// Merged, by this commit of the target.
    Merged(String),
    /// Closed, and not merged.
    Closed,
}

/// Of all that there are of one branch the one that counts: the open one, of which a forge allows but one, else a merged one,
/// else the newest.
pub(crate) fn choose(found: Vec<PullRequest>, head: &str, base: &str) -> Option<PullRequest> {
    let rank = |one: &PullRequest| match one.state {
        State::Open(_) => 2,
        State::Merged(_) => 1,
        State::Closed => 0,
    };
    let ours = found.into_iter().filter(|one| one.own && one.head == head && one.base == base);
    ours.max_by_key(|one| (rank(one), one.number))
}

#[cfg(test)]
mod tests {
    use super::{PullRequest, State, choose};

    fn one(number: u64, state: State) -> PullRequest {
        PullRequest {
            number,
            url: String::new(),
            state,
            title: String::new(),
            body: String::new(),
            labels: Vec::new(),
            reviewers: Vec::new(),
            head: "vm-request/r-1".to_owned(),
            base: "main".to_owned(),
            own: true,
        }
    }

    #[test]
    fn the_open_one_counts_then_a_merged_one_then_the_newest() {
        let chosen =
            |found: &[PullRequest]| choose(found.to_vec(), "vm-request/r-1", "main").map(|one| one.number);
        let (open, merged) = (State::Open(None), State::Merged("1".repeat(40)));
        assert_eq!(chosen(&[one(3, State::Closed), one(2, merged.clone()), one(1, open.clone())]), Some(1));
        assert_eq!(chosen(&[one(3, State::Closed), one(2, merged), one(1, State::Closed)]), Some(2));
        assert_eq!(chosen(&[one(1, State::Closed), one(3, State::Closed)]), Some(3));
        let elsewhere = [
            PullRequest { own: false, ..one(1, open.clone()) },
            PullRequest { head: "other".to_owned(), ..one(2, open.clone()) },
            PullRequest { base: "other".to_owned(), ..one(3, open) },
        ];
        assert_eq!(chosen(&elsewhere), None);
    }
}
