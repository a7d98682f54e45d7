//! A mesh in memory for users' own tests.
