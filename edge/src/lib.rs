//! What every HTTP role shares: who may do what, how an error looks, and where a request came from.
//!
//! | start here | to learn |
//! |---|---|
//! | [`Keys`] | API keys, hashed at rest, their scopes and rates; who a request speaks for |
//! | [`Scope`] | what a key may do |
//! | [`Problem`] | errors as RFC 9457 problem details |
//! | [`ClientAddress`] | which address a request came from, and when a proxy is believed |
//! | [`body`] | what a request brings along, or the problem that it is none |
//! | [`options`] | what stands behind the `?` of an address, each known and once |
//! | [`check_bind`] | why no key means loopback only |

mod address;
mod bind;
pub mod body;
mod keys;
pub mod options;
mod problem;
mod scope;

pub use address::ClientAddress;
pub use bind::{BindRefused, check_bind};
pub use ipnet::IpNet;
pub use keys::{KeyConfig, KeyFault, Keys, NewKey, Principal};
pub use problem::{Problem, no_such_method, no_such_path};
pub use scope::{Scope, Scopes, UnknownScope};
