//! What is expected: flags first, then the request.

use std::path::Path;

use cluster::Name;
use step::{Failure, Kind};
use vm::day_two;
use vm::name::{Label, Subdomain};
use vm::quantity::Quantity;
use vm::request::{Accepted, Compute, Role};

use crate::probe::Http;
use crate::{Args, Until};

/// Everything that is expected of one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Wanted {
    pub(crate) stopped: bool,
    pub(crate) disks_only: bool,
    pub(crate) allow_delete: bool,
    pub(crate) cpu: Option<u32>,
    pub(crate) memory: Option<Quantity>,
    pub(crate) instance_type: Option<Subdomain>,
    pub(crate) boot_claim: Option<Subdomain>,
    pub(crate) claims: Vec<String>,
    pub(crate) node: Option<Subdomain>,
    pub(crate) hostname: Option<Label>,
    pub(crate) guest_agent: bool,
    pub(crate) ip: bool,
    pub(crate) tcp_port: Option<u16>,
    pub(crate) ssh_port: Option<u16>,
    pub(crate) http: Option<Http>,
}

impl Wanted {
    /// By the flags, and by the request file if one is named; and which machine it is about.
    pub(crate) fn new(args: &Args) -> Result<(Self, Name), Failure> {
        let mut wanted = Self::flags(args);
        let mut vm = args.vm.clone();
        if let Some(path) = &args.request_file {
            let request = read(path, args)?;
            let target = request.target();
            // both are names already
            vm = vm.or_else(|| format!("{}/{}", target.namespace, target.name).parse().ok());
            wanted.fill(&request);
        }
        let vm = vm.ok_or_else(|| {
            Failure::new(Kind::Usage, "neither `--vm` nor `--request-file` says which machine")
        })?;
        Ok((wanted, vm))
    }

    fn flags(args: &Args) -> Self {
        Self {
            stopped: args.until == Until::Stopped,
            disks_only: args.disks_only,
            allow_delete: args.allow_delete,
            cpu: args.expect_cpu,
            memory: args.expect_memory,
            instance_type: args.expect_instance_type.clone(),
            boot_claim: args.expect_boot_claim.clone(),
            claims: args.expect_claims.iter().map(ToString::to_string).collect(),
            node: args.expect_node.clone(),
            hostname: args.expect_hostname.clone(),
            guest_agent: args.require_guest_agent,
            ip: args.require_ip,
            tcp_port: args.require_tcp_port,
            ssh_port: args.require_ssh_port,
            http: args.require_http.clone(),
        }
    }

    /// Where no flag says otherwise. The boot disk is not taken from the request that made the machine: repaves change it.
    fn fill(&mut self, request: &Accepted) {
        match request {
            Accepted::Provision(request) => {
                let Compute { instance_type, cpu, memory, .. } = &request.spec.compute;
                self.compute(*cpu, *memory, instance_type.as_ref());
                let name = request.spec.customization.hostname.as_ref();
                self.hostname = self.hostname.take().or_else(|| name.cloned());
                if self.claims.is_empty() {
                    let data = request.spec.disks.iter().filter(|d| d.role == Role::Data);
                    self.claims = data.map(|d| request.volume(d.name.as_str())).collect();
                }
            }
            Accepted::DayTwo(request) => match &request.spec.operation {
                day_two::Operation::Resize(day_two::Resize { compute: Some(new), .. }) => {
                    self.compute(new.cpu, new.memory, new.instance_type.as_ref());
                }
                day_two::Operation::Deprovision(day_two::Deprovision { disks, .. }) => {
                    self.allow_delete |= *disks == day_two::DataDisks::Delete;
                }
                _ => {}
            },
        }
        if let Some(checks) = request.checks() {
            self.guest_agent |= checks.guest_agent;
            self.ip |= checks.ip;
            self.tcp_port = self.tcp_port.or(checks.tcp_port);
        }
    }

    fn compute(&mut self, cpu: Option<u16>, memory: Option<Quantity>, instance_type: Option<&Subdomain>) {
        self.cpu = self.cpu.or(cpu.map(u32::from));
        self.memory = self.memory.or(memory);
        self.instance_type = self.instance_type.take().or_else(|| instance_type.cloned());
    }
}

fn read(path: &Path, args: &Args) -> Result<Accepted, Failure> {
    let what = || format!("cannot use request file `{}`", path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(Kind::Usage, format!("{}: {error}", what())))?;
    let request = Accepted::parse(&text).map_err(|problem| {
        Failure::new(Kind::Usage, format!("{}: {problem}", what()))
            .hint("give the file that `validate-request` wrote")
    })?;
    let target = request.target();
    let Some(vm) = &args.vm else { return Ok(request) };
    if (target.namespace.as_str(), target.name.as_str()) == (vm.namespace(), vm.name()) {
        return Ok(request);
    }
    let other = format!("it is about `{}/{}`, not about `{vm}`", target.namespace, target.name);
    Err(Failure::new(Kind::Usage, format!("{}: {other}", what())))
}
