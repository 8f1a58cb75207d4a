//! Pull requests on GitHub, GitLab, Gitea (and Forgejo), Bitbucket Cloud and Azure DevOps, and the token of a GitHub App.
//!
//! What each forge is asked and what its answers mean is data of a pure module each in `api`; how it is asked is the same
//! for all: one host, which alone gets the credential, no redirects, a deadline for every request, at most ten pages of any list.
//! Whatever answer is lost, the forge is asked again what there is, so a second run finds the one pull request of the first.

mod answer;
mod api;
mod app;
mod args;
mod body;
mod client;
mod connect;
mod place;
mod pull_request;
mod session;
mod wait;

pub use app::App;
pub use args::ForgeArgs;
pub use body::body;
pub use place::Kind as Forge;
pub use pull_request::{PullRequest, State, Wanted};
pub use session::Session;
