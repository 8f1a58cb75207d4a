//! Which forge, where its API is, and what it calls the repository.

use gitops::Address;

/// The forges whose pull requests are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// github.com, GitHub Enterprise Cloud and Server.
    Github,
    /// gitlab.com, and a GitLab of one's own.
    Gitlab,
    /// Gitea, Forgejo, Codeberg.
    Gitea,
    /// Bitbucket Cloud.
    Bitbucket,
    /// Azure DevOps Services.
    AzureDevops,
}

/// Hosts that are known to be one, with what serves Git over SSH beside them.
const KNOWN: [(&str, Kind); 11] = [
    ("github.com", Kind::Github),
    ("ssh.github.com", Kind::Github),
    ("gitlab.com", Kind::Gitlab),
    ("altssh.gitlab.com", Kind::Gitlab),
    ("codeberg.org", Kind::Gitea),
    ("gitea.com", Kind::Gitea),
    ("bitbucket.org", Kind::Bitbucket),
    ("altssh.bitbucket.org", Kind::Bitbucket),
    ("dev.azure.com", Kind::AzureDevops),
    ("ssh.dev.azure.com", Kind::AzureDevops),
    ("vs-ssh.visualstudio.com", Kind::AzureDevops),
];

impl Kind {
    /// The forge of a host that everybody knows.
    pub(crate) fn of(host: &str) -> Option<Self> {
        let known = KNOWN.iter().find(|(name, _)| *name == host).map(|(_, kind)| *kind);
        // organisations with a host of their own
        let github = host.ends_with(".ghe.com").then_some(Self::Github);
        let azure = host.ends_with(".visualstudio.com").then_some(Self::AzureDevops);
        known.or(github).or(azure)
    }
}

/// A repository on a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    /// The server of the API; its path means nothing.
    pub(crate) server: Address,
    /// Before every path of the API, such as `/api/v3`.
    pub(crate) prefix: String,
    /// Such as `team/machines`.
    pub(crate) project: String,
    /// Whose credential the API gets: the Git server's, where it is that server or belongs to it, else its own.
    pub(crate) login: Address,
}

impl Place {
    /// The place of the repository at `address`, with its API at `api` where that is given.
    pub(crate) fn of(kind: Kind, address: &Address, api: Option<&str>) -> Result<Self, String> {
        let web = web(address)?;
        let (server, prefix, below) = if let Some(api) = api {
            let (server, prefix) = given(api)?;
            // one that is not at the root of its host has its repositories below the same path
            let below =
                prefix.strip_suffix("/api/v4").or_else(|| prefix.strip_suffix("/api/v1")).unwrap_or_default();
            let below = below.trim_start_matches('/').to_owned();
            (server, prefix, below)
        } else {
            let below = if kind == Kind::Gitea { above(address.path()) } else { "" };
            let (server, prefix) = usual(kind, &web, below)?;
            (server, prefix, below.to_owned())
        };
        let project = project(kind, address.path(), &below)?;
        let pair = |api: &str, git: &str| server.name() == api && web.name() == git;
        let cloud = server
            .name()
            .strip_prefix("api.")
            .is_some_and(|host| host == web.name() && host.ends_with(".ghe.com"));
        let belongs = server.same_server(&web)
            || cloud
            || pair("api.github.com", "github.com")
            || pair("api.bitbucket.org", "bitbucket.org");
        let login = if belongs { web } else { server.clone() };
        Ok(Self { kind, server, prefix, project, login })
    }
}

/// The forge's own server, where Git is spoken over SSH the one beside it.
fn web(address: &Address) -> Result<Address, String> {
    if address.scheme() != "ssh" {
        return Ok(address.clone());
    }
    let host = match address.name() {
        "ssh.github.com" => "github.com",
        "altssh.gitlab.com" => "gitlab.com",
        "altssh.bitbucket.org" => "bitbucket.org",
        "ssh.dev.azure.com" | "vs-ssh.visualstudio.com" => "dev.azure.com",
        host => host,
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    // the credential may be one for this repository alone
    parsed(&format!("https://{host}/{}", address.path()))
}

/// Where the API of a forge is, below a path of its host where the forge is.
fn usual(kind: Kind, web: &Address, below: &str) -> Result<(Address, String), String> {
    let at = |host: &str| parsed(&format!("https://{host}/any"));
    let slash = if below.is_empty() { "" } else { "/" };
    Ok(match (kind, web.name()) {
        (Kind::Github, "github.com") => (at("api.github.com")?, String::new()),
        (Kind::Github, host) if host.ends_with(".ghe.com") => (at(&format!("api.{host}"))?, String::new()),
        (Kind::Github, _) => (web.clone(), "/api/v3".to_owned()),
        (Kind::Gitlab, _) => (web.clone(), "/api/v4".to_owned()),
        (Kind::Gitea, _) => (web.clone(), format!("{slash}{below}/api/v1")),
        (Kind::Bitbucket, "bitbucket.org") => (at("api.bitbucket.org")?, "/2.0".to_owned()),
        (Kind::Bitbucket, _) => return Err("Bitbucket Cloud is at bitbucket.org alone".to_owned()),
        (Kind::AzureDevops, _) => (web.clone(), String::new()),
    })
}

/// What is before `owner/name`.
fn above(path: &str) -> &str {
    path.rsplitn(3, '/').nth(2).unwrap_or_default()
}

/// A server and the path before every other.
fn given(api: &str) -> Result<(Address, String), String> {
    let server = parsed(&format!("{}/any", api.trim_end_matches('/')))?;
    if server.scheme() == "ssh" {
        return Err("expected `https://host/path`".to_owned());
    }
    let path = server.path().strip_suffix("any").unwrap_or_default().trim_end_matches('/').to_owned();
    let prefix = if path.is_empty() { path } else { format!("/{path}") };
    Ok((server, prefix))
}

fn parsed(text: &str) -> Result<Address, String> {
    text.parse().map_err(str::to_owned)
}

/// What the forge calls the repository.
fn project(kind: Kind, path: &str, below: &str) -> Result<String, String> {
    let path = path.strip_prefix(below).unwrap_or(path).trim_start_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    match (kind, &parts[..]) {
        (Kind::Github | Kind::Gitea | Kind::Bitbucket, [_, _]) | (Kind::Gitlab, [_, _, ..]) => {
            Ok(path.to_owned())
        }
        (Kind::Github | Kind::Gitea | Kind::Bitbucket, _) => {
            Err("expected `owner/name` as its path".to_owned())
        }
        (Kind::Gitlab, _) => Err("expected `group/name` as its path".to_owned()),
        (Kind::AzureDevops, ["v3", organisation, project, name]) => {
            Ok(format!("{organisation}/{project}/{name}"))
        }
        (Kind::AzureDevops, [before @ .., "_git", name]) if !before.is_empty() => {
            Ok(format!("{}/{name}", before.join("/")))
        }
        (Kind::AzureDevops, _) => Err("expected `organisation/project/_git/name` as its path".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Place};

    #[test]
    fn the_api_is_found_from_the_repository() {
        let (git, bitbucket) = ("https://git.example.org/api/v", "https://api.bitbucket.org/2.0");
        for (kind, address, api, project, login) in [
            (
                Kind::Github,
                "https://github.com/team/machines.git",
                "https://api.github.com",
                "team/machines",
                "github.com",
            ),
            (
                Kind::Github,
                "git@github.com:team/machines.git",
                "https://api.github.com",
                "team/machines",
                "github.com",
            ),
            (
                Kind::Github,
                "https://x.ghe.com/team/machines",
                "https://api.x.ghe.com",
                "team/machines",
                "x.ghe.com",
            ),
            (
                Kind::Github,
                "https://git.example.org/team/machines",
                &format!("{git}3"),
                "team/machines",
                "git.example.org",
            ),
            (
                Kind::Gitlab,
                "https://git.example.org/a/b/machines",
                &format!("{git}4"),
                "a/b/machines",
                "git.example.org",
            ),
            (
                Kind::Gitlab,
                "ssh://git@git.example.org:2222/a/machines",
                &format!("{git}4"),
                "a/machines",
                "git.example.org",
            ),
            (
                Kind::Gitea,
                "https://git.example.org:3000/team/machines",
                "https://git.example.org:3000/api/v1",
                "team/machines",
                "git.example.org:3000",
            ),
            (
                Kind::Gitea,
                "https://git.example.org/git/team/machines",
                "https://git.example.org/git/api/v1",
                "team/machines",
                "git.example.org",
            ),
            (
                Kind::Bitbucket,
                "https://bitbucket.org/team/machines.git",
                bitbucket,
                "team/machines",
                "bitbucket.org",
            ),
            (
                Kind::AzureDevops,
                "https://dev.azure.com/org/project/_git/machines",
                "https://dev.azure.com",
                "org/project/machines",
                "dev.azure.com",
            ),
            (
                Kind::AzureDevops,
                "git@ssh.dev.azure.com:v3/org/project/machines",
                "https://dev.azure.com",
                "org/project/machines",
                "dev.azure.com",
            ),
            (
                Kind::AzureDevops,
                "https://org.visualstudio.com/project/_git/machines",
                "https://org.visualstudio.com",
                "project/machines",
                "org.visualstudio.com",
            ),
        ] {
            let place = Place::of(kind, &address.parse().unwrap(), None).unwrap();
            let found = format!("https://{}{}", place.server.host(), place.prefix);
            assert_eq!((found.as_str(), place.project.as_str()), (api, project), "{address}");
            assert_eq!(place.login.host(), login, "{address}");
        }
    }

    #[test]
    fn a_given_api_is_another_server_with_a_credential_of_its_own() {
        let address = "https://git.example.org/below/team/machines".parse().unwrap();
        let place = Place::of(Kind::Gitlab, &address, Some("https://git.example.org/below/api/v4/")).unwrap();
        assert_eq!((place.prefix.as_str(), place.project.as_str()), ("/below/api/v4", "team/machines"));
        assert_eq!(place.login, address);
        let place = Place::of(Kind::Gitlab, &address, Some("https://api.example.org")).unwrap();
        assert_eq!((place.prefix.as_str(), place.login.host().as_str()), ("", "api.example.org"));
        for (api, why) in [
            ("http://git.example.org/api/v4", "plain http is for the loopback address only"),
            ("https://me:password@git.example.org", "user and password do not belong into it"),
            ("git@git.example.org:api", "expected `https://host/path`"),
            ("-x", "it starts with `-`"),
        ] {
            assert_eq!(Place::of(Kind::Gitlab, &address, Some(api)).unwrap_err(), why, "{api}");
        }
    }

    #[test]
    fn an_address_that_is_none_of_that_forge_is_refused() {
        for (kind, address, why) in [
            (Kind::Github, "https://git.example.org/machines", "expected `owner/name` as its path"),
            (Kind::Gitlab, "https://git.example.org/machines", "expected `group/name` as its path"),
            (
                Kind::Bitbucket,
                "https://git.example.org/team/machines",
                "Bitbucket Cloud is at bitbucket.org alone",
            ),
            (
                Kind::AzureDevops,
                "https://dev.azure.com/org/machines",
                "expected `organisation/project/_git/name` as its path",
            ),
        ] {
            assert_eq!(Place::of(kind, &address.parse().unwrap(), None).unwrap_err(), why, "{address}");
        }
    }
}
