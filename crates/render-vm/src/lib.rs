//! A normalised request becomes the files that Git holds.
