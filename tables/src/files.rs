//! Rows to Parquet files of a table, and back.

