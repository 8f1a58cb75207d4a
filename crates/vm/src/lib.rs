//! The domain, pure: request, policy, names, layout in Git, wanted objects, conditions.
