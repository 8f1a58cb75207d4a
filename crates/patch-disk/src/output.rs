//! What a program says, passed on line by line.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::commands::Hidden;

/// The longest line that is passed on, in bytes.
const LINE: usize = 1000;
/// So many of the last lines tell why a program failed.
const LAST: usize = 20;

/// The last lines, for the reason of a failure. Clones share them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_back(line);
        while lines.len() > LAST {
            lines.pop_front();
        }
    }

    /// The last lines that call themselves an error, else the very last one; joined, newest last.
    pub(crate) fn reason(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let errors: Vec<&str> = lines.iter().filter(|l| l.contains("error:")).map(String::as_str).collect();
        match errors.as_slice() {
            [] => lines.back().cloned().unwrap_or_else(|| "it said nothing".to_owned()),
            [.., before, last] => format!("{before}; {last}"),
            [only] => (*only).to_owned(),
        }
    }
}

/// Pass on every line of this stream until it ends.
pub(crate) async fn pass_on(stream: impl AsyncRead + Unpin, hidden: Arc<Hidden>, tail: Tail) {
    let mut stream = BufReader::new(stream);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match stream.read_until(b'\n', &mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        // progress bars begin each state anew by a carriage return; the last state is the line
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end().rsplit('\r').next().unwrap_or_default();
        let line = step::one_line(&hidden.hide(text), LINE);
        if !line.is_empty() {
            tracing::info!("{line}");
            tail.push(line);
        }
    }
}
