//! `renders NUMBER FOLDER`: check so many requests, those of the folder in turn, then render them on all processors, and print the
//! microseconds that both took, and how many files came of it.
//!
//! A request lies as `<name>.yaml` or `.json`, its policy beside it as `<name>.policy.yaml`.
#![expect(clippy::print_stdout, reason = "what it measures is its product")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use render_vm::{Site, Templates, render};
use validate_request::Checker;
use vm::document::Form;
use vm::policy::Policy;
use vm::request::{Accepted, Request};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let number: usize = arguments.next().context("how many?")?.parse()?;
    let folder = arguments.next().context("of which folder?")?;
    let checker = Checker::new().map_err(|failure| anyhow!("{failure}"))?;
    let templates = Templates::new()?;
    let requests = read(&checker, Path::new(&folder))?;
    let (all, start) = (requests.iter().cycle().take(number), Instant::now());
    let accepted = all.map(|(name, (bytes, policy))| {
        let verdict = checker.check(bytes, Form::Any, policy).map_err(|failure| anyhow!("{failure}"))?;
        match verdict.request {
            Some(Accepted::Provision(request)) => Ok(request),
            _ => Err(anyhow!("`{name}` is not accepted")),
        }
    });
    let accepted: Vec<Request> = accepted.collect::<Result<_>>()?;
    let (checks, start) = (start.elapsed(), Instant::now());
    let threads = std::thread::available_parallelism()?.get();
    let files = std::thread::scope(|scope| {
        let parts = accepted.chunks(accepted.len().div_ceil(threads).max(1));
        let workers: Vec<_> = parts.map(|part| scope.spawn(|| files(&templates, part))).collect();
        let counts =
            workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a thread has panicked"))?);
        counts.sum::<Result<usize>>()
    })?;
    println!("{} {} {files}", checks.as_micros(), start.elapsed().as_micros());
    Ok(())
}

/// How many files these become.
fn files(templates: &Templates, requests: &[Request]) -> Result<usize> {
    let site = Site::new("https://git.example/vms.git");
    requests.iter().map(|request| Ok(render(templates, request, &site)?.len())).sum()
}

type Requests = BTreeMap<String, (Vec<u8>, Policy)>;

fn read(checker: &Checker, folder: &Path) -> Result<Requests> {
    let mut requests = Requests::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((stem, "yaml" | "json")) = name.rsplit_once('.') else { continue };
        if stem.ends_with(".policy") || stem.ends_with(".accepted") {
            continue;
        }
        let policy = match fs::read(folder.join(format!("{stem}.policy.yaml"))) {
            Ok(bytes) => checker.policy(&bytes).map_err(|problems| anyhow!("{stem}: {problems:?}"))?,
            Err(_) => Policy::default(),
        };
        requests.insert(name, (fs::read(&path)?, policy));
    }
    ensure!(!requests.is_empty(), "no request in `{}`", folder.display());
    Ok(requests)
}
