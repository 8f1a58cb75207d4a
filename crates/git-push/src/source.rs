//! The folder whose files are committed.

use std::fs;
use std::path::Path;

use gitops::{File, FilePath};
use step::{Failure, Kind};

/// The most files, and the most bytes in all of them: as much as is read of one folder of the repository, so that a machine
/// whose files were fetched can be moved with all of them.
const FILES: usize = 5000;
const BYTES: u64 = 8 * 1024 * 1024;

/// Every file below `folder`, sorted by path. Only regular files and folders may be there.
pub(crate) fn read(folder: &Path) -> Result<Vec<File>, Failure> {
    let mut files = Vec::new();
    let mut room = BYTES;
    // the folder itself may be a link: volumes are mounted so
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let cannot = |error: std::io::Error| wrong(&folder, &error.to_string());
        for entry in fs::read_dir(&folder).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            let (place, kind) = (entry.path(), entry.file_type().map_err(cannot)?);
            let name = entry.file_name().into_string().map_err(|_| wrong(&place, "its name is not UTF-8"))?;
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            let checked: FilePath = path.parse().map_err(|why| wrong(&place, why))?;
            if kind.is_dir() {
                folders.push((place, path));
                continue;
            }
            if !kind.is_file() {
                return Err(wrong(&place, "it is neither a regular file nor a folder"));
            }
            if files.len() == FILES {
                return Err(wrong(&place, "there are more than 5000 files"));
            }
            let size = entry.metadata().map_err(cannot)?.len();
            room = room.checked_sub(size).ok_or_else(|| wrong(&place, "the files have more than 8 MiB"))?;
            let bytes = fs::read(&place).map_err(|error| wrong(&place, &error.to_string()))?;
            files.push(File { path: checked, bytes });
        }
    }
    if files.is_empty() {
        return Err(wrong(folder, "there is no file in it"));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn wrong(place: &Path, why: &str) -> Failure {
    Failure::new(Kind::Usage, format!("cannot commit `{}`: {why}", place.display()))
        .hint("`--source` names a folder with the files to commit and nothing else")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::read;

    fn refused(make: impl FnOnce(&std::path::Path)) -> String {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path());
        let failure = read(folder.path()).unwrap_err();
        failure.message().replace(folder.path().to_str().unwrap(), "DIR")
    }

    #[test]
    fn files_come_sorted_by_path() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("b/c")).unwrap();
        for name in ["b/c/2", "a", "b/1"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let files: Vec<_> =
            read(folder.path()).unwrap().into_iter().map(|f| (f.path.to_string(), f.bytes)).collect();
        let wanted = ["a", "b/1", "b/c/2"].map(|name| (name.to_owned(), name.as_bytes().to_owned()));
        assert_eq!(files, wanted);
    }

    #[test]
    fn anything_but_files_and_folders_is_refused() {
        assert_eq!(refused(|_| ()), "cannot commit `DIR`: there is no file in it");
        assert_eq!(
            refused(|dir| symlink("/etc/passwd", dir.join("link")).unwrap()),
            "cannot commit `DIR/link`: it is neither a regular file nor a folder"
        );
        assert_eq!(
            refused(|dir| symlink("/etc", dir.join("link")).unwrap()),
            "cannot commit `DIR/link`: it is neither a regular file nor a folder"
        );
        assert_eq!(
            refused(|dir| std::fs::create_dir(dir.join(".git")).unwrap()),
            "cannot commit `DIR/.git`: no part of a path begins with `.git`"
        );
        assert_eq!(
            refused(|dir| std::fs::write(dir.join("a b"), "").unwrap()),
            "cannot commit `DIR/a b`: a path has no characters but `A-Z a-z 0-9 . _ - /`"
        );
    }

    #[test]
    fn size_and_number_are_limited() {
        let many =
            refused(|dir| (0..5001).for_each(|n| std::fs::write(dir.join(n.to_string()), "").unwrap()));
        assert!(many.ends_with(": there are more than 5000 files"), "{many}");
        let large = refused(|dir| std::fs::write(dir.join("large"), vec![0; 8 * 1024 * 1024 + 1]).unwrap());
        assert_eq!(large, "cannot commit `DIR/large`: the files have more than 8 MiB");
    }
}
