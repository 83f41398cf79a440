//! x
mod timetable;
