//! What the last stage of the Containerfile says, as far as an image without a base needs it.

use anyhow::{Context as _, Result, bail};

/// The last stage.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stage {
    /// `LABEL`, in order.
    pub(crate) labels: Vec<(String, String)>,
    /// `ENV` as `NAME=value`, in order.
    pub(crate) environment: Vec<String>,
    /// `USER`.
    pub(crate) user: String,
    /// `COPY --from=build`.
    pub(crate) files: Vec<File>,
}

/// A file taken from the build stage.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Its path in the build stage.
    pub(crate) from: String,
    /// Its path in the image.
    pub(crate) to: String,
}

impl File {
    /// Whether these are the binaries: all that the build stage puts to `/out`.
    pub(crate) fn binaries(&self) -> bool {
        self.from == "/out/"
    }
}

/// Read the last stage. An instruction that would not be carried out is refused: the archive must never be another image
/// than the one that a container build makes.
pub(crate) fn last_stage(text: &str) -> Result<Stage> {
    let joined = text.replace("\\\n", " ");
    let lines: Vec<&str> =
        joined.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    let from = lines.iter().rposition(|l| l.starts_with("FROM ")).context("the Containerfile has no FROM")?;
    if lines[from] != "FROM scratch" {
        bail!("the last stage is `{}`; only `FROM scratch` can be built without pulling", lines[from]);
    }
    let mut stage = Stage::default();
    for line in &lines[from + 1..] {
        let (word, rest) = line.split_once(' ').with_context(|| format!("`{line}` is no instruction"))?;
        match word {
            "LABEL" => stage.labels.extend(pairs(rest)?),
            "ENV" => stage
                .environment
                .extend(pairs(rest)?.into_iter().map(|(name, value)| format!("{name}={value}"))),
            "USER" => rest.trim().clone_into(&mut stage.user),
            "COPY" => stage.files.push(copy(rest)?),
            _ => bail!("`{word}` in the last stage: `cargo xtask image` cannot do that"),
        }
    }
    Ok(stage)
}

/// `name="value" name="value"`: quotes are required and nothing is escaped.
fn pairs(mut rest: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    while !rest.trim_start().is_empty() {
        let pair = rest.trim_start().split_once("=\"").and_then(|(name, tail)| {
            let (value, tail) = tail.split_once('"')?;
            Some((name, value, tail))
        });
        let (name, value, tail) = pair.with_context(|| format!("expected name=\"value\" in `{rest}`"))?;
        found.push((name.to_owned(), value.to_owned()));
        rest = tail;
    }
    Ok(found)
}

fn copy(rest: &str) -> Result<File> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    match words[..] {
        ["--from=build", from, to] if to.starts_with('/') && to.ends_with('/') == (from == "/out/") => {
            Ok(File { from: from.to_owned(), to: to.to_owned() })
        }
        _ => bail!(
            "`COPY {rest}`: expected `--from=build`, `/out/` and a folder, or one file and its whole new path"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{File, Stage, last_stage};

    #[test]
    fn the_last_stage_is_read() {
        let text = "FROM a AS build\nRUN x\n\n# why\nFROM scratch\nLABEL a=\"b c\" \\\n  d=\"e\"\nENV PATH=\"/bin\"\n\
                    USER 65532:0\nCOPY --from=build /out/ /bin/\n";
        let file = File { from: "/out/".to_owned(), to: "/bin/".to_owned() };
        assert!(file.binaries());
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            last_stage(text).unwrap(),
            Stage {
                labels: vec![pair("a", "b c"), pair("d", "e")],
                environment: vec!["PATH=/bin".to_owned()],
                user: "65532:0".to_owned(),
                files: vec![file],
            }
        );
    }

    #[test]
    fn what_would_make_another_image_is_refused() {
        for (text, error) in [
            ("RUN x\n", "the Containerfile has no FROM"),
            ("FROM x\n", "the last stage is `FROM x`; only `FROM scratch` can be built without pulling"),
            ("FROM scratch\nRUN x\n", "`RUN` in the last stage: `cargo xtask image` cannot do that"),
            ("FROM scratch\nENV A=b\n", "expected name=\"value\" in `A=b`"),
            (
                "FROM scratch\nCOPY a b /c/\n",
                "`COPY a b /c/`: expected `--from=build`, `/out/` and a folder, or one file and its whole new path",
            ),
        ] {
            assert_eq!(last_stage(text).unwrap_err().to_string(), error);
        }
    }
}
