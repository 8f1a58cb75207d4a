//! Where a Task or StepAction is not the plain repetition of its binary, with the reason.

/// Flags that no param sets, with the reason.
pub(super) const UNEXPOSED: &[(&str, &str, &str)] = &[
    (
        "*",
        "log-format",
        "a task's log is read by people; who collects logs sets the format in the cluster's own copy",
    ),
    ("*", "lease-file", "steps of one pod hand it on; elsewhere `lease` and `holder` say it"),
    ("*", "lease-for", "the Task knows what comes behind its steps; who composes steps says it to lease-vm"),
    ("*", "outcome-path", "Tekton's own path: results have no other place"),
    ("validate-request", "schema", "prints instead of checking; for people at a terminal"),
    ("validate-request", "policy-check", "for whoever keeps the policy; a Task checks requests"),
    ("validate-request", "explain", "prints instead of checking; for people at a terminal"),
    (
        "validate-request",
        "report",
        "a Task has its results and its log, and no place for a third form of them",
    ),
    ("validate-request", "request-file", "a Task gets the request as a param"),
    ("render-vm", "diff", "prints a difference; for people at a terminal"),
    ("render-vm", "preview", "prints what would be done; for people at a terminal"),
    ("git-push", "dry-run", "prints a difference; for people at a terminal"),
    ("verify-vm", "report", "a Task has its results and its log, and no place for a third form of them"),
    ("verify-vm", "output", "a table is what a log takes"),
    ("snapshot-vm", "output", "a table is what a log takes"),
];

const SHORT: &str = "its default is long enough for what it does";
const BY_REQUEST: &str = "the request says it";
const BY_GIT: &str = "Git declares it by now; this task has no credential to change it";
const CHECKED: &str = "the request and the pushed change say what is expected";
const LATE: &str =
    "the step before it in this pod took the Lease just now and wrote down which: `--lease-file`";

const UNREAD: &str = "it comes before Git is read; render-vm asks the same again when it was";

const PROVISION: &str = "only a request for a new machine names a template, and publish-vm alone makes one";

/// The Tasks whose first step is validate-request.
const COMPOSED: &[&str] = &[
    "publish-vm",
    "prepare-vm",
    "snapshot-take",
    "patch-guest",
    "prepare-restore",
    "check-patch",
    "restore-disks",
    "prepare-patch",
    "deprovision-stop",
    "resize-apply",
];

/// Those of them that never see a request for a new machine: all but `publish-vm`, the first.
const DAY_TWO: &[&str] = COMPOSED.split_at(1).1;

/// Flags that a Task leaves at their default, with the reason: tasks, binary, flags.
pub(super) const LEFT: &[(&[&str], &str, &[&str], &str)] = &[
    (COMPOSED, "validate-request", &["timeout"], SHORT),
    (&["validate-request"], "validate-request", &["definition"], UNREAD),
    (COMPOSED, "validate-request", &["definition"], UNREAD),
    (DAY_TWO, "validate-request", &["template-directory"], PROVISION),
    (
        &["publish-vm", "prepare-vm", "snapshot-take", "patch-guest", "prepare-restore", "check-patch"],
        "lease-vm",
        &["vm", "cluster-name", "holder", "action", "timeout"],
        BY_REQUEST,
    ),
    (
        &["prepare-vm", "prepare-restore", "check-patch", "snapshot-take", "patch-guest"],
        "lease-vm",
        &["lease-for"],
        SHORT,
    ),
    (&["publish-vm"], "lease-vm", &["lease-file"], "the steps behind it hold no token"),
    (&["lease-vm"], "lease-vm", &["lease-file"], "it is a pod of its own"),
    (
        &["lease-vm", "snapshot-vm", "restore-vm", "verify-vm", "resolve-image"],
        "*",
        &["request-file"],
        "this Task says by its params what a request would",
    ),
    (&["snapshot-vm"], "snapshot-vm", &["policy"], "without a request there is nothing to be held to it"),
    (&["publish-vm"], "fetch-vm", &["timeout"], SHORT),
    (&["publish-vm"], "render-vm", &["timeout"], SHORT),
    (&["publish-vm"], "git-push", &["base", "request", "message"], "the plan of render-vm says it"),
    (
        &["publish-vm"],
        "git-push",
        &["on-conflict", "rerender-to"],
        "its folder ends with it; run again, it reads Git anew",
    ),
    (
        &["publish-vm"],
        "git-push",
        &["mode", "wait-merged", "labels", "reviewers", "forge", "forge-api"],
        "a machine's Lease is not held for as long as people take to look at a change",
    ),
    (
        &["publish-vm"],
        "git-push",
        &["github-app-key"],
        "fetch-vm reads the same repository, and takes no App's token so far",
    ),
    (&["publish-vm"], "git-push", &["keep"], "its default is where render-vm puts what machines share"),
    (
        &["power-vm", "restore-disks", "prepare-patch", "deprovision-stop", "resize-apply"],
        "stop-start-vm",
        &[
            "file",
            "overlay",
            "cluster-name",
            "request-id",
            "requested-by",
            "reason",
            "wait",
            "via",
            "sign-key",
        ],
        BY_GIT,
    ),
    (
        &["restore-disks", "prepare-patch", "deprovision-stop"],
        "stop-start-vm",
        &["allow-restart", "require-guest-agent", "require-ip", "require-tcp-port"],
        "it ends stopped",
    ),
    (
        &["restore-disks", "prepare-patch", "deprovision-stop", "resize-apply"],
        "stop-start-vm",
        &["force-after"],
        "only a request to stop or restart can ask for it",
    ),
    (
        &["power-vm", "prepare-vm", "deprovision-stop", "resize-apply"],
        "verify-vm",
        &[
            "expect-cpu",
            "expect-memory",
            "expect-instance-type",
            "expect-claims",
            "expect-node",
            "expect-hostname",
            "require-ssh-port",
            "require-http",
            "allow-delete",
            "allow-absent",
            "timeout",
        ],
        CHECKED,
    ),
    (&["power-vm"], "verify-vm", &["disks-only", "request-file"], CHECKED),
    (&["resize-apply"], "verify-vm", &["disks-only", "expect-boot-claim"], CHECKED),
    (&["resize-apply"], "verify-vm", &["prove-for"], "only a new boot disk is taken back"),
    (
        &["prepare-vm", "deprovision-stop"],
        "verify-vm",
        &[
            "until",
            "expect-boot-claim",
            "require-guest-agent",
            "require-ip",
            "require-tcp-port",
            "stable-for",
            "prove-for",
        ],
        "only the disks are looked at",
    ),
    (&["prepare-vm"], "verify-vm", &["vm"], BY_REQUEST),
    (&["prepare-vm"], "verify-vm", &["lease", "holder"], LATE),
    (&["prepare-vm"], "resolve-image", &["data-source"], BY_REQUEST),
    (&["prepare-vm"], "resolve-image", &["lease", "holder"], LATE),
    (&["prepare-vm"], "resolve-image", &["timeout"], SHORT),
    (
        &["snapshot-take", "patch-guest", "prepare-patch"],
        "snapshot-vm",
        &[
            "action",
            "vm",
            "snapshot-name",
            "require-quiesced",
            "require-volumes",
            "deadline",
            "keep-count",
            "keep-days",
            "protected",
        ],
        BY_REQUEST,
    ),
    (
        &["check-patch"],
        "snapshot-vm",
        &[
            "vm",
            "snapshot-name",
            "require-quiesced",
            "require-volumes",
            "deadline",
            "keep-count",
            "keep-days",
            "protected",
        ],
        BY_REQUEST,
    ),
    (&["check-patch"], "snapshot-vm", &["lease", "holder"], LATE),
    (&["check-patch"], "snapshot-vm", &["timeout"], SHORT),
    (
        &["check-patch", "prepare-patch"],
        "snapshot-vm",
        &["policy"],
        "publish-vm asks the same of what Git holds, and goes on with what is begun",
    ),
    (&["snapshot-take", "patch-guest"], "snapshot-vm", &["lease", "holder"], LATE),
    (&["prepare-patch"], "snapshot-vm", &["timeout"], SHORT),
    (&["prepare-restore", "restore-disks"], "restore-vm", &["vm", "restore-name"], BY_REQUEST),
    (&["prepare-restore", "restore-disks"], "restore-vm", &["deadline", "timeout"], SHORT),
    (&["prepare-restore"], "restore-vm", &["snapshot"], BY_REQUEST),
    (&["prepare-restore"], "restore-vm", &["application"], "it only looks, and pauses nothing"),
    (&["prepare-restore"], "restore-vm", &["lease", "holder"], LATE),
    (&["restore-disks"], "restore-vm", &["check"], "the machine is off by now"),
    (&["resize-apply"], "grow-disk", &["timeout"], SHORT),
    (
        &["patch-disk", "patch-disk-block"],
        "patch-disk",
        &["commands-file"],
        "the site's files alone say what is run",
    ),
    (
        &["patch-disk", "patch-disk-block"],
        "patch-disk",
        &["virt-customize"],
        "it is on the PATH of an image of libguestfs",
    ),
];
/// Params whose name is not the flag's: task, flag, param, reason.
pub(super) const RENAMED: &[(&str, &str, &str, &str)] = &[
    ("publish-vm", "repo-url", "url", "Argo CD reads the repository that is pushed to"),
    ("power-vm", "expect-boot-claim", "boot-claim", "the result of publish-vm"),
    ("resize-apply", "disks", "grow-disks", "the result of publish-vm"),
];

/// Flags that clap lets be absent only beside one that no param sets: binary, flag.
pub(super) const NEEDED: &[(&str, &str)] = &[
    ("fetch-vm", "url"),
    ("git-push", "url"),
    ("render-vm", "output"),
    ("validate-request", "request"),
    ("patch-disk", "vm"),
    ("patch-disk", "claim"),
    ("patch-disk", "profile"),
];
/// Flags that a Task insists on, as it has none of those that could stand in for them: task, flag.
pub(super) const INSISTED: &[(&str, &str)] = &[
    ("lease-vm", "vm"),
    ("lease-vm", "holder"),
    ("patch-guest", "user"),
    ("resolve-image", "data-source"),
    ("verify-vm", "vm"),
];
/// One of several flags that a StepAction's user has to give: binary, flag.
pub(super) const ONE_OF: &[(&str, &str)] =
    &[("lease-vm", "request-file"), ("resolve-image", "request-file"), ("verify-vm", "request-file")];
/// Params with a default of their own, with the reason: owner, param, default.
pub(super) const DEFAULTS: &[(&str, &str, &str, &str)] = &[
    ("lease-vm", "cluster-name", "", "clap refuses it beside a request file, also with its default"),
    ("patch-disk", "lease-for", "1h", "nobody can renew it while the disk is patched"),
    ("patch-disk-block", "lease-for", "1h", "nobody can renew it while the disk is patched"),
    ("power-vm", "power", "as-declared", "what all flows but a restart ask for"),
    ("patch-guest", "lease-for", "40m", "nobody can renew it while the guest works"),
];
/// Flags that clap takes only one of: with every param given, these are left out. Binary, flags, whether in Tasks too.
pub(super) const ALTERNATIVES: &[(&str, &[&str], bool)] = &[
    ("git-push", &["plan"], true),
    ("lease-vm", &["vm", "cluster-name", "holder"], false),
    ("stop-start-vm", &["overlay", "commit"], true),
];
/// Results that a Task leaves out, as all of them share one message of 4 KiB at most: task, results.
pub(super) const OMITTED: &[(&str, &[&str])] =
    &[("publish-vm", &["operation", "problems", "exists", "branch", "pull-request"])];

pub(super) fn left(owner: &str, binary: &str, flag: &str) -> bool {
    LEFT.iter().any(|(owners, b, flags, _)| {
        owners.contains(&owner) && (*b == binary || *b == "*") && flags.contains(&flag)
    })
}
