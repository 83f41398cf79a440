//! 4. Ask: SQL, reports and the audit.
