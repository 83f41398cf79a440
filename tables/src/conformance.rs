//! What an object store must promise.
