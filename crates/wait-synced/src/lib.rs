//! Until the cluster shows what was pushed: the flags of the engine in crate `wait`.

use cluster::{LeaseArgs, Name};
use gitops::RemoteArgs;
use step::{Context, Done, EdgeArgs, Failure, Kind, Step, Timeout};
use wait::{ChangeArgs, Connections, PlaceArgs, RESULTS, RequireArgs, Wait, Wanted};

/// Wait until the cluster shows what was pushed
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "wait-synced", version)]
pub struct Args {
    /// What was changed
    #[command(flatten)]
    pub change: ChangeArgs,
    /// The state to wait for
    #[arg(long, value_enum, default_value_t = Until::Ready, value_name = "STATE")]
    pub until: Until,
    /// Absent only with these claims of its namespace still there, and not being deleted
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = claim)]
    pub keep_claims: Vec<String>,
    /// Absent only with these claims of its namespace gone, with the data volumes of their names
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = claim)]
    pub gone_claims: Vec<String>,
    /// What ready means
    #[command(flatten)]
    pub require: RequireArgs,
    /// Where to look
    #[command(flatten)]
    pub place: PlaceArgs,
    /// The repository to ask whether a later commit holds ours
    #[command(flatten)]
    pub git: RemoteArgs,
    /// The Lease of the machine
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// What every step has
    #[command(flatten)]
    pub edge: EdgeArgs,
}

/// The state to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Until {
    /// It runs what was declared, and says it is ready.
    Ready,
    /// It is declared stopped, and no instance of it is left.
    Stopped,
    /// Neither it, nor an instance of it, nor its Application is left.
    Absent,
}

impl From<Until> for vm::conditions::Until {
    fn from(until: Until) -> Self {
        match until {
            Until::Ready => Self::Ready,
            Until::Stopped => Self::Stopped,
            Until::Absent => Self::Absent,
        }
    }
}

impl Step for Args {
    const RESULTS: &'static [&'static str] = &RESULTS;
    const TIMEOUT: Timeout = Timeout::seconds(1800);

    fn edge(&self) -> &EdgeArgs {
        &self.edge
    }
}

/// Wait until the machine is in the state that `args` name, or say why it will not be.
pub async fn wait_synced(args: Args, context: Context) -> Result<Done, Failure> {
    let claims = [&args.keep_claims, &args.gone_claims];
    if args.until != Until::Absent && claims.iter().any(|names| !names.is_empty()) {
        return Err(Failure::new(
            Kind::Usage,
            "`--keep-claims` and `--gone-claims` are about a machine that goes: they need `--until absent`",
        ));
    }
    if let Some(both) = args.keep_claims.iter().find(|name| args.gone_claims.contains(name)) {
        return Err(Failure::new(Kind::Usage, format!("claim `{both}` is to be kept and to be gone")));
    }
    let wanted = Wanted {
        keep_claims: args.keep_claims,
        gone_claims: args.gone_claims,
        ..Wanted::new(args.change, args.until.into(), &args.require)
    };
    wanted.witnessed()?;
    let (cluster, machine) = args.place.connect().await?;
    // leases are where the flows run: on the cluster of the Application
    let hold = args.lease.take(&cluster, &context).await?;
    let connections = Connections { cluster, machine, git: Some(args.git), hold };
    Wait::begin(wanted, connections, context)?.run().await
}

fn claim(text: &str) -> Result<String, String> {
    let named = format!("namespace/{text}").parse::<Name>();
    named.map(|name| name.name().to_owned()).map_err(|_| "expected the name of a claim".to_owned())
}
