//! Names on the cluster: ours, behind the prefix that keeps several killfeeds on one cluster apart.

use events::TopicPartition;
use rdkafka::TopicPartitionList;
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::Offset as KafkaOffset;
use std::sync::Arc;

/// Puts the prefix before names, and takes it away.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: Arc<str>,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// A group's name on the cluster: one for each stream, since there all members of a group take part
    /// in each of its rebalances, whatever they read.
    pub(crate) fn group(&self, group: &str, stream: &str) -> String {
        self.there(&format!("{group}.{stream}"))
    }

    /// A topic's or a transactional id's name on the cluster.
    pub(crate) fn there(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The name here of one on the cluster; as it is if it isn't ours.
    pub(crate) fn here(&self, name: &str) -> Arc<str> {
        name.strip_prefix(&*self.prefix).unwrap_or(name).into()
    }

    /// A list for the client, each with its offset.
    pub(crate) fn list<'a>(
        &self,
        partitions: impl IntoIterator<Item = (&'a TopicPartition, KafkaOffset)>,
    ) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (of, offset) in partitions {
            list.add_partition_offset(&self.there(&of.topic), of.partition, offset)?;
        }
        Ok(list)
    }

    /// The partitions of a list of the client.
    pub(crate) fn partitions(&self, list: &TopicPartitionList) -> Vec<TopicPartition> {
        list.elements().iter().map(|of| TopicPartition::new(self.here(of.topic()), of.partition())).collect()
    }
}
