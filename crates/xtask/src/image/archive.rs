//! An OCI image layout in a tar file (<https://github.com/opencontainers/image-spec>, v1.1): what `ctr images import`, `podman
//! load` and `skopeo copy oci-archive:` read.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::containerfile::Stage;

/// What goes into the image.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    /// Where the configuration comes from.
    pub(crate) stage: &'a Stage,
    /// Absolute path, mode and content of each file.
    pub(crate) files: Vec<(String, u32, Vec<u8>)>,
    /// Absolute path of each symbolic link, and what it says.
    pub(crate) links: Vec<(String, &'a str)>,
    /// As in the OCI specification, such as `amd64`.
    pub(crate) architecture: &'static str,
}

/// Write the archive; its size in bytes and the digest of the manifest, by which a registry names the image. The same image
/// gives the same bytes: entries are sorted, times are zero, nobody's name is in it.
pub(crate) fn write(image: &Image<'_>, name: &str, output: &Path) -> Result<(u64, String)> {
    let layer = layer(image)?;
    let stage = image.stage;
    let labels: serde_json::Map<String, Value> =
        stage.labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let config = json!({
        "architecture": image.architecture,
        "os": "linux",
        "config": {"User": stage.user, "Env": stage.environment, "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    let config = serde_json::to_vec(&config)?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        // not compressed: bytes stay the same whatever compressor there is, and registries' clients compress by themselves
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }))?;
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["platform"] = json!({"architecture": image.architecture, "os": "linux"});
    // containerd goes by the first, podman and skopeo by the second
    entry["annotations"] =
        json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name});
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    }))?;

    let file = File::create(output).with_context(|| format!("cannot create {}", output.display()))?;
    let mut tar = tar::Builder::new(file);
    append(&mut tar, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut tar, "index.json", 0o644, &index)?;
    let mut blobs = [&config, &manifest, &layer].map(|blob| (digest(blob).replace(':', "/"), blob));
    blobs.sort();
    for (path, blob) in blobs {
        append(&mut tar, &format!("blobs/{path}"), 0o644, blob)?;
    }
    let file = tar.into_inner()?;
    file.sync_all()?;
    Ok((file.metadata()?.len(), digest(&manifest)))
}

/// The one layer: folders first, then files, then links, each sorted.
fn layer(image: &Image<'_>) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let folders: BTreeSet<&Path> = image
        .files
        .iter()
        .flat_map(|(path, ..)| Path::new(path.trim_start_matches('/')).ancestors().skip(1))
        .filter(|folder| !folder.as_os_str().is_empty())
        .collect();
    for folder in folders {
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        tar.append_data(&mut header, folder, &[][..])?;
    }
    let mut files: Vec<_> = image.files.iter().collect();
    files.sort();
    for (path, mode, bytes) in files {
        append(&mut tar, path.trim_start_matches('/'), *mode, bytes)?;
    }
    let mut links: Vec<_> = image.links.iter().collect();
    links.sort();
    for (path, target) in links {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut header, path.trim_start_matches('/'), target)?;
    }
    Ok(tar.into_inner()?)
}

fn append(tar: &mut tar::Builder<impl std::io::Write>, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut header = header(tar::EntryType::Regular, mode, bytes.len());
    Ok(tar.append_data(&mut header, path, bytes)?)
}

/// A header without time, and of root.
fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

fn digest(bytes: &[u8]) -> String {
    let hex: Vec<String> = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{}", hex.concat())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::{Image, digest, write};
    use crate::image::containerfile::last_stage;

    /// The whole archive as `path: content` with the layer opened as well.
    fn contents(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap();
        entries
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                let header = entry.header();
                assert_eq!(
                    (header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()),
                    (0, 0, 0)
                );
                (format!("{} {:o}", entry.path().unwrap().display(), header.mode().unwrap()), content)
            })
            .collect()
    }

    #[test]
    fn every_digest_is_that_of_its_blob_and_bytes_are_the_same_each_time() {
        let stage = last_stage("FROM scratch\nENV PATH=\"/usr/bin\"\nUSER 65532:0\nLABEL a=\"b\"\n").unwrap();
        let file = |path: &str, mode| (path.to_owned(), mode, path.as_bytes().to_vec());
        let mut image = Image {
            stage: &stage,
            files: vec![file("/usr/bin/git-push", 0o755), file("/etc/ssl/ca.crt", 0o644)],
            links: vec![("/usr/bin/fetch-vm".to_owned(), "git-push")],
            architecture: "amd64",
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        let (size, manifest) = write(&image, "registry.local/x:1", &path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(size, bytes.len() as u64);
        image.files.reverse();
        write(&image, "registry.local/x:1", &path).unwrap();
        assert!(bytes == std::fs::read(&path).unwrap(), "the order in which files are named must not show");

        let entries = contents(&bytes);
        assert_eq!(entries[0], ("oci-layout 644".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
        let index: serde_json::Value = serde_json::from_slice(&entries[1].1).unwrap();
        assert_eq!(index["manifests"][0]["digest"], manifest.as_str());
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "registry.local/x:1");
        for (path, blob) in &entries[2..] {
            assert_eq!(*path, format!("blobs/{} 644", digest(blob).replace(':', "/")));
        }
        let blob = |digest: &serde_json::Value| {
            let path = format!("blobs/{} 644", digest.as_str().unwrap().replace(':', "/"));
            entries.iter().find(|(p, _)| *p == path).unwrap().1.clone()
        };
        let manifest: serde_json::Value =
            serde_json::from_slice(&blob(&index["manifests"][0]["digest"])).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&blob(&manifest["config"]["digest"])).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        assert_eq!(
            config["config"],
            serde_json::json!({"User": "65532:0", "Env": ["PATH=/usr/bin"], "Labels": {"a": "b"}})
        );
        let layer: Vec<String> =
            contents(&blob(&manifest["layers"][0]["digest"])).into_iter().map(|(path, _)| path).collect();
        assert_eq!(
            layer,
            [
                "etc 755",
                "etc/ssl 755",
                "usr 755",
                "usr/bin 755",
                "etc/ssl/ca.crt 644",
                "usr/bin/git-push 755",
                "usr/bin/fetch-vm 777"
            ]
        );
    }
}
