//! Requests that wait at the door until a test lets them in: so the order of everything that the repository sees is the test's.

use std::sync::Mutex;

use tokio::sync::oneshot;

use super::{On, lock};

/// Open, and everybody goes through, or closed, with those who wait.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Option<Vec<Waiting>>>);

#[derive(Debug)]
struct Waiting {
    user: String,
    on: On,
    enter: oneshot::Sender<()>,
}

impl Gate {
    pub(super) fn close(&self) {
        lock(&self.0).get_or_insert_default();
    }

    /// Come to the gate, and wait there if it is closed.
    pub(super) async fn pass(&self, user: String, on: On) {
        let (enter, entered) = oneshot::channel();
        match &mut *lock(&self.0) {
            None => return,
            Some(waiting) => waiting.push(Waiting { user, on, enter }),
        }
        // the other end is only ever used or kept
        let _ = entered.await;
    }

    pub(super) fn waiting(&self) -> Vec<(String, On)> {
        lock(&self.0).iter().flatten().map(|one| (one.user.clone(), one.on)).collect()
    }

    pub(super) fn let_in(&self, user: &str) {
        for one in lock(&self.0).iter_mut().flat_map(|waiting| waiting.extract_if(.., |one| one.user == user))
        {
            // a client that has gone away needs no leave
            let _ = one.enter.send(());
        }
    }
}
