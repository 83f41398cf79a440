//! Where Delta tables lie, and how they are opened.
