//! What the guest runs, and what it answers.
//!
//! The command line is a constant of this file with a request id, a path, a length and a digest as arguments, each of letters that no
//! shell acts on. The profile goes over standard input. POSIX sh and coreutils or busybox; `setsid` where there is one.

use std::fmt;
use std::str::FromStr;

use vm::name::RequestId;

use crate::Become;

/// Before each line that is meant for us; a login shell may print whatever it likes before it.
const MARK: &str = "::vm-lifecycle ";
/// So many of the last lines go into the log.
const LINES: usize = 20;

/// Tells how far it is: `$1` the request's id, `$2` the folder. A boot id other than that of the beginning means that the guest was
/// started anew. What ended between two looks is looked at once more.
const LOOK: &str = r#"
umask 077
state=$2/$1
say() { echo "::vm-lifecycle $*"; }
ended() { [ -s "$state/done" ] && read -r code < "$state/done" && say done "$code"; }
look() {
  [ -d "$state/begun" ] || { say none; return; }
  boot= pid= digest= now=
  [ -s "$state/begun/by" ] && read -r boot pid digest < "$state/begun/by"
  read -r now < /proc/sys/kernel/random/boot_id
  [ -z "$digest" ] || say request "$digest"
  if ended; then :
  elif [ -z "$boot" ]; then say starting
  elif [ "$boot" != "$now" ]; then say rebooted
  elif kill -0 "$pid" 2>/dev/null; then say running
  elif ended; then :
  else say gone
  fi
  [ ! -e "$state/output" ] || tail -c 8192 "$state/output"
}
"#;

/// Takes the profile from standard input, whole or not at all (`$3` bytes), and leaves it to a process of its own (`$5`, with
/// the request's digest `$4`), which outlives this connection.
const START: &str = r#"
mkdir -p "$state" || { say cannot; exit; }
new=$state/new.$$
cat > "$new" || { rm -f "$new"; say cannot; exit; }
if [ "$(wc -c < "$new")" -ne "$3" ]; then rm -f "$new"; say cut; exit; fi
detach=$(command -v setsid || command -v nohup)
$detach /bin/sh -c "$5" patch-guest "$state" "$new" "$4" </dev/null >/dev/null 2>&1 &
tries=0
while [ ! -e "$state/begun/by" ] && [ $tries -lt 10 ]; do sleep 0.1 2>/dev/null || sleep 1; tries=$((tries + 1)); done
look
"#;

/// The process of its own: `$1` the folder of the request, `$2` the profile, `$3` the digest. Making the folder `begun` is the one
/// thing that only one can do, and it is on the disk before the profile begins.
const RUN: &str = r#"
umask 077
mkdir "$1/begun" 2>/dev/null || { rm -f "$2"; exit 0; }
mv "$2" "$1/script" && read -r boot < /proc/sys/kernel/random/boot_id || exit 1
echo "$boot $$ $3" > "$1/by.new" && mv "$1/by.new" "$1/begun/by" && sync || exit 1
cd /
(umask 022; exec /bin/sh "$1/script") < /dev/null > "$1/output" 2>&1
code=$?
sync
echo "$code" > "$1/done.new" && mv "$1/done.new" "$1/done" && sync
rm -f "$1/script"
"#;

/// A folder of the guest, from its root: letters, digits, `.`, `_`, `-` and `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDirectory(String);

impl FromStr for StateDirectory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
        let up = text.split('/').any(|part| part == "..");
        if text.starts_with('/') && text.len() <= 200 && text.bytes().all(safe) && !up {
            Ok(Self(text.trim_end_matches('/').to_owned()))
        } else {
            Err("expected a path from the root of letters, digits, `.`, `_`, `-` and `/`".to_owned())
        }
    }
}

impl fmt::Display for StateDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is asked of the guest, again and again.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    pub(crate) look: String,
    pub(crate) start: String,
}

impl Commands {
    pub(crate) fn new(
        becomes: Become,
        id: &RequestId,
        folder: &StateDirectory,
        length: usize,
        digest: &str,
    ) -> Self {
        let root = match becomes {
            Become::Sudo => "sudo -n -- ",
            Become::None => "",
        };
        let about = format!("patch-guest '{id}' '{folder}'");
        Self {
            look: format!("{root}/bin/sh -c '{LOOK}look' {about}"),
            start: format!("{root}/bin/sh -c '{LOOK}{START}' {about} {length} '{digest}' '{RUN}'"),
        }
    }
}

/// How far the guest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing of this request was ever begun.
    None,
    /// It begins, or was ended while it began.
    Starting,
    Running,
    /// With this exit status.
    Done(i32),
    /// The guest was started anew in the midst.
    Rebooted,
    /// The process is no longer there, and nobody wrote how it ended.
    Gone,
    /// The profile did not arrive whole: nothing was begun.
    Cut,
    /// The folder cannot be written to.
    Cannot,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) state: State,
    /// The digest of the request that was begun; empty where that is not known.
    pub(crate) digest: String,
    /// The last lines of what came with it, each printable and short.
    pub(crate) lines: Vec<String>,
}

impl Answer {
    /// None if this is not an answer to what was asked.
    pub(crate) fn read(said: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(said);
        let mut digest = String::new();
        let mut state = None;
        let mut rest = Vec::new();
        for line in text.split('\n') {
            // what the profile prints comes after our state, and cannot change it
            match (line.strip_prefix(MARK), &state) {
                (Some(word), None) => match word.strip_prefix("request ") {
                    Some(of) => of.trim().clone_into(&mut digest),
                    None => state = Some(State::read(word.trim())?),
                },
                _ => rest.push(line),
            }
        }
        Some(Self { state: state?, digest, lines: last(&rest) })
    }

    /// The last line; empty if there is none.
    pub(crate) fn last(&self) -> &str {
        self.lines.last().map_or("", String::as_str)
    }
}

/// The last lines of this, printable.
pub(crate) fn last(lines: &[&str]) -> Vec<String> {
    let lines = lines.iter().map(|line| {
        // progress bars begin each state anew by a carriage return; the last state is the line
        let shown = line.trim_end().rsplit('\r').next().unwrap_or_default();
        let plain: String = shown.chars().filter(|c| *c == '\t' || !vm::name::is_unprintable(*c)).collect();
        step::one_line(&plain, 300)
    });
    let mut lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
    lines.split_off(lines.len().saturating_sub(LINES))
}

impl State {
    fn read(word: &str) -> Option<Self> {
        Some(match word {
            "none" => Self::None,
            "starting" => Self::Starting,
            "running" => Self::Running,
            "rebooted" => Self::Rebooted,
            "gone" => Self::Gone,
            "cut" => Self::Cut,
            "cannot" => Self::Cannot,
            _ => Self::Done(word.strip_prefix("done ")?.parse().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Commands, LOOK, RUN, START, State, StateDirectory};
    use crate::Become;

    #[test]
    fn the_command_line_is_constant_but_for_what_no_shell_acts_on() {
        for script in [LOOK, START, RUN] {
            assert!(!script.contains('\''), "it is put between these: {script}");
        }
        let folder: StateDirectory = "/var/lib/x/".parse().unwrap();
        let commands = Commands::new(Become::Sudo, &"REQ-1".parse().unwrap(), &folder, 12, "sha256:00");
        assert_eq!(
            commands.look,
            format!("sudo -n -- /bin/sh -c '{LOOK}look' patch-guest 'REQ-1' '/var/lib/x'")
        );
        let end = format!("{START}' patch-guest 'REQ-1' '/var/lib/x' 12 'sha256:00' '{RUN}'");
        assert!(commands.start.ends_with(&end));
        for bad in ["x", "", "/a b", "/a'b", "/a/../b", "/$x", "/a\n"] {
            assert!(bad.parse::<StateDirectory>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_profile_cannot_speak_for_us() {
        let said = b"Welcome\n::vm-lifecycle request sha256:1\n::vm-lifecycle done 3\n\x1b[31mred\x07\n::vm-lifecycle done 0\n\xff\xfe\nget\r 50%\r100%\n\n";
        let answer = Answer::read(said).unwrap();
        assert_eq!((answer.state.clone(), answer.digest.as_str()), (State::Done(3), "sha256:1"));
        assert_eq!(answer.lines, ["Welcome", "[31mred", "::vm-lifecycle done 0", "\u{fffd}\u{fffd}", "100%"]);
        assert_eq!(answer.last(), "100%");
        for said in
            [&b""[..], b"sudo: a password is required\n", b"::vm-lifecycle \n", b"::vm-lifecycle done x\n"]
        {
            assert_eq!(Answer::read(said), None, "{}", String::from_utf8_lossy(said));
        }
    }

    #[test]
    fn much_output_is_few_lines() {
        let said = format!("::vm-lifecycle running\n{}", "x".repeat(2000) + "\n" + &"line\n".repeat(50));
        let answer = Answer::read(said.as_bytes()).unwrap();
        assert_eq!((answer.state, answer.lines.len()), (State::Running, 20));
    }
}
