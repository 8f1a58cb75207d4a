//! A file of commands for virt-customize, read only for what may not be printed.
//!
//! virt-customize prints what it does, of some commands with the whole argument (`Running: …`), and what failed it prints again.
//! Arguments may hold secrets (a token in a command line, a password), so what could be one is taken out of the output. Syntax:
//! virt-customize(1), `--commands-from-file`: one command a line, `#` begins a comment line, a backslash at the end of a line
//! goes on with the next.

/// Commands whose argument is a command line: of it only the first word is printed.
const SHELL: [&str; 2] = ["run-command", "firstboot-command"];
/// Commands with a selector that ends in `password:SECRET`.
const PASSWORD: [&str; 3] = ["password", "root-password", "sm-credentials"];
/// Commands with `FILE:CONTENT`.
const CONTENT: [&str; 3] = ["write", "append-line", "edit"];
/// virt-customize tells the passwords that it makes up.
const MADE_UP: &str = "Setting random password of ";
/// Shorter texts occur by chance.
const SHORTEST: usize = 3;

/// What is hidden in output: texts, and what is printed instead.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Hidden(Vec<(String, String)>);

impl Hidden {
    /// What this file of commands holds.
    pub(crate) fn of(commands: &str) -> Self {
        let joined = commands.replace("\\\n", "");
        let mut hidden: Vec<(String, String)> = joined.lines().filter_map(secret).collect();
        hidden.retain(|(text, _)| text.len() >= SHORTEST);
        // one may hold another
        hidden.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        Self(hidden)
    }

    /// The line without them.
    pub(crate) fn hide(&self, line: &str) -> String {
        let line = self.0.iter().fold(line.to_owned(), |line, (text, shown)| line.replace(text, shown));
        match line.split_once(MADE_UP).and_then(|(before, rest)| Some((before, rest.split_once(" to ")?.0))) {
            Some((before, user)) => format!("{before}{MADE_UP}{user} to …"),
            None => line,
        }
    }
}

/// Whether a file of commands has any.
pub(crate) fn any(commands: &str) -> bool {
    commands.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What a line holds that may not be printed, and what is printed instead.
fn secret(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let (command, argument) = line.split_once([' ', '\t'])?;
    let argument = argument.trim();
    let command = command.trim_start_matches("--");
    if SHELL.contains(&command) {
        let first = argument.split_whitespace().next()?;
        (first != argument).then(|| (argument.to_owned(), format!("{first} …")))
    } else if PASSWORD.contains(&command) {
        let (_, password) = argument.split_once("password:")?;
        Some((password.to_owned(), "…".to_owned()))
    } else if CONTENT.contains(&command) {
        let (_, content) = argument.split_once(':')?;
        Some((content.trim().to_owned(), "…".to_owned()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Hidden, any};

    const PROFILE: &str = "# monthly\n\nupdate\nroot-password password:hunter22\npassword jane:locked:password:s3cret pw\n\
        run-command subscription-manager register --org 1 \\\n  --activationkey abc-def\nrun-command sync\n\
        write /etc/token:t0ken-value\nsm-credentials admin:password:letmein\nroot-password random\n";

    #[test]
    fn what_may_be_a_secret_is_not_printed() {
        let hidden = Hidden::of(PROFILE);
        for (line, shown) in [
            (
                "[   3.1] Running: subscription-manager register --org 1   --activationkey abc-def",
                "[   3.1] Running: subscription-manager …",
            ),
            ("[   3.2] Running: sync", "[   3.2] Running: sync"),
            (
                "virt-customize: error: subscription-manager register --org 1   --activationkey abc-def: exited with status 1",
                "virt-customize: error: subscription-manager …: exited with status 1",
            ),
            ("got hunter22 and s3cret pw", "got … and …"),
            ("[ 4.0] Writing: /etc/token t0ken-value", "[ 4.0] Writing: /etc/token …"),
            (
                "virt-customize: Setting random password of root to Wx9kd7",
                "virt-customize: Setting random password of root to …",
            ),
            ("[   1.0] Setting passwords", "[   1.0] Setting passwords"),
            ("letmein", "…"),
        ] {
            assert_eq!(hidden.hide(line), shown);
        }
    }

    #[test]
    fn a_file_of_comments_holds_no_command() {
        assert!(any(PROFILE) && any("update"));
        assert!(!any("") && !any("# update\n\n   \n"));
    }
}
