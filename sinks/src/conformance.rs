//! What any sink must do.
