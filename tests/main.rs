//! The whole pipeline, as a user meets it: one binary, since linking is the slow part.
