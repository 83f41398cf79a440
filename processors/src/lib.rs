//! 2. Make trustworthy: dedupe, enrich, take addresses away, dead-letter what cannot pass.
