//! 1. Accept: events over HTTP, to the log, acknowledged once durable.
