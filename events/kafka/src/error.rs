//! What errors of the client mean for callers: try again, in doubt, fenced, or wrong as asked.

use events::log::Error;
use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::sync::Arc;

/// An error of a call that writes nothing.
pub(crate) fn asking(what: &str, error: &KafkaError) -> Error {
    let text = format!("{what}: {error}");
    match error.rdkafka_error_code() {
        Some(code) if is_refusal(code) => Error::Refused(text),
        Some(code) if is_fencing(code) => Error::Fenced(text),
        _ => Error::Unavailable(text),
    }
}

/// An error of a record that was handed to a producer: whether nothing was written for certain.
pub(crate) fn writing(what: &str, error: &KafkaError) -> Error {
    let text = format!("{what}: {error}");
    match error.rdkafka_error_code() {
        Some(code) if is_refusal(code) => Error::Refused(text),
        Some(Code::QueueFull | Code::PurgeQueue | Code::NotEnoughReplicas | Code::UnknownPartition) => {
            Error::Unavailable(text)
        }
        _ => Error::InDoubt(text),
    }
}

/// Wrong as asked, and stays so.
pub(crate) const fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopic
            | Code::InvalidTopic
            | Code::MessageSizeTooLarge
            | Code::InvalidRecord
            | Code::PolicyViolation
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
    )
}

/// Somebody else owns the partition or the transactional id.
pub(crate) const fn is_fencing(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::FencedInstanceId
            | Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::RebalanceInProgress
            | Code::AssignmentLost
    )
}

/// A topic or partition that isn't there (any longer), or one that is between two leaders: what was there
/// when it was looked up is mostly the latter.
pub(crate) const fn is_unknown(code: Code) -> bool {
    matches!(code, Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition)
}

/// Passes by itself once the cluster has settled who leads.
pub(crate) const fn is_passing(code: Code) -> bool {
    is_unknown(code)
        || matches!(
            code,
            Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::ReplicaNotAvailable
                | Code::NotCoordinator
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
                | Code::BrokerTransportFailure
                | Code::OperationTimedOut
                // A broker that the cluster no longer names is let go with all that was asked of it.
                | Code::DestroyBroker
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
        )
}

/// Why a client has no connection, in its own words. A call that failed for want of one says only that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cause(Arc<Mutex<Option<String>>>);

impl Cause {
    /// Takes a line of a client's log up, if it tells of a connection that failed.
    pub(crate) fn note(&self, facility: &str, message: &str) {
        if facility == "FAIL" {
            // It begins with the client's thread.
            let reason = message.split_once("]: ").map_or(message, |(_, reason)| reason);
            *self.0.lock() = Some(reason.to_owned());
        }
    }

    /// A call worked: what was told before no longer stands.
    pub(crate) fn forget(&self) {
        *self.0.lock() = None;
    }

    /// The same error, with the cause.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match (error, &*self.0.lock()) {
            (Error::Unavailable(text), Some(cause)) => Error::Unavailable(format!("{text}: {cause}")),
            (error, _) => error,
        }
    }
}

/// Log lines and errors of a client go where all others go; lines to `$note` besides.
macro_rules! report_to_tracing {
    () => {
        crate::error::report_to_tracing!(|_: &Self, _: &str, _: &str| {});
    };
    ($note:expr) => {
        fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
            use rdkafka::config::RDKafkaLogLevel as Level;
            ($note)(self, facility, message);
            match level {
                Level::Emerg | Level::Alert | Level::Critical | Level::Error | Level::Warning => {
                    tracing::warn!(target: "kafka", facility, "{message}");
                }
                _ => tracing::debug!(target: "kafka", facility, "{message}"),
            }
        }

        fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
            tracing::debug!(target: "kafka", %error, "{reason}");
        }
    };
}
pub(crate) use report_to_tracing;
