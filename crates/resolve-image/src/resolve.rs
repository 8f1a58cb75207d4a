//! Which data source, and waiting until its image is there.

use std::path::Path;
use std::time::Duration;

use cluster::{
    Cluster, DATA_IMPORT_CRON, DATA_SOURCE, DATA_VOLUME, Error, Hold, Name, Object, PERSISTENT_VOLUME_CLAIM,
    VIRTUAL_MACHINE, VOLUME_SNAPSHOT,
};
use serde_json::Value;
use step::{Context, Done, Failure, Kind, human};
use tokio::time::{Instant, sleep_until};
use vm::day_two::Operation;
use vm::request;

use crate::image::{self, Image, ImageKind, text};
use crate::{Args, IMAGE_KIND, IMAGE_SIZE, IMAGE_SOURCE};

/// Looked at this often; imports take minutes.
const LOOK: Duration = Duration::from_secs(3);
/// What does not mend while RBAC or credentials are being rolled out is refused for good.
const REFUSED: Duration = Duration::from_secs(30);

/// Which data source the boot disk is made from.
enum Wanted {
    /// This one.
    DataSource(Name),
    /// The one that the machine's present boot disk was made from.
    AsNow,
    /// None: the boot disk comes from elsewhere, or the request is about something else.
    Other(&'static str),
}

/// What was found of an image.
struct Found {
    image: Image,
    size: String,
    /// Why there is a newer one that is not ready yet.
    outdated: Option<String>,
}

pub(crate) async fn resolve(args: Args, context: Context) -> Result<Done, Failure> {
    let (wanted, machine) = wanted(&args)?;
    if let Wanted::Other(why) = wanted {
        return Ok(Done::new(format!("no golden image to look up: {why}")));
    }
    let cluster = Cluster::connect(args.cluster.kubeconfig.as_deref()).await?;
    let hold = args.lease.take(&cluster, &context).await?;
    let cluster = cluster.of_machine(args.machine_kubeconfig.as_deref()).await?;
    let work = async {
        let name = match wanted {
            Wanted::DataSource(name) => name,
            _ => match present(&cluster, machine.as_ref()).await? {
                Some(name) => name,
                None => {
                    return Ok(Done::new(
                        "no golden image to look up: the boot disk was not made from a data source",
                    ));
                }
            },
        };
        Resolve { args: &args, context: &context, cluster: &cluster }.until_there(&name).await
    };
    match &hold {
        Some(hold) => Hold::during(hold, work).await,
        None => work.await,
    }
}

/// By the flag, else by the request; with the machine that the request is about.
fn wanted(args: &Args) -> Result<(Wanted, Option<Name>), Failure> {
    if let Some(name) = &args.data_source {
        return Ok((Wanted::DataSource(name.clone()), None));
    }
    let Some(path) = &args.request_file else {
        return Err(Failure::new(Kind::Usage, "neither `--request-file` nor `--data-source` is given"));
    };
    let request = read(path)?;
    let target = request.target();
    let machine = format!("{}/{}", target.namespace, target.name).parse().ok();
    let named = match &request {
        request::Accepted::Provision(request) => Some(&request.spec.image),
        request::Accepted::DayTwo(request) => match &request.spec.operation {
            Operation::Repave(repave) => repave.image.as_ref(),
            _ => return Ok((Wanted::Other("the request makes no boot disk"), machine)),
        },
    };
    let wanted = match named {
        Some(request::Image::DataSource { name, namespace }) => {
            let namespace = namespace.as_ref().unwrap_or(&target.namespace);
            let name = format!("{namespace}/{name}").parse();
            Wanted::DataSource(name.map_err(|why: String| Failure::new(Kind::Usage, why))?)
        }
        Some(_) => Wanted::Other("the boot disk is not made from a data source"),
        None => Wanted::AsNow,
    };
    Ok((wanted, machine))
}

fn read(path: &Path) -> Result<request::Accepted, Failure> {
    let what = || format!("cannot use request file `{}`", path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(Kind::Usage, format!("{}: {error}", what())))?;
    request::Accepted::parse(&text).map_err(|problem| {
        Failure::new(Kind::Usage, format!("{}: {problem}", what()))
            .hint("give the file that `validate-request` wrote")
    })
}

/// The data source that the machine's boot disk was made from, as its data volume says.
async fn present(cluster: &Cluster, machine: Option<&Name>) -> Result<Option<Name>, Failure> {
    let Some(machine) = machine else { return Ok(None) };
    let what = format!("cannot find out what virtual machine `{machine}` was made from");
    let failed = |error: Error| error.failure(&what);
    let vm = Object { kind: VIRTUAL_MACHINE, name: machine.clone() };
    let Some(vm) = cluster.get(&vm).await.map_err(failed)? else {
        return Err(Failure::new(Kind::Failed, format!("{what}: it does not exist")));
    };
    let Some(claim) = boot_claim(&vm).and_then(|claim| machine.sibling(claim).ok()) else { return Ok(None) };
    let volume = cluster.get(&Object { kind: DATA_VOLUME, name: claim }).await.map_err(failed)?;
    let source = volume.as_ref().and_then(|v| v.pointer("/spec/sourceRef"));
    let Some(source) = source.filter(|s| text(s, "/kind") == "DataSource") else { return Ok(None) };
    let namespace = match text(source, "/namespace") {
        "" => machine.namespace(),
        namespace => namespace,
    };
    Ok(format!("{namespace}/{}", text(source, "/name")).parse().ok())
}

/// The claim of the disk with the lowest `bootOrder`, else of the first.
fn boot_claim(vm: &Value) -> Option<&str> {
    let spec = vm.pointer("/spec/template/spec")?;
    let order = |disk: &&Value| disk.get("bootOrder").and_then(Value::as_u64).unwrap_or(u64::MAX);
    let disk = spec.pointer("/domain/devices/disks")?.as_array()?.iter().min_by_key(order)?;
    let volume = spec.get("volumes")?.as_array()?.iter().find(|v| text(v, "/name") == text(disk, "/name"))?;
    let claims = ["/persistentVolumeClaim/claimName", "/dataVolume/name"];
    claims.into_iter().map(|p| text(volume, p)).find(|c| !c.is_empty())
}

struct Resolve<'a> {
    args: &'a Args,
    context: &'a Context,
    cluster: &'a Cluster,
}

impl Resolve<'_> {
    async fn until_there(&self, name: &Name) -> Result<Done, Failure> {
        self.context.result(crate::DATA_SOURCE, name.to_string());
        let what = format!("data source `{name}`");
        let deadline = Instant::from_std(self.context.deadline());
        let mut said = String::new();
        let mut refused: Option<Instant> = None;
        loop {
            let (kind, why) = match self.look(name).await {
                Ok(Ok(found)) => return Ok(self.done(&what, &found)),
                Ok(Err(Missing::Hopeless(why))) => {
                    return Err(Failure::new(Kind::Failed, format!("{what} {why}"))
                        .hint("let it point at a volume or a snapshot, or at a data source that does"));
                }
                Ok(Err(Missing::Pending(why))) => (Kind::Timeout, why),
                Err(error) => {
                    let since = *refused.get_or_insert_with(Instant::now);
                    if error.kind() == Kind::Permission && since.elapsed() >= REFUSED {
                        return Err(error.failure(&format!("cannot read {what}")));
                    }
                    (error.kind(), format!("cannot be read: {error}"))
                }
            };
            if kind == Kind::Timeout {
                refused = None;
            }
            if said != why {
                tracing::info!("waiting for {what}: {why}, {} left", human(self.context.left()));
                said.clone_from(&why);
            }
            tokio::select! {
                () = sleep_until((Instant::now() + LOOK).min(deadline)) => {}
                () = self.context.stopped() => return Err(Failure::new(kind, format!("stopped: {what} {why}"))),
            }
            if Instant::now() >= deadline {
                let after = human(self.args.edge.timeout.get());
                return Err(Failure::new(kind, format!("{what} {why} (after {after})"))
                    .hint("look at its import in CDI; run it again when the image is there"));
            }
        }
    }

    /// The image as it is now; why there is none, if there is none.
    async fn look(&self, name: &Name) -> Result<Result<Found, Missing>, Error> {
        let Some(source) = self.cluster.get(&Object { kind: DATA_SOURCE, name: name.clone() }).await? else {
            return Ok(Err(Missing::Pending("does not exist".to_owned())));
        };
        if let Some(words) = image::hopeless(&source) {
            return Ok(Err(Missing::Hopeless(format!("never gets ready: {words}"))));
        }
        let image = match image::image(&source) {
            Ok(image) => image,
            Err(why) => return Ok(Err(Missing::Pending(why))),
        };
        let kind = match image.kind {
            ImageKind::Claim => PERSISTENT_VOLUME_CLAIM,
            ImageKind::Snapshot => VOLUME_SNAPSHOT,
        };
        let Ok(place) = format!("{}/{}", image.namespace, image.name).parse::<Name>() else {
            return Ok(Err(Missing::Hopeless(format!("points at `{}`, which is no name", image.name))));
        };
        let object = Object { kind, name: place };
        let pending = |why: &str| Missing::Pending(format!("points at {object}, which {why}"));
        let Some(read) = self.cluster.get(&object).await? else { return Ok(Err(pending("does not exist"))) };
        let size = match image::size(image.kind, &read) {
            Ok(size) => size,
            Err(why) => return Ok(Err(pending(&why))),
        };
        let outdated = match image::cron(&source).and_then(|cron| name.sibling(cron).ok()) {
            // it helps to explain and decides nothing
            Some(cron) => {
                self.cluster.get(&Object { kind: DATA_IMPORT_CRON, name: cron }).await.ok().flatten()
            }
            None => None,
        };
        Ok(Ok(Found { image, size, outdated: outdated.as_ref().and_then(image::outdated) }))
    }

    fn done(&self, what: &str, found: &Found) -> Done {
        let Found { image: Image { kind, namespace, name }, size, outdated } = found;
        let result = |name, value: &str| self.context.result(name, value);
        result(IMAGE_SOURCE, &format!("{namespace}/{name}"));
        result(IMAGE_KIND, kind.word());
        result(IMAGE_SIZE, size);
        let size = if size.is_empty() { String::new() } else { format!(", {size}") };
        let newer = outdated.as_ref().map_or_else(String::new, |words| {
            tracing::warn!("{what} is about to get a newer image: {words}");
            format!("; a newer one is on its way: {words}")
        });
        Done::new(format!("{what} means {} `{namespace}/{name}`{size}{newer}", kind.word()))
    }
}

/// Why there is no image.
enum Missing {
    /// There may be one soon.
    Pending(String),
    /// There will be none.
    Hopeless(String),
}
