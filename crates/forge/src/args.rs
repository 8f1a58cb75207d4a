//! The flags that say which forge, and as whom.

use std::path::PathBuf;

use gitops::RemoteArgs;
use step::{Failure, Kind};

use crate::app::App;
use crate::client::Client;
use crate::place::{self, Place};
use crate::session::{Login, Session};

/// The flags that say which forge, and as whom.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Forge")]
pub struct ForgeArgs {
    /// Forge that the repository is on: `github`, `gitlab`, `gitea` (also Forgejo), `bitbucket` (Cloud) or `azure-devops`; known by itself where the host is theirs
    #[arg(long, value_enum, value_name = "FORGE", hide_possible_values = true)]
    forge: Option<place::Kind>,
    /// Address of its API where it is not the usual one, such as `https://git.example.org/api/v4`
    #[arg(long, value_name = "URL")]
    forge_api: Option<String>,
    /// Folder with `app-id`, `installation-id` and `private-key` of a GitHub App, whose token is then the credential for Git and for the API
    #[arg(long, value_name = "DIR")]
    github_app_key: Option<PathBuf>,
}

impl ForgeArgs {
    /// Whether a GitHub App is to be asked for a token.
    pub const fn has_app(&self) -> bool {
        self.github_app_key.is_some()
    }

    /// Check the flags, read the credentials and make ready to ask; nothing is asked of the server yet.
    ///
    /// # Errors
    ///
    /// `usage` for a forge that is not known, an address that is none of it, or a key that cannot be read.
    pub fn open(&self, remote: &RemoteArgs) -> Result<Session, Failure> {
        let usage = |why: String| Failure::new(Kind::Usage, why);
        let address = remote.address()?;
        let known = self.forge.or_else(|| place::Kind::of(address.name()));
        let kind = known.ok_or_else(|| {
            usage(format!("cannot tell which forge `{}` is", address.host()))
                .hint("`--forge` names it: `github`, `gitlab`, `gitea`, `bitbucket` or `azure-devops`")
        })?;
        let place = Place::of(kind, &address, self.forge_api.as_deref()).map_err(|why| {
            usage(format!("cannot find the API of `{}`: {why}", address.host()))
                .hint("check `--url`, `--forge` and `--forge-api`")
        })?;
        let access = remote.access(&place.server, &place.login)?;
        let client = Client::new(place.server.clone(), place.prefix.clone(), &access)?;
        let login = match &self.github_app_key {
            None => access.credential.map_or(Login::Nobody, Login::Given),
            Some(_) if kind != place::Kind::Github => {
                return Err(usage("a GitHub App is of use on GitHub alone".to_owned())
                    .hint("leave `--github-app-key` out, or check `--forge`"));
            }
            Some(folder) => Login::App(App::read(folder, &access.secrets)?),
        };
        Ok(Session::new(client, place, login))
    }
}
