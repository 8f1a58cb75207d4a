//! A change on a branch of its own, and the pull request for it, on stand-ins for five forges.

use std::time::Instant;

use testbed::git::forge::{Api, ApiFault, Dialect, Pull};
use testbed::git::{Entry, Fault, On, Server, Tunnel};

use crate::support::{Case, Ended, folder};

/// The flags that name the forge.
pub(crate) fn on(dialect: Dialect, server: &Server) -> Vec<String> {
    let word = match dialect {
        Dialect::GitHub => "github",
        Dialect::GitLab => "gitlab",
        Dialect::Gitea => "gitea",
        Dialect::Bitbucket => "bitbucket",
        Dialect::AzureDevOps => "azure-devops",
    };
    let mut flags = vec!["--mode=pull-request".to_owned(), format!("--forge={word}")];
    if dialect == Dialect::Bitbucket {
        flags.push(format!("--forge-api=http://{}/2.0", server.host()));
    }
    flags
}

/// Propose it, wait for nobody.
pub(crate) fn propose(case: &Case, dialect: Dialect, server: &Server, more: &[&str]) -> Ended {
    let flags = on(dialect, server);
    let flags: Vec<&str> =
        flags.iter().map(String::as_str).chain(["--wait-merged=false"]).chain(more.iter().copied()).collect();
    case.run(&flags)
}

pub(crate) const HEAD: &str = "vm-request/r-1";

#[track_caller]
fn tip(server: &Server, branch: &str) -> String {
    server.git().git(&["rev-parse", "--verify", &format!("refs/heads/{branch}")]).unwrap()
}

#[tokio::test]
async fn it_is_opened_once_with_all_that_was_wished() {
    for dialect in Dialect::ALL {
        let server = Server::forge(dialect).await.unwrap();
        let case = Case::on_forge(&server, "r-1", "web", 1);
        let main = server.git().tip().unwrap();
        let (labels, reviewer) = match dialect {
            Dialect::Bitbucket => ("--labels=", "{jane-uuid}"),
            Dialect::AzureDevOps => ("--labels=vm,prod", "jane-guid"),
            _ => ("--labels=vm,prod", "jane"),
        };
        let wishes = [labels, &format!("--reviewers={reviewer}")];
        let ended = propose(&case, dialect, &server, &wishes);
        assert!(ended.ok().changed(), "{dialect:?}");
        let pulls = server.pulls().unwrap();
        let [pull] = &pulls[..] else { panic!("{dialect:?}: {pulls:?}") };
        assert_eq!((pull.head.as_str(), pull.base.as_str()), (HEAD, "main"));
        assert_eq!(pull.title, "provision vm team-a/web");
        assert!(pull.body.starts_with("- Request-Id: `r-1`\n- Request-Digest: `sha256:"), "{}", pull.body);
        assert!(
            pull.body
                .contains("\n```diff\n--- /dev/null\n+++ b/namespaces/in-cluster/team-a/namespace.yaml\n")
        );
        assert!(pull.body.contains("+cpu: 1\n"), "{}", pull.body);
        let known = if dialect == Dialect::GitLab { "11" } else { reviewer };
        assert_eq!(pull.reviewers, [known], "{dialect:?}");
        assert_eq!(pull.labels.is_empty(), dialect == Dialect::Bitbucket);
        // the commit is on the branch alone, on top of main, and nothing is on main
        assert_eq!(ended.commit(), tip(&server, HEAD));
        assert_eq!(ended.results["branch"], HEAD);
        assert_eq!(server.git().git(&["rev-parse", &format!("{HEAD}^")]).unwrap(), main);
        assert_eq!(server.git().tip().unwrap(), main);
        let url = &ended.results["pull-request"];
        assert!(url.starts_with(&format!("http://{}/team/", server.host())) && url.ends_with("/1"), "{url}");
        // and again: nothing is asked of the forge but what there is
        let before = server.calls().unwrap().len();
        let again = propose(&case, dialect, &server, &wishes);
        assert!(!again.ok().changed(), "{dialect:?}: {}", again.stderr);
        assert_eq!((again.commit(), &again.results["pull-request"]), (ended.commit(), url));
        assert_eq!(server.pulls().unwrap(), pulls);
        assert!(server.calls().unwrap()[before..].iter().all(|call| call.starts_with("GET ")));
        let line = format!(
            "done: nothing to do, asked for already by pull request `{url}`, which is not merged yet"
        );
        assert_eq!(again.stderr.lines().last().unwrap(), line);
    }
}

#[tokio::test]
async fn one_that_was_changed_is_set_right_and_what_people_added_stays() {
    for dialect in Dialect::ALL {
        let server = Server::forge(dialect).await.unwrap();
        let case = Case::on_forge(&server, "r-1", "web", 1);
        propose(&case, dialect, &server, &[]).ok();
        let body = server.pulls().unwrap()[0].body.clone();
        let change = |pull: &mut Pull| {
            (pull.title, pull.body) = ("hello".to_owned(), "other".to_owned());
            pull.labels.push("theirs".to_owned());
        };
        server.with_pull(1, change).unwrap();
        assert!(propose(&case, dialect, &server, &[]).ok().changed());
        let pull = &server.pulls().unwrap()[0];
        assert_eq!((pull.title.as_str(), pull.body.as_str()), ("provision vm team-a/web", body.as_str()));
        assert_eq!(pull.labels, ["theirs"]);
    }
}

#[tokio::test]
async fn who_has_reviewed_is_not_asked_again() {
    for dialect in [Dialect::GitHub, Dialect::Gitea] {
        let server = Server::forge(dialect).await.unwrap();
        let case = Case::on_forge(&server, "r-1", "web", 1);
        propose(&case, dialect, &server, &["--reviewers=jane,joe"]).ok();
        server
            .with_pull(1, |pull| {
                (pull.reviewers, pull.reviewed) = (vec!["joe".to_owned()], vec!["jane".to_owned()]);
            })
            .unwrap();
        assert!(!propose(&case, dialect, &server, &["--reviewers=jane,joe"]).ok().changed());
        assert_eq!(server.pulls().unwrap()[0].reviewers, ["joe"]);
    }
}

#[tokio::test]
async fn a_lost_answer_and_a_race_make_no_second_one() {
    for dialect in Dialect::ALL {
        for fault in [ApiFault::Lost, ApiFault::Reset, ApiFault::Twice] {
            let server = Server::forge(dialect).await.unwrap();
            let case = Case::on_forge(&server, "r-1", "web", 1);
            server.api_fault(Api::Open, fault.clone()).unwrap();
            propose(&case, dialect, &server, &[]).ok();
            assert_eq!(server.pulls().unwrap().len(), 1, "{dialect:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn four_at_once_are_one() {
    let server = Server::forge(Dialect::GitHub).await.unwrap();
    let case = Case::on_forge(&server, "r-1", "web", 1);
    let flags = on(Dialect::GitHub, &server);
    let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    flags.push("--wait-merged=false");
    let names = ["a", "b", "c", "d"];
    let start = Instant::now();
    let children = names.map(|name| case.command(name, &flags).spawn().unwrap());
    let ended: Vec<Ended> =
        names.iter().zip(children).map(|(name, child)| case.ended(name, child, start)).collect();
    assert_eq!(server.pulls().unwrap().len(), 1);
    for one in &ended {
        assert_eq!(
            (one.ok().commit(), &one.results["pull-request"]),
            (ended[0].commit(), &ended[0].results["pull-request"])
        );
    }
    assert_eq!(tip(&server, HEAD), ended[0].commit());
}

#[tokio::test]
async fn another_request_has_a_branch_of_its_own() {
    let server = Server::forge(Dialect::Gitea).await.unwrap();
    for (id, vm) in [("r-1", "web"), ("r-2", "db")] {
        propose(&Case::on_forge(&server, id, vm, 1), Dialect::Gitea, &server, &[]).ok();
    }
    let pulls = server.pulls().unwrap();
    let heads: Vec<_> = pulls.iter().map(|pull| pull.head.as_str()).collect();
    assert_eq!(heads, [HEAD, "vm-request/r-2"]);
}

#[tokio::test]
async fn a_branch_of_somebody_else_is_left_alone() {
    let server = Server::forge(Dialect::GitHub).await.unwrap();
    let theirs = server.git().commit(&[Entry::file("theirs", "text\n")], "theirs").unwrap();
    let first = server.git().git(&["rev-parse", "main^"]).unwrap();
    server.git().git(&["update-ref", "refs/heads/main", &first]).unwrap();
    server.git().git(&["update-ref", &format!("refs/heads/{HEAD}"), &theirs]).unwrap();
    let case = Case::on_forge(&server, "r-1", "web", 1);
    let ended = propose(&case, Dialect::GitHub, &server, &[]);
    let line = format!("error: branch `{HEAD}` at `HOST` is there already, with commits of somebody else");
    assert_eq!(ended.last(&server), (20, line));
    assert_eq!((tip(&server, HEAD), server.pulls().unwrap().len()), (theirs, 0));
    // one that is at main has nothing of anybody's
    server.git().git(&["update-ref", &format!("refs/heads/{HEAD}"), &first]).unwrap();
    assert!(propose(&case, Dialect::GitHub, &server, &[]).ok().changed());
}

#[tokio::test]
async fn one_id_has_one_content_here_as_well() {
    let server = Server::forge(Dialect::GitHub).await.unwrap();
    let commit = propose(&Case::on_forge(&server, "r-1", "web", 1), Dialect::GitHub, &server, &[])
        .ok()
        .commit()
        .to_owned();
    let ended = propose(&Case::on_forge(&server, "r-1", "web", 2), Dialect::GitHub, &server, &[]);
    let line = format!("error: request `r-1` is on branch `{HEAD}` at `HOST` already, with other content");
    assert_eq!(ended.last(&server), (20, line));
    assert_eq!(tip(&server, HEAD), commit);
}

#[tokio::test]
async fn main_moves_on_meanwhile() {
    let server = Server::forge(Dialect::GitHub).await.unwrap();
    let case = Case::on_forge(&server, "r-1", "web", 1);
    let commit = propose(&case, Dialect::GitHub, &server, &[]).ok().commit().to_owned();
    server.git().commit(&[Entry::file("other", "text\n")], "other").unwrap();
    assert_eq!(propose(&case, Dialect::GitHub, &server, &[]).ok().commit(), commit);
    // with other content in our place by then
    let path = format!("{}/virtual-machine.yaml", folder("web"));
    let theirs = server.git().commit(&[Entry::file(path.clone(), "theirs\n")], "theirs").unwrap();
    let line = format!(
        "error: cannot change branch `main` at `HOST`: `{path}` is there already, with other content, from commit `{theirs}` of `somebody`"
    );
    assert_eq!(propose(&case, Dialect::GitHub, &server, &[]).last(&server), (20, line));
}

#[tokio::test]
async fn a_branch_of_the_same_name_elsewhere_is_nobodys() {
    for dialect in Dialect::ALL {
        let server = Server::forge(dialect).await.unwrap();
        let stranger = Pull {
            number: 1,
            title: "provision vm team-a/web".to_owned(),
            body: String::new(),
            head: HEAD.to_owned(),
            base: "main".to_owned(),
            labels: Vec::new(),
            reviewers: Vec::new(),
            reviewed: Vec::new(),
            merged: Some("1".repeat(40)),
            closed: true,
            fork: true,
        };
        server.add_pull(stranger).unwrap();
        let case = Case::on_forge(&server, "r-1", "web", 1);
        let ended = propose(&case, dialect, &server, &[]);
        assert!(ended.ok().results["pull-request"].ends_with("/2"), "{dialect:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_list_is_read_to_its_tenth_page() {
    for dialect in [Dialect::Gitea, Dialect::Bitbucket] {
        let server = Server::forge(dialect).await.unwrap();
        let case = Case::on_forge(&server, "r-1", "web", 1);
        propose(&case, dialect, &server, &[]).ok();
        let ours = server.pulls().unwrap()[0].clone();
        let other = |number: u64| Pull { number, fork: true, ..ours.clone() };
        (2..=150).for_each(|number| server.add_pull(other(number)).unwrap());
        assert!(!propose(&case, dialect, &server, &[]).ok().changed(), "{dialect:?}");
        // beyond it nothing is found, and what is open is said to be there for ever
        (151..=400).for_each(|number| server.add_pull(other(number)).unwrap());
        let before = server.calls().unwrap().len();
        propose(&case, dialect, &server, &["--timeout=2s"]);
        let lists = server.calls().unwrap()[before..].iter().filter(|call| call.contains("page=11")).count();
        assert_eq!(lists, 0);
    }
}

#[tokio::test]
async fn killed_at_any_request_and_run_again_there_is_one() {
    for on in [On::FetchRefs, On::PushRefs, On::Push] {
        let server = Server::forge(Dialect::GitHub).await.unwrap();
        let case = Case::on_forge(&server, "r-1", "web", 1);
        server.fault(on, Fault::Silence);
        let ended = propose(&case, Dialect::GitHub, &server, &["--timeout=2s"]);
        assert!([50, 51].contains(&ended.code), "{on:?}: {}", ended.stderr);
        propose(&case, Dialect::GitHub, &server, &[]).ok();
        assert_eq!(server.pulls().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn flags_that_do_not_fit_are_refused_before_anything_is_asked() {
    let server = Server::forge(Dialect::GitHub).await.unwrap();
    let case = Case::on_forge(&server, "r-1", "web", 1);
    let host = server.host();
    for (flags, line) in [
        (vec!["--mode=pull-request"], format!("error: cannot tell which forge `{host}` is")),
        (
            vec!["--mode=pull-request", "--forge=bitbucket"],
            format!("error: cannot find the API of `{host}`: Bitbucket Cloud is at bitbucket.org alone"),
        ),
        (
            vec!["--mode=pull-request", "--forge=github", "--forge-api=https://me:password@git.example.org"],
            format!("error: cannot find the API of `{host}`: user and password do not belong into it"),
        ),
        (
            vec!["--mode=pull-request", "--forge=github", "--on-conflict=rerender", "--rerender-to=/nowhere"],
            "error: what follows a conflict is chosen for a push, and a pull request is none".to_owned(),
        ),
        (
            vec!["--mode=pull-request", "--forge=gitea", "--github-app-key=/nowhere"],
            "error: a GitHub App is of use on GitHub alone".to_owned(),
        ),
    ] {
        let ended = case.run(&flags);
        assert_eq!((ended.code, ended.stderr.lines().next().unwrap()), (2, line.as_str()), "{flags:?}");
    }
    let api = format!("--forge-api=http://{host}/2.0");
    let ended = case.run(&["--mode=pull-request", "--forge=bitbucket", &api, "--labels=vm"]);
    assert_eq!(ended.last(&server).1, "error: there are no labels on pull requests of Bitbucket Cloud");
    let plain = Case::empty(&server);
    plain.write("file", "text\n");
    let line =
        "error: a pull request needs a request, whose id names its branch: there is none in the source";
    assert_eq!(plain.run(&["--mode=pull-request", "--forge=github"]).last(&server), (2, line.to_owned()));
    assert!(server.calls().unwrap().is_empty() && server.seen().is_empty());
}

#[tokio::test]
async fn killed_anywhere_and_run_again_there_is_one() {
    for dialect in [Dialect::GitHub, Dialect::GitLab] {
        let server = Server::forge(dialect).await.unwrap();
        let case = Case::on_forge(&server, "r-1", "web", 1);
        let flags = on(dialect, &server);
        let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        flags.extend(["--labels=vm", "--reviewers=jane"]);
        for calls in 1..=7 {
            let (before, start) = (server.calls().unwrap().len(), Instant::now());
            let mut child = case.command("killed", &flags).spawn().unwrap();
            while server.calls().unwrap().len() < before + calls && child.try_wait().unwrap().is_none() {
                assert!(start.elapsed().as_secs() < 120, "{calls} calls are not made");
                std::thread::yield_now();
            }
            child.kill().unwrap();
            let _ = case.ended("killed", child, start);
        }
        propose(&case, dialect, &server, &["--labels=vm", "--reviewers=jane"]).ok();
        let pulls = server.pulls().unwrap();
        assert_eq!((pulls.len(), pulls[0].labels.len(), pulls[0].reviewers.len()), (1, 1, 1), "{pulls:?}");
    }
}

#[tokio::test]
async fn over_tls_and_through_a_proxy() {
    let server = Server::forge_tls(Dialect::GitHub).await.unwrap();
    let case = Case::on_forge(&server, "r-1", "web", 1);
    let line = "error: cannot read pull requests at `HOST`: its certificate is not trusted: ";
    let ended = propose(&case, Dialect::GitHub, &server, &["--timeout=20s"]);
    let (code, last) = ended.last(&server);
    assert!(code == 30 && last.starts_with(line), "{last}");
    assert_eq!(server.calls().unwrap().len(), 0);
    std::fs::create_dir(case.path("ca")).unwrap();
    crate::support::write(&case.path("ca/ca-bundle.crt"), server.ca_pem());
    let authority = format!("--ssl-ca-directory={}", case.path("ca").display());
    propose(&case, Dialect::GitHub, &server, &[&authority]).ok();
    let tunnel = Tunnel::start(None).unwrap();
    let proxy = format!("--https-proxy=http://{}", tunnel.host());
    let before = server.calls().unwrap().len();
    propose(&case, Dialect::GitHub, &server, &[&authority, &proxy]).ok();
    let asked = server.calls().unwrap().len() - before;
    assert!(asked > 0 && tunnel.through().len() > asked, "{:?}", tunnel.through());
}
