//! The proxy between git's own client and both servers.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::{After, Doors, Ending, Fault, Loss, Over};

/// A clone that was made without the proxy, with a commit of its own.
fn clone(doors: &Doors, folder: &Path, over: Over) {
    let server = doors.server.url_with_credentials();
    let url = doors.url(over).unwrap();
    for arguments in [
        &["clone", "--quiet", &server, "."][..],
        &["config", "user.name", "somebody"],
        &["config", "user.email", "somebody@example.org"],
        &["remote", "set-url", "origin", &url],
        &["commit", "--quiet", "--allow-empty", "-m", "second"],
    ] {
        assert!(git(folder, arguments).status().unwrap().success(), "{arguments:?}");
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(folder).env("GIT_TERMINAL_PROMPT", "0");
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command
}

fn push(doors: &Doors, folder: &Path) -> Child {
    let mut command = git(folder, &["push", "--quiet"]);
    command.env("GIT_SSH_COMMAND", doors.ssh_command()).stderr(std::process::Stdio::null());
    command.spawn().unwrap()
}

/// Whether a push says that all is well; one that comes to no end once `ready` holds is ended here, and does not.
fn is_acknowledged(doors: &Doors, folder: &Path, ready: impl Fn() -> bool) -> bool {
    let (mut child, start) = (push(doors, folder), Instant::now());
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        assert!(start.elapsed() < Duration::from_mins(5), "neither an end nor a fault");
        if ready() {
            child.kill().unwrap();
            child.wait().unwrap();
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn every_loss_hides_an_accepted_push() {
    for over in Over::ALL {
        for loss in Loss::ALL {
            let (doors, folder) = (Doors::open().await.unwrap(), tempfile::tempdir().unwrap());
            clone(&doors, folder.path(), over);
            doors.proxy.lose(loss);
            let silent = || loss == Loss::Silence && doors.proxy.met().losses == 1;
            assert!(!is_acknowledged(&doors, folder.path(), silent), "{over:?} {loss:?}");
            assert_eq!(doors.server.git().log().unwrap().len(), 2, "{over:?} {loss:?}");
            assert_eq!((doors.proxy.left(), doors.proxy.met().losses), (0, 1), "{over:?} {loss:?}");
            doors.server.git().fsck().unwrap();
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_early_moves_nothing() {
    let cut = [
        (After::Up(0), Ending::Close),
        (After::Up(0), Ending::Reset),
        (After::Up(100), Ending::Reset),
        (After::Down(0), Ending::Close),
        (After::Down(10), Ending::Close),
        (After::Down(100), Ending::Silence),
    ];
    for over in Over::ALL {
        let (doors, folder) = (Doors::open().await.unwrap(), tempfile::tempdir().unwrap());
        clone(&doors, folder.path(), over);
        for (after, ending) in cut {
            // git sends a request again where a connection it had used before is reset
            (0..2).for_each(|_| doors.proxy.fault(Some(Fault::Cut(after, ending))));
            let before = doors.proxy.met().faults;
            let silent = || ending == Ending::Silence && doors.proxy.met().faults > before;
            assert!(!is_acknowledged(&doors, folder.path(), silent), "{over:?} {after:?} {ending:?}");
            assert_eq!(doors.server.git().log().unwrap().len(), 1, "{over:?} {after:?} {ending:?}");
            doors.proxy.forget();
        }
        doors.proxy.fault(Some(Fault::Late(Duration::from_millis(50))));
        assert!(is_acknowledged(&doors, folder.path(), || false), "{over:?}");
        assert_eq!((doors.server.git().log().unwrap().len(), doors.proxy.left()), (2, 0), "{over:?}");
    }
}

/// The proxy and the hook are in nobody's way.
#[tokio::test]
async fn without_a_fault_everything_arrives() {
    for over in Over::ALL {
        let (doors, folder) = (Doors::open().await.unwrap(), tempfile::tempdir().unwrap());
        clone(&doors, folder.path(), over);
        assert!(is_acknowledged(&doors, folder.path(), || false), "{over:?}");
        let met = doors.proxy.met();
        assert_eq!((doors.server.git().log().unwrap().len(), met.faults, met.losses), (2, 0, 0), "{over:?}");
        assert!(met.connections > 0);
    }
}

#[tokio::test]
async fn a_drip_is_one_byte_a_second() {
    let doors = Doors::open().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let door = doors.proxy.before(listener.local_addr().unwrap()).unwrap();
    doors.proxy.fault(Some(Fault::Drip));
    let (mut client, start) = (TcpStream::connect(door).unwrap(), Instant::now());
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"abc").unwrap();
    drop(server);
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, "abc");
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
}
