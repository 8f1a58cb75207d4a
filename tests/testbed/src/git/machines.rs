//! Repositories with many machines, made in a moment.

use std::fmt::Write as _;

use anyhow::Result;

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
        let mut commit =
            "commit refs/heads/main\ncommitter somebody <somebody@example.org> 1700000000 +0000\ndata 9\nmachines\n\n".to_owned();
        for n in 0..machines {
            for file in FILES {
                let content =
                    format!("name: {n}\nid: {:x}\n", (n + file.len()).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let (folder, length) = (Self::machine(n), content.len());
                writeln!(commit, "M 100644 inline {folder}/{file}.yaml\ndata {length}\n{content}")?;
            }
        }
        self.run(&["fast-import", "--quiet", "--force"], &[], commit.as_bytes())?;
        let (tip, mut refs) = (self.tip()?, String::new());
        for n in 0..branches {
            writeln!(refs, "create refs/heads/vm-request/{n} {tip}")?;
        }
        self.run(&["update-ref", "--stdin"], &[], refs.as_bytes())?;
        self.git(&["pack-refs", "--all"]).map(drop)
    }
}
