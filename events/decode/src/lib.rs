//! Payload bytes to Arrow, by schema.
