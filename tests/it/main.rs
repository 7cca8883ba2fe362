//! The tests that need more than one module, or the files of the repository.

mod samples;
