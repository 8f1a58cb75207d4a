//! Requests, and the commits that carry them out.

/// What is asked for: one file, with content that no other request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// The file, by number.
    pub file: u8,
    /// The request whose content is to be replaced, by its place in the table; `None` where the file has to be new.
    pub base: Option<u8>,
    /// The server's rules refuse it, always.
    pub forbidden: bool,
}

impl Request {
    /// A new file.
    pub const fn new(file: u8) -> Self {
        Self { file, base: None, forbidden: false }
    }

    /// The same file, with new content in the place of that of request `base`.
    #[must_use]
    pub const fn after(self, base: u8) -> Self {
        Self { base: Some(base), ..self }
    }

    /// The same, which the server's rules refuse.
    #[must_use]
    pub const fn forbidden(self) -> Self {
        Self { forbidden: true, ..self }
    }
}

/// What a commit says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// The request, by its place in the table. Beyond the table is whoever else commits, to files of his own.
    pub request: u8,
    /// The request's id as the client knows it: 0, unless it makes up one for each run.
    pub id: u8,
}

/// A commit, named as Git names it: by what it says, and everything before it. The empty one is the branch that does not
/// exist yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Commit(Vec<Mark>);

impl Commit {
    /// The commit with this mark on top of this one.
    #[must_use]
    pub fn with(&self, mark: Mark) -> Self {
        let mut marks = self.0.clone();
        marks.push(mark);
        Self(marks)
    }

    /// The commit before; that of the empty one is itself.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.0.iter().copied().take(self.0.len().saturating_sub(1)).collect())
    }

    /// What the commits say, the oldest first.
    pub fn marks(&self) -> &[Mark] {
        &self.0
    }

    /// Whether it is `earlier` or comes after it.
    pub fn holds(&self, earlier: &Self) -> bool {
        self.0.starts_with(&earlier.0)
    }

    /// How many commits carry out the request.
    pub fn count(&self, request: u8) -> usize {
        self.0.iter().filter(|mark| mark.request == request).count()
    }

    /// The commit with this mark; the last one, should there be several.
    pub fn of(&self, mark: Mark) -> Option<Self> {
        let place = self.0.iter().rposition(|m| *m == mark)?;
        Some(Self(self.0.iter().copied().take(place + 1).collect()))
    }

    /// Whose content the file has.
    pub fn writer(&self, file: u8, table: &[Request]) -> Option<Mark> {
        let writes = |mark: &&Mark| table.get(usize::from(mark.request)).is_some_and(|r| r.file == file);
        self.0.iter().rfind(writes).copied()
    }
}
