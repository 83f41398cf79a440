//! Payload bytes to Arrow, by schema: the only place that looks inside a payload.
//!
//! Sinks and the live tail of queries decode with the same code, so that a row looks alike in the
//! table and before it is there. Nothing here does IO: records in, a [`arrow::array::RecordBatch`]
//! out, with a list of what else there is to say.
//!
//! | start here | to learn |
//! |---|---|
//! | [`Decoder`] | how records become rows, and which don't |
//! | [`TableSchema`] | which columns a table has, and where they come from |
//! | [`columns`] | the columns of the contract |
//! | [`table_name`] | which table a type goes to |
//! | [`widen_batch`] | how int64 columns become float64, with what waited in `extra` |
//! | [`propose`] | a schema file from a table |
//! | [`letters`] | rows of `dead_letters` and `killfeed_ledger` |

mod builders;
pub mod columns;
mod decoder;
mod document;
mod envelope;
mod extra;
pub mod letters;
mod names;
mod payload;
mod proposal;
mod scan;
mod shape;
mod table;
pub mod tree;
mod widen;

pub use decoder::{BATCH_BYTES_MAX, Decoded, Decoder, Discovery, Error, Reject};
pub use envelope::Row;
pub use names::{NameError, column_name, snake_case, table_name};
pub use payload::{Finished, PayloadColumns, Taken};
pub use proposal::propose;
pub use scan::NotJson;
pub use table::{Additions, Rules, TableSchema, disagreements, payload_fields};
pub use tree::{FORMAT_KEY, NAME_KEY, WIDEN_KEY};
pub use widen::widen_batch;
