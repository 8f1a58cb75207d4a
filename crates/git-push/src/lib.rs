//! A directory becomes one commit on the branch.
