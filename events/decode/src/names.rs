//! Names: of a type's table, and of a field's column.

use events::limits;

/// What a column of this name is called in the table, and what is said of it when it is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The type maps to a table that killfeed keeps for itself.
    #[error("type {event_type:?} maps to table {table:?}, which is reserved")]
    Reserved {
        /// The event's type.
        event_type: String,
        /// The table that it maps to.
        table: String,
    },
    /// The type maps to a table whose name no folder can bear.
    #[error("type {event_type:?} maps to a table name of {bytes} bytes, more than {}", limits::TABLE_NAME_BYTES_MAX)]
    TooLong {
        /// The event's type.
        event_type: String,
        /// Length of the table's name.
        bytes: usize,
    },
    /// The type is empty.
    #[error("an empty type names no table")]
    Empty,
}

/// The table of an event type: lower case, all but `[a-z0-9_]` as `_`.
///
/// # Errors
/// If the name is reserved (`dead_letters`, `killfeed_*`, `*_latest`), or too long to name a folder.
pub fn table_name(event_type: &str) -> Result<String, NameError> {
    if event_type.is_empty() {
        return Err(NameError::Empty);
    }
    let table: String = event_type
        .chars()
        .flat_map(char::to_lowercase)
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' })
        .collect();
    if table == "dead_letters" || table.starts_with("killfeed_") || table.ends_with("_latest") {
        return Err(NameError::Reserved { event_type: event_type.to_owned(), table });
    }
    if table.len() > limits::TABLE_NAME_BYTES_MAX {
        return Err(NameError::TooLong { event_type: event_type.to_owned(), bytes: table.len() });
    }
    Ok(table)
}

/// A field's name in lower snake case, other characters as `_`: `championId` is `champion_id`,
/// `HTTPServer` is `http_server`.
pub fn snake_case(name: &str) -> String {
    let mut column = String::with_capacity(name.len() + 4);
    let mut before: Option<char> = None;
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        if c.is_ascii_uppercase() {
            let starts_word = before.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
                || (before.is_some_and(|b| b.is_ascii_uppercase())
                    && rest.peek().is_some_and(char::is_ascii_lowercase));
            if starts_word {
                column.push('_');
            }
            column.push(c.to_ascii_lowercase());
        } else if c.is_ascii_lowercase() || c.is_ascii_digit() {
            column.push(c);
        } else {
            column.push('_');
        }
        before = Some(c);
    }
    column
}

/// The column of a field among others: its name in snake case; if that is taken, `data_<name>`; if
/// that is taken too, or the name is empty or too long, none, and the field goes to `extra`.
pub fn column_name(field: &str, taken: impl Fn(&str) -> bool) -> Option<String> {
    let name = snake_case(field);
    if name.is_empty() {
        return None;
    }
    [name.clone(), format!("data_{name}")]
        .into_iter()
        .find(|candidate| !taken(candidate))
        .filter(|column| column.len() <= limits::COLUMN_NAME_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_becomes_a_column() {
        for (field, column) in [
            ("championId", "champion_id"),
            ("KDA", "kda"),
            ("HTTPServer", "http_server"),
            ("x1Y", "x1_y"),
            ("player id", "player_id"),
            ("kill-type", "kill_type"),
            ("already_snake", "already_snake"),
            ("Größe", "gr__e"),
            ("名前", "__"),
            ("", ""),
        ] {
            assert_eq!(snake_case(field), column, "{field}");
        }
    }

    #[test]
    fn a_taken_name_gets_a_prefix_and_then_none() {
        let taken = ["id", "data_time", "time"];
        let name = |field: &str| column_name(field, |column| taken.contains(&column));
        assert_eq!(name("kills").as_deref(), Some("kills"));
        assert_eq!(name("id").as_deref(), Some("data_id"));
        assert_eq!(name("time"), None);
        assert_eq!(name(""), None);
        assert_eq!(name(&"x".repeat(129)), None);
        assert_eq!(name(&"x".repeat(128)).map(|name| name.len()), Some(128));
    }

    #[test]
    fn a_table_is_named_as_a_folder_can_be() {
        let longest = "x".repeat(limits::TABLE_NAME_BYTES_MAX);
        assert_eq!(table_name(&longest).as_ref(), Ok(&longest));
        let longer = format!("{longest}x");
        assert_eq!(table_name(&longer), Err(NameError::TooLong { event_type: longer.clone(), bytes: 201 }));
    }

    #[test]
    fn a_type_becomes_a_table_unless_the_name_is_reserved() {
        for (event_type, table) in [
            ("lol.champion_kill", Some("lol_champion_kill")),
            ("Chat.Message", Some("chat_message")),
            ("com.studio/a-b", Some("com_studio_a_b")),
            ("dead.letters", None),
            ("killfeed.ledger", None),
            ("player.latest", None),
            ("killfeed", Some("killfeed")),
            ("", None),
        ] {
            assert_eq!(table_name(event_type).ok().as_deref(), table, "{event_type}");
        }
    }
}
