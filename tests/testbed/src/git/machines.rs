//! Repositories with many machines, made in a moment.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::Repository;

/// Namespaces that machines are spread over.
const NAMESPACES: usize = 100;
const FILES: [&str; 5] = ["request", "virtual-machine", "data-volume", "cloud-init", "kustomization"];

impl Repository {
    /// The folder of the machine of this number, as [`Repository::fill`] makes it.
    pub fn machine(n: usize) -> String {
        format!("vms/in-cluster/team-{}/vm-{}", n % NAMESPACES, n / NAMESPACES)
    }

    /// One commit with five files for each of so many machines, in a hundred namespaces, and so many more branches there.
    pub fn fill(&self, machines: usize, branches: usize) -> Result<()> {
        let mut git = Command::new("git")
            .args(["fast-import", "--quiet", "--force"])
            .current_dir(self.path())
            .stdin(Stdio::piped())
            .spawn()?;
        let mut to = std::io::BufWriter::new(git.stdin.take().context("it has no input")?);
        write!(
            to,
            "commit refs/heads/main\ncommitter somebody <somebody@example.org> 1700000000 +0000\ndata 9\nmachines\n\n"
        )?;
        for n in 0..machines {
            for file in FILES {
                let content =
                    format!("name: {n}\nid: {:x}\n", (n + file.len()).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                write!(
                    to,
                    "M 100644 inline {}/{file}.yaml\ndata {}\n{content}\n",
                    Self::machine(n),
                    content.len()
                )?;
            }
        }
        to.flush()?;
        drop(to);
        ensure!(git.wait()?.success(), "git fast-import has failed");
        let tip = self.tip()?;
        let mut git = Command::new("git")
            .args(["update-ref", "--stdin"])
            .current_dir(self.path())
            .stdin(Stdio::piped())
            .spawn()?;
        let mut to = std::io::BufWriter::new(git.stdin.take().context("it has no input")?);
        for n in 0..branches {
            writeln!(to, "create refs/heads/vm-request/{n} {tip}")?;
        }
        to.flush()?;
        drop(to);
        ensure!(git.wait()?.success(), "git update-ref has failed");
        self.git(&["pack-refs", "--all"]).map(drop)
    }
}
