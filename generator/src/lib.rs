//! Plausible games, and the truth about them.
