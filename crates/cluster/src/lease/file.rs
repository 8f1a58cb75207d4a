//! Which Lease it is, handed from one step to the next in one pod: the first finds out its name, and no param can carry that.

use std::path::Path;

use serde_json::{Value, json};
use step::{Failure, Kind};

use super::LeaseArgs;
use crate::object::Name;

impl LeaseArgs {
    /// The Lease and who holds it, by the flags or the file; none without either. A file that cannot be read is
    /// [`Kind::Usage`]: a step that was told of a Lease never works without it.
    pub fn named(&self) -> Result<Option<(Name, String)>, Failure> {
        match &self.lease_file {
            Some(path) => read(path).map(Some),
            None => Ok(self.lease.clone().zip(self.holder.clone())),
        }
    }
}

/// Write down for later steps of the pod which Lease is held, and by whom: `{"lease": "NAMESPACE/NAME", "holder": "ID"}`.
pub fn write_lease(path: &Path, lease: &Name, holder: &str) -> Result<(), Failure> {
    let text = json!({"lease": lease.to_string(), "holder": holder}).to_string();
    std::fs::write(path, text).map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot write lease file `{}`: {error}", path.display()))
    })
}

fn read(path: &Path) -> Result<(Name, String), Failure> {
    let cannot = |why: String| {
        Failure::new(Kind::Usage, format!("cannot use lease file `{}`: {why}", path.display()))
            .hint("`--lease-file` is the file that `lease-vm --lease-file` wrote")
    };
    let text = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
    let file: Value = serde_json::from_str(&text).map_err(|error| cannot(error.to_string()))?;
    let field = |name: &str| match file[name].as_str() {
        Some(value) if !value.is_empty() => Ok(value.to_owned()),
        _ => Err(cannot(format!("it has no `{name}`"))),
    };
    let lease = field("lease")?.parse().map_err(cannot)?;
    Ok((lease, field("holder")?))
}

#[cfg(test)]
mod tests {
    use super::{LeaseArgs, write_lease};

    #[test]
    fn a_file_stands_in_for_the_flags() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lease.json");
        let lease = "flows/c.n.web".parse().unwrap();
        write_lease(&path, &lease, "req-1").unwrap();
        let args = LeaseArgs { lease_file: Some(path.clone()), ..LeaseArgs::default() };
        assert_eq!(args.named(), Ok(Some((lease.clone(), "req-1".to_owned()))));
        let flags =
            LeaseArgs { lease: Some(lease), holder: Some("req-2".to_owned()), ..LeaseArgs::default() };
        assert_eq!(flags.named().unwrap().unwrap().1, "req-2");
        assert_eq!(LeaseArgs::default().named(), Ok(None));

        let shown = path.display();
        for (text, why) in [
            ("{}", "it has no `lease`"),
            (r#"{"lease": "flows/web", "holder": ""}"#, "it has no `holder`"),
            ("web", "expected value at line 1 column 1"),
        ] {
            std::fs::write(&path, text).unwrap();
            let refused = args.named().unwrap_err();
            assert_eq!(refused.message(), format!("cannot use lease file `{shown}`: {why}"));
        }
        std::fs::remove_file(&path).unwrap();
        let refused = args.named().unwrap_err();
        assert_eq!(
            refused.message(),
            format!("cannot use lease file `{shown}`: No such file or directory (os error 2)")
        );
        assert_eq!(refused.kind(), step::Kind::Usage);
    }
}
