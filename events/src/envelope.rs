//! The envelope: CloudEvents 1.0 in the forms in which killfeed accepts them.
