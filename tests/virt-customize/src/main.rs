//! A stand-in for virt-customize, for `cargo xtask e2e` alone: no appliance is started and no file system is read. It takes the
//! arguments of patch-disk, looks for the KVM device as libguestfs does, and leaves a mark in the disk; the command
//! `run-command false` leaves half of one and fails. Everything around it is real there: the pod, its user, its volume, its device node.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::process::ExitCode;

/// Where the marks of e2e are, in bytes from the disk's beginning.
const PLACE: u64 = 40 << 20;

fn main() -> ExitCode {
    match patch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("virt-customize: error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn patch() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |flag: &str| {
        let found = arguments.iter().position(|a| a == flag).and_then(|at| arguments.get(at + 1));
        found.ok_or_else(|| io::Error::other(format!("{flag} is missing")))
    };
    let commands = fs::read_to_string(after("--commands-from-file")?)?;
    fs::symlink_metadata("/dev/kvm").map_err(|error| format!("the pod has no /dev/kvm: {error}"))?;
    // whom the node lets use it is the node's affair; libguestfs emulates where it may not
    let usable = OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    println!("[   0.0] /dev/kvm is there, and {}", if usable { "usable" } else { "not usable" });
    let disk = OpenOptions::new().write(true).open(after("--add")?)?;
    let fails = commands.lines().any(|line| line.trim() == "run-command false");
    let mut mark = [0; 16];
    let word: &[u8] = if fails { b"half" } else { b"patched" };
    mark.iter_mut().zip(word).for_each(|(to, from)| *to = *from);
    disk.write_all_at(&mark, PLACE)?;
    disk.sync_all()?;
    if fails {
        return Err("false: command exited with an error".into());
    }
    println!("[   0.0] Finishing off");
    Ok(())
}
