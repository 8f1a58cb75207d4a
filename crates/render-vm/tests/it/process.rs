//! The program as a process: exit code, last lines, results, files.

use std::path::{Path, PathBuf};
use std::process::Command;

use step::Step as _;

use crate::fixtures;

/// Run with these arguments behind the ones that are always needed; exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_render-vm"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn request_file(stem: &str) -> String {
    fixtures().join(format!("manifests/requests/{stem}.json")).to_str().unwrap().to_owned()
}

pub(crate) fn render(request: &str, more: &[&str]) -> (i32, String, String) {
    let mut arguments = vec!["--request-file", request, "--repo-url=https://git.example/vms.git"];
    arguments.extend(more);
    run(&arguments)
}

fn file(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

fn results(folder: &Path) -> Vec<(String, String)> {
    let mut results: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    results.sort();
    results
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

#[test]
fn writes_once_and_says_so() {
    let temporary = tempfile::tempdir().unwrap();
    let (output, outcome) =
        (temporary.path().join("deep/rendered"), temporary.path().join("results/outcome"));
    let flags = [flag("output", &output), flag("outcome-path", &outcome)];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let request = request_file("data-source-everything");
    let listed = "applications/in-cluster/team-a/db-01.yaml
namespaces/in-cluster/team-a/namespace.yaml
vms/in-cluster/team-a/db-01/disk-data.yaml
vms/in-cluster/team-a/db-01/disk-log.yaml
vms/in-cluster/team-a/db-01/disk-root-d591c0.yaml
vms/in-cluster/team-a/db-01/kustomization.yaml
vms/in-cluster/team-a/db-01/request.yaml
vms/in-cluster/team-a/db-01/virtual-machine.yaml
";
    assert_eq!(render(&request, &flags), (0, String::new(), format!("{listed}done: rendered 8 files\n")));
    let digest = "sha256:e3879cdf95cedefb646caaf6c2aa10b1bdde49e04951765ef62b37407c118f7e";
    let expected = |changed, message| {
        pairs([
            ("allow-restart", "false"),
            ("application", "argocd/in-cluster.team-a.db-01"),
            ("boot-claim", "db-01-root-d591c0"),
            ("changed", changed),
            ("digest", digest),
            ("finished", "false"),
            ("force-after", ""),
            ("gone-claims", ""),
            ("grow-disks", ""),
            ("keep-claims", ""),
            ("message", message),
            ("outcome", "ok"),
            ("power", "as-declared"),
            ("profile", ""),
            ("prove-for", ""),
            ("require-guest-agent", "true"),
            ("require-ip", "true"),
            ("require-tcp-port", "5432"),
            ("until", "ready"),
            ("vm", "team-a/db-01"),
        ])
    };
    assert_eq!(results(outcome.parent().unwrap()), expected("true", "rendered 8 files"));

    assert_eq!(
        render(&request, &flags),
        (0, String::new(), format!("{listed}done: rendered 8 files, already there\n"))
    );
    assert_eq!(results(outcome.parent().unwrap()), expected("false", "rendered 8 files, already there"));

    let stray = output.join("vms/in-cluster/team-a/db-01/disk-log.yaml");
    std::fs::write(&stray, "x").unwrap();
    let (code, _, said) = render(&request, &flags);
    assert_eq!(
        (code, said),
        (
            2,
            format!(
                "error: `{}` holds other files already, such as `vms/in-cluster/team-a/db-01/disk-log.yaml`\n\
                 hint: `--output` has to be absent, empty, or hold the same files\n",
                output.display()
            )
        )
    );
    assert_eq!(std::fs::read_to_string(stray).unwrap(), "x");
    let left: Vec<_> =
        std::fs::read_dir(output.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["rendered"], "nothing is left beside it");
}

#[test]
fn a_stopped_machine_is_waited_for_as_stopped() {
    let temporary = tempfile::tempdir().unwrap();
    let outcome = temporary.path().join("outcome");
    let flags = [flag("output", &temporary.path().join("out")), flag("outcome-path", &outcome)];
    let flags = [flags[0].as_str(), &flags[1], "--application-namespace=openshift-gitops"];
    assert_eq!(render(&request_file("registry-powered-off"), &flags).0, 0);
    let digest = std::fs::read_to_string(temporary.path().join("digest")).unwrap();
    let boot = crate::request("registry-powered-off").volume("root");
    std::fs::remove_dir_all(temporary.path().join("out")).unwrap();
    assert_eq!(
        results(temporary.path()),
        pairs([
            ("allow-restart", "false"),
            ("application", "openshift-gitops/in-cluster.team-a.batch"),
            ("boot-claim", &boot),
            ("changed", "true"),
            ("digest", &digest),
            ("finished", "false"),
            ("force-after", ""),
            ("gone-claims", ""),
            ("grow-disks", ""),
            ("keep-claims", ""),
            ("message", "rendered 6 files"),
            ("outcome", "ok"),
            ("power", "as-declared"),
            ("profile", ""),
            ("prove-for", ""),
            ("require-guest-agent", "false"),
            ("require-ip", "false"),
            ("require-tcp-port", ""),
            ("until", "stopped"),
            ("vm", "team-a/batch"),
        ])
    );
}

/// Tekton cuts what is too long; no identifier may be cut.
#[test]
fn the_longest_legal_names_fit_the_results() {
    let temporary = tempfile::tempdir().unwrap();
    let label = |c: &str| c.repeat(63);
    let text = std::fs::read_to_string(request_file("container-disk"))
        .unwrap()
        .replace("web-01", &label("m"))
        .replace("team-a", &label("n"))
        .replace("in-cluster", &label("c"))
        .replace("\"ip\": false", "\"ip\": true, \"tcpPort\": 65535");
    let request = file(temporary.path(), "request.json", text);
    let folder = temporary.path().join("results");
    let outcome = flag("outcome-path", &folder.join("outcome"));
    let output = flag("output", &temporary.path().join("out"));
    let argocd = format!("--application-namespace={}", label("a"));
    assert_eq!(render(&request, &[&output, &outcome, &argocd, &flag("diff", temporary.path())]).0, 0);
    let results = results(&folder);
    let value = |name: &str| results.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()).unwrap();
    let (machine, namespace, cluster) = (label("m"), label("n"), label("c"));
    assert_eq!(value("application"), format!("{}/{cluster}.{namespace}.{machine}", label("a")));
    assert_eq!(value("vm"), format!("{namespace}/{machine}"));
    assert_eq!(value("digest").len(), "sha256:".len() + 64);
    assert_eq!(value("message"), "rendered 5 files, 5 of them differ");
    // 24 bytes is what Tekton's JSON adds to each
    let size: usize = results.iter().map(|(name, value)| name.len() + value.len() + 24).sum();
    assert!(size <= step::LIMIT, "{size}");
    assert_eq!(results.len(), step::EVERY_STEP.len() + render_vm::Args::RESULTS.len());
}

#[test]
fn a_difference_is_shown() {
    let temporary = tempfile::tempdir().unwrap();
    let there = temporary.path().join("there");
    assert_eq!(render(&request_file("container-disk"), &[&flag("output", &there)]).0, 0);
    let unchanged = render(&request_file("container-disk"), &[&flag("diff", &there)]);
    assert_eq!(unchanged, (0, String::new(), "done: rendered 5 files, 0 of them differ\n".to_owned()));

    let machine = there.join("vms/in-cluster/team-a/web-01/virtual-machine.yaml");
    let text = std::fs::read_to_string(&machine).unwrap();
    std::fs::write(&machine, text.replace("sockets: 2", "sockets: 1 # \u{1b}[31mgr\u{fc}n")).unwrap();
    std::fs::remove_file(there.join("vms/in-cluster/team-a/web-01/kustomization.yaml")).unwrap();
    let (code, out, said) = render(&request_file("container-disk"), &[&flag("diff", &there)]);
    assert_eq!((code, &*said), (0, "done: rendered 5 files, 2 of them differ\n"));
    assert_eq!(
        out,
        r#"--- /dev/null
+++ b/vms/in-cluster/team-a/web-01/kustomization.yaml
@@ -0,0 +1,4 @@
+apiVersion: kustomize.config.k8s.io/v1beta1
+kind: Kustomization
+resources:
+  - "virtual-machine.yaml"
--- a/vms/in-cluster/team-a/web-01/virtual-machine.yaml
+++ b/vms/in-cluster/team-a/web-01/virtual-machine.yaml
@@ -18,7 +18,7 @@
           uuid: "UUID"
           serial: "UUID"
         cpu:
-          sockets: 1 # \u{1b}[31mgr\u{fc}n
+          sockets: 2
           cores: 1
           threads: 1
         memory:
"#
        .replace("UUID", &crate::request("container-disk").firmware_uuid())
    );
}

#[test]
fn what_is_not_a_normalised_request_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let good = std::fs::read_to_string(request_file("container-disk")).unwrap();
    let normalised = "hint: give the JSON file that `validate-request` wrote, not the request as it came\n";
    for (text, code, said) in [
        ("", 10, "is not a normalised request: empty"),
        ("kind: VMRequest\n", 10, "is not a normalised request: missing field `apiVersion`"),
        ("{}", 10, "is not a normalised request: missing field `apiVersion`"),
        (
            &good.replace("\"cpu\"", "\"cpus\""),
            10,
            "is not a normalised request: unknown field `cpus`, expected one of `instanceType`, `preference`, `architecture`, `cpu`, \
             `memory`",
        ),
        (
            &good.replace("web-01", "../../etc"),
            10,
            "is not a normalised request: at most 63 of a-z, 0-9 and -, with a letter or digit first and last",
        ),
        (
            &good.replace("\"cpu\": 2,", "\"cpu\": 2, \"cpu\": 3,"),
            10,
            "is not a normalised request: line 16, column 21: this key is there already",
        ),
    ] {
        let request = file(temporary.path(), "request.json", text);
        let (found, out, err) = render(&request, &[&flag("output", &temporary.path().join("out"))]);
        assert_eq!(
            (found, out, err),
            (code, String::new(), format!("error: `{request}` {said}\n{normalised}"))
        );
    }
    let request =
        file(temporary.path(), "request.json", good.replace("\"memory\": \"4Gi\"", "\"preference\": \"x\""));
    let (code, _, said) = render(&request, &[&flag("output", &temporary.path().join("out"))]);
    assert_eq!(
        (code, said),
        (
            10,
            format!(
                "error: cannot render `{request}`: `/spec/compute` needs either `instanceType` or both `cpu` and `memory`\n\
                 hint: `validate-request` finds this out with the place in the request\n"
            )
        )
    );
    let wrote = "hint: `--request-file` is the file that `validate-request` wrote\n";
    let absent = temporary.path().join("absent").to_str().unwrap().to_owned();
    let long = file(temporary.path(), "long", vec![b' '; 131_073]);
    let binary = file(temporary.path(), "binary", [0xff, 0xfe]);
    for (request, why) in [
        (absent, "No such file or directory (os error 2)"),
        (long, "it is 131073 bytes long, at most 131072 are read"),
        (binary, "stream did not contain valid UTF-8"),
    ] {
        let (code, _, said) = render(&request, &[&flag("output", &temporary.path().join("out"))]);
        assert_eq!((code, said), (2, format!("error: cannot read `{request}`: {why}\n{wrote}")));
    }
    assert!(!temporary.path().join("out").exists());
}

#[test]
fn flags_are_held_to_their_form() {
    let out = PathBuf::from("/nonexistent");
    for (flags, said) in [
        (vec![], "the following required arguments were not provided:"),
        (vec!["--branch=a..b"], "expected a branch such as `main`"),
        (vec!["--branch=-x"], "expected a branch such as `main`"),
        (vec!["--branch=x.lock"], "expected a branch such as `main`"),
        (vec!["--layout=helm"], "invalid value 'helm' for '--layout <LAYOUT>'"),
        (vec!["--application-namespace=Argo"], "at most 63 of a-z, 0-9 and -"),
        (
            vec!["--destination-server=http://x"],
            "expected an address such as `https://kubernetes.default.svc`",
        ),
    ] {
        let output = flag("output", &out);
        let mut arguments = vec!["--request-file=x"];
        if !flags.is_empty() {
            arguments.push(&output);
        }
        arguments.push("--repo-url=git@git.example:vms.git");
        arguments.extend(&flags);
        let (code, _, err) = run(&arguments);
        assert_eq!(code, 2, "{flags:?} {err}");
        assert!(
            err.contains(said) && err.ends_with("hint: `render-vm --help` lists every flag\n"),
            "{flags:?} {err}"
        );
    }
}

/// The address is committed and logged: nothing of a wrong one is repeated.
#[test]
fn an_address_with_a_password_is_refused_and_not_shown() {
    let shape = "holds white space, control or non-ASCII characters, or more than 2000 of them";
    for (url, why) in [
        ("https://jane:secret@git.example/x", "holds a password, which would be committed"),
        ("https://jane:secret@git.example/x y", shape),
        ("git.example", "has no scheme"),
    ] {
        let said = run(&["--request-file=x", "--output=/nonexistent", "--repo-url", url]);
        let expected = format!(
            "error: `--repo-url` {why}\nhint: give an address such as `https://git.example/vms.git`\n"
        );
        assert_eq!(said, (2, String::new(), expected));
    }
}

/// An environment has an overlay in one layout; elsewhere it would be left out without a word.
#[test]
fn an_environment_is_for_the_layout_kustomize_alone() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let request = request_file("container-disk");
    let refused = |flags: &[&str]| {
        let (code, out, error) = render(&request, &[&[flag("output", &output).as_str()], flags].concat());
        assert_eq!((code, out.as_str(), output.exists()), (2, "", false), "{error}");
        error
    };
    let alone = "error: `--environment` is for the layout `kustomize` alone\nhint: leave it out, or add `--layout kustomize`\n";
    assert_eq!(refused(&["--environment=prod"]), alone);
    assert_eq!(refused(&["--environment=prod", "--layout=manifests"]), alone);
    assert_eq!(refused(&["--environment=prod", "--layout=helm-values"]), alone);
    let needed = "error: `--layout kustomize` needs `--environment`\n\
                  hint: it names the overlay, such as `prod`, where the request has no `lifecycle.environment`\n";
    assert_eq!(refused(&["--layout=kustomize"]), needed);
    // as the Task gives a param that is left empty
    assert_eq!(refused(&["--layout=kustomize", "--environment="]), needed);
    let (code, _, error) =
        render(&request, &["--layout=helm-values", "--environment=", &flag("output", &output)]);
    assert_eq!(code, 0, "{error}");
    let files = ["Chart.yaml", "request.yaml", "templates/objects.yaml", "values.schema.json", "values.yaml"];
    for file in files.map(|file| format!("vms/in-cluster/team-a/web-01/{file}")) {
        assert!(output.join(&file).is_file(), "{file}");
    }
}
