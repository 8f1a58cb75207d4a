//! A connection that ends anywhere on its way, over HTTP and SSH.

use testbed::git::history::History;
use testbed::proxy::{After, Doors, Ending, Fault, Over};

use crate::support::Case;

/// What the handshakes and a small exchange of either transport take, each way.
const BYTES: u64 = 4500;

/// `CUTS` places on the way up and as many on the way down, 5 unless set: the first connection of a push ends there, and the
/// push is made all the same, once.
async fn survives(over: Over) {
    let cuts: u64 = std::env::var("CUTS").map_or(5, |cuts| cuts.parse().unwrap());
    let doors = Doors::open().await.unwrap();
    let history = History::begin(doors.server.git()).unwrap();
    let flags = doors.flags(over).unwrap();
    for n in 0..cuts * 2 {
        let bytes = n / 2 * BYTES / cuts;
        let after = if n % 2 == 0 { After::Up(bytes) } else { After::Down(bytes) };
        let ending = if n % 4 < 2 { Ending::Reset } else { Ending::Close };
        let case = Case::new(&doors.server, &format!("r-{n}"), &format!("vm-{n}"), 1);
        doors.proxy.fault(Some(Fault::Cut(after, ending)));
        let ended = case.end("results", case.bare("results", &[]).args(&flags));
        assert_eq!(ended.code, 0, "{over:?}, {after:?}, {ending:?}: {}", ended.stderr);
        history.ran(case.told(None, &ended));
        assert_eq!(doors.proxy.left(), 0);
    }
    assert_eq!(history.check().unwrap(), []);
    assert_eq!(doors.proxy.met().faults, cuts * 2);
}

#[tokio::test]
async fn over_http_it_is_tried_again() {
    survives(Over::Http).await;
}

#[tokio::test]
async fn over_ssh_it_is_tried_again() {
    survives(Over::Ssh).await;
}
