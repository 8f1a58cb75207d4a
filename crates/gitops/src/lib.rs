//! The only user of git2: read the tip, change files with compare-and-swap, push, ancestry.
