//! A request is accepted, or every reason why not.
