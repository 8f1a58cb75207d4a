//! A repository of a test's server, opened as the flags say.

use clap::Parser as _;
use gitops::{Remote, RemoteArgs};
use testbed::git::Server;

#[derive(clap::Parser)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// The flags for this server, its credential in this folder.
pub(crate) fn args(server: &Server, folder: &std::path::Path) -> RemoteArgs {
    std::fs::write(folder.join(".git-credentials"), server.url_with_credentials()).unwrap();
    let flags =
        ["test".to_owned(), format!("--url={}", server.url()), format!("--basic-auth={}", folder.display())];
    Flags::parse_from(flags).remote
}

pub(crate) fn open(server: &Server) -> Remote {
    args(server, tempfile::tempdir().unwrap().path()).open().unwrap()
}
