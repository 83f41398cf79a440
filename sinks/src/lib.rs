//! 3. Deliver: clean events to Delta tables, each exactly once.
