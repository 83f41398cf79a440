//! What the engine says of a statement, in our words: one sentence, with line and column where they
//! are known, SQL's names of types, and nothing of the library's own insides.
//!
//! What has no wording of its own passes through [`plain`], which keeps the sentence and takes the
//! library's prefixes, type names and dumps off it.

use crate::engine::is_name;
use crate::{Error, functions, near};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use tables::DEAD_LETTERS;

/// Bytes of a sentence at most.
const LENGTH_MAX: usize = 1_000;
/// What follows says whose library it is and where to complain.
const ENDS: [&str; 4] =
    [" backtrace:", " This issue was likely caused by", " Please help us", " You might need to add"];
/// Kinds of error that stand before the sentence.
const PREFIXES: [&str; 15] = [
    "Error during planning: ",
    "SQL error: ",
    "Schema error: ",
    "Execution error: ",
    "Internal error: ",
    "External error: ",
    "Compute error: ",
    "Parser error: ",
    "Cast error: ",
    "Arrow error: ",
    "Optimizer rule ",
    "Invalid argument error: ",
    "Arithmetic overflow: ",
    "Invalid or Unsupported Configuration: ",
    "Error: ",
];

/// The error that this one is for who asked.
pub(crate) fn of(error: &DataFusionError, memory_limit: usize) -> Error {
    let place = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let place = place.filter(|span| span.start.line > 0);
    let place = place.map(|span| format!("line {}, column {}: ", span.start.line, span.start.column));
    let refused = |sentence: String| Error::Refused(format!("{}{sentence}", place.as_deref().unwrap_or_default()));
    match error.find_root() {
        DataFusionError::ResourcesExhausted(detail) => {
            Error::Memory { limit: memory_limit, detail: who_asked(detail).into() }
        }
        DataFusionError::SQL(error, _) => Error::Refused(syntax(error)),
        DataFusionError::SchemaError(error, _) => refused(column(error)),
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::IoError(..) | ArrowError::IpcError(_) | ArrowError::ParquetError(_) => {
                Error::Internal(one_line(&error.to_string()))
            }
            ArrowError::DivideByZero => refused("division by zero".into()),
            other => refused(sentence(&other.to_string())),
        },
        DataFusionError::External(error) if error.to_string().contains("regex parse error") => {
            refused(sentence(&error.to_string()))
        }
        DataFusionError::NotImplemented(text) => refused(not_there(text)),
        DataFusionError::Plan(text)
        | DataFusionError::Execution(text)
        | DataFusionError::Configuration(text)
        | DataFusionError::Internal(text) => refused(sentence(text)),
        // Files, the store, a task that panicked: nothing that another statement would mend.
        other => Error::Internal(one_line(&other.strip_backtrace())),
    }
}

/// `Expected: X, found: Y at Line: 1, Column: 2`, as the parser has it.
fn syntax(error: &ParserError) -> String {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => one_line(text),
        ParserError::RecursionLimitExceeded => return "the SQL nests too deep".into(),
    };
    unread_text(&text)
}

/// The error for a statement that can't be read.
pub fn unread(error: &ParserError) -> Error {
    Error::Refused(syntax(error))
}

/// Why there is no table of this name, beside those that there are.
pub(crate) fn why_no(table: &str, names: &[String]) -> String {
    let base = table.strip_suffix("_latest").filter(|base| names.iter().any(|name| name == base));
    match (table, base) {
        (DEAD_LETTERS, _) => "nothing has become a dead letter yet".into(),
        (_, Some(base)) => format!("the newest schema of {base} declares no key"),
        _ if table.starts_with("information_schema.") || table.starts_with("pg_catalog.") => {
            "SHOW TABLES and DESCRIBE say what there is; that schema is for PostgreSQL's protocol alone".into()
        }
        _ if table.contains('.') => "all tables lie in the schema public; SHOW TABLES lists them".into(),
        _ if !is_name(table) => "names of tables have lower-case letters, digits and _ alone".into(),
        _ => "no event of that type has arrived yet".into(),
    }
}

/// The same for a text that can't be taken apart into words.
pub(crate) fn unread_text(text: &str) -> String {
    let (text, place) = match text.split_once(" at Line: ") {
        Some((text, place)) => (text, format!(" at line {}", place.to_lowercase().replace("column: ", "column "))),
        None => (text, String::new()),
    };
    let text = text.trim_end_matches(['.', ' ']);
    let expected = text.strip_prefix("Expected: ").and_then(|rest| rest.split_once(", found: "));
    match expected {
        Some((expected, "EOF")) => format!("syntax error: the statement ends where {expected} is expected"),
        Some((expected, found)) => format!("syntax error{place}: expected {expected}, found {found}"),
        None => format!("syntax error{place}: {}", plain(text)),
    }
}

/// A column that isn't there, or is there twice.
fn column(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => no_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            format!("column {} stands in more than one table; write TABLE.{}", field.name, field.name)
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            format!("column {:?} comes twice; name one of them with AS", plain(name))
        }
    }
}

fn no_column(field: &Column, valid: &[Column]) -> String {
    let mut tables: Vec<String> = Vec::new();
    for column in valid {
        let table = column.relation.as_ref().map(|relation| relation.table().to_owned());
        tables.extend(table.filter(|table| !tables.contains(table)));
    }
    let asked = field.relation.as_ref().map(|relation| relation.table().to_owned());
    if let Some(asked) = &asked
        && !tables.contains(asked)
    {
        let near = near::clause(asked, &tables);
        return format!("no table or alias {asked:?} in this query{near}");
    }
    let within = asked.map_or(tables, |asked| vec![asked]);
    let of_those = |column: &&Column| column.relation.as_ref().is_none_or(|of| within.iter().any(|t| t == of.table()));
    let mut names: Vec<String> = valid.iter().filter(of_those).map(|column| column.name.clone()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return format!("no column {:?}: nothing to read it from; texts stand in 'single quotes'", field.name);
    }
    let near = near::clause(&field.name, &names);
    let within = if within.is_empty() { String::new() } else { format!(" in {}", within.join(", ")) };
    format!("no column {:?}{within}{near}; DESCRIBE lists a table's columns", field.name)
}

/// What the engine can't do at all.
fn not_there(text: &str) -> String {
    let text = one_line(text);
    let what = text.strip_prefix("Unsupported ast node ").or_else(|| text.strip_prefix("Unsupported SQL type "));
    match what {
        Some(what) => format!("{} is not supported", what.split([' ', '(', '{']).next().unwrap_or(what)),
        None if text.starts_with("Physical plan does not support logical expression ScalarSubquery") => {
            "a subquery can't refer to the outer query in this way; write it as a join".into()
        }
        None if text.starts_with("Dot access not supported") => {
            "behind the point of a value stands the name of a field: (f(x)).name".into()
        }
        None if text.starts_with("GetFieldAccess not supported") => "a field of this can't be read".into(),
        None => {
            let text = plain(&text);
            if text.contains("support") { text } else { format!("not supported: {text}") }
        }
    }
}

/// Any other sentence about the statement.
fn sentence(text: &str) -> String {
    let text = one_line(text);
    if text.contains("regex parse error") || text.contains("did not compile") {
        let what = text.rsplit("error: ").next().unwrap_or_default().trim_end_matches([' ', '~', ')']);
        return format!("the regular expression is wrong: {what}");
    }
    if let Some(call) = between(&text, "given name and argument types '", "'") {
        return wrong_call(call);
    }
    if let Some(name) = between(&text, "Invalid function '", "'") {
        return no_function(name);
    }
    if let Some(column) = between(&text, "While expanding wildcard, column \"", "\"") {
        return format!("column {column} must stand in GROUP BY, or inside an aggregate like count or max");
    }
    if text.starts_with("Projections require unique expression names") {
        let name = between(&text, "expression \"", "\"").map(plain).unwrap_or_default();
        return format!("two columns of a SELECT have one name, {name}; name one of them with AS");
    }
    if text.contains("annot access field at argument")
        && let Some(kind) = between(&text, ": type ", " is not")
    {
        return format!("{} has no fields", plain(kind));
    }
    if let Some(pair) = between(&text, "Cannot coerce arithmetic expression ", " to valid types") {
        return format!("{} can't be computed", plain(pair));
    }
    if let Some((_, pair)) = text.split_once("common argument type for comparison operation ") {
        return format!("{} can't be compared", plain(pair));
    }
    if let Some(pair) = between(&text, "common type to coerce ", " in LIKE") {
        return format!("{} can't be compared by LIKE", plain(pair));
    }
    if let Some(name) = between(&text, "Placeholder '", "' was not provided") {
        return format!("placeholder {name} has no value: only reports have parameters");
    }
    if text.starts_with("DDL not supported") || text.starts_with("DML not supported") {
        return "SELECT INTO and the like are not allowed: queries only read".into();
    }
    if let Some((value, target)) = cast(&text) {
        return format!("{value} is no {}", plain(target));
    }
    plain(&text)
}

/// The value and the type of a cast that failed.
fn cast(text: &str) -> Option<(&str, &str)> {
    if let Some(interval) = between(text, "Invalid input syntax for type interval: ", "\0") {
        return Some((interval, "interval"));
    }
    if let Some((_, rest)) = text.split_once("Error parsing timestamp from ") {
        return Some((&rest[..=rest.find("': ")?], "timestamp"));
    }
    let at = ["Cannot cast string ", "Cannot cast value ", "Can't cast value "];
    let rest = at.iter().find_map(|start| text.split_once(start).map(|(_, rest)| rest))?;
    if let Some((value, target)) = rest.rsplit_once(" to value of ") {
        return Some((value, target.strip_suffix(" type").unwrap_or(target)));
    }
    rest.rsplit_once(" to type ")
}

/// A call by arguments that the function doesn't take.
fn wrong_call(call: &str) -> String {
    let (name, types) = call.split_once('(').unwrap_or((call, ""));
    let types = plain(types.strip_suffix(')').unwrap_or(types));
    if types.is_empty() {
        return format!("function {name} needs arguments");
    }
    format!("function {name} does not take ({types})")
}

fn no_function(name: &str) -> String {
    let known = functions::known();
    if known.windows.iter().any(|window| window == name) {
        return format!("{name} is a window function: it needs OVER (...)");
    }
    let near = near::clause(name, &known.calls);
    format!("no function {name:?}{near}")
}

/// What asked for memory that there isn't.
fn who_asked(detail: &str) -> &'static str {
    let kinds = [
        ("used disk space", "it has spilled as much to disk as it may"),
        ("GroupedHashAggregate", "its groups don't fit"),
        ("HashJoin", "the smaller side of a join doesn't fit"),
        ("NestedLoopJoin", "one side of a join doesn't fit"),
        ("CrossJoin", "one side of a join doesn't fit"),
        ("Sort", "what it sorts doesn't fit"),
        ("Window", "a window doesn't fit"),
    ];
    let kind = kinds.iter().find(|(word, _)| detail.contains(word));
    kind.map_or("what it holds doesn't fit", |(_, why)| why)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = &text[text.find(start)? + start.len()..];
    if end == "\0" { Some(rest) } else { rest.split(end).next() }
}

/// A sentence without prefixes, dumps and the library's names of types.
pub(crate) fn plain(text: &str) -> String {
    let mut text = one_line(text);
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest.to_owned();
    }
    // From a brace on it is a dump of a syntax tree, or a struct's fields.
    if let Some(dump) = text.find(" {") {
        text.truncate(dump);
    }
    let text = types(&text).replace("DataFusion", "the engine").replace("datafusion", "the engine");
    let mut letters = text.chars();
    let lower = match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if first.is_ascii_uppercase() && second.is_ascii_lowercase() => {
            format!("{}{}", first.to_ascii_lowercase(), &text[1..])
        }
        _ => text,
    };
    lower.trim_end_matches(['.', ' ']).to_owned()
}

/// The library's names of types, as SQL has them; a typed literal (`Int64(1)`) is its value.
fn types(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, word_on) = rest.split_at(start);
        let end = word_on.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(word_on.len());
        let (word, after) = word_on.split_at(end);
        out.push_str(before);
        rest = after;
        let continues = out.ends_with('_') || out.ends_with('\'') || out.ends_with('"');
        let Some(name) = sql_type(word).filter(|_| !continues) else {
            out.push_str(word);
            continue;
        };
        let Some(inner) = parenthesised(after) else {
            out.push_str(name);
            continue;
        };
        rest = &after[inner.len() + 2..];
        match name {
            "text" | "bigint" | "int" | "double" | "real" | "boolean" if inner != "1" || word != "Numeric" => {
                out.push_str(&inner.replace('"', "'"));
            }
            _ => out.push_str(name),
        }
    }
    out.push_str(rest);
    out
}

/// What stands in the parentheses with which the text begins.
fn parenthesised(text: &str) -> Option<&str> {
    if !text.starts_with('(') {
        return None;
    }
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return text.get(1..at),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn sql_type(word: &str) -> Option<&'static str> {
    Some(match word {
        "Utf8" | "Utf8View" | "LargeUtf8" => "text",
        "Binary" | "BinaryView" | "LargeBinary" => "binary",
        "Boolean" => "boolean",
        "Int8" | "Int16" | "Int32" | "UInt8" | "UInt16" => "int",
        "Int64" | "UInt32" | "UInt64" => "bigint",
        "Float16" | "Float32" => "real",
        "Float64" => "double",
        "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" => "decimal",
        "Date32" | "Date64" => "date",
        "Timestamp" => "timestamp",
        "Time32" | "Time64" => "time",
        "Interval" | "Duration" => "interval",
        "Struct" => "struct",
        "List" | "LargeList" | "FixedSizeList" => "list",
        _ => return None,
    })
}

/// In one line, no longer than a page bears, without what stands behind the sentence.
fn one_line(text: &str) -> String {
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for end in ENDS {
        if let Some(at) = line.find(end)
            && !line[at..].contains("given name and argument types")
        {
            line.truncate(at);
        }
    }
    if line.len() > LENGTH_MAX {
        let cut = (0..=LENGTH_MAX).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(cut);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_literals_are_written_as_in_sql() {
        for (said, ours) in [
            ("Utf8View + Int64", "text + bigint"),
            ("Timestamp(µs, \"UTC\") = Int64", "timestamp = bigint"),
            ("count(Int64(1)) and Utf8(\"x\")", "count(1) and 'x'"),
            ("Struct(\"x\": Int64, metadata: {\"a\": \"b\"}) + Int64", "struct + bigint"),
            ("my_Int64 'Int64' Int64x", "my_Int64 'Int64' Int64x"),
            ("Int64(", "bigint("),
        ] {
            assert_eq!(types(said), ours, "{said}");
        }
    }

    #[test]
    fn a_sentence_loses_its_prefixes_and_what_stands_behind_it() {
        let bug = "Internal error: Odd thing.\nThis issue was likely caused by a bug in DataFusion's code. Please help";
        assert_eq!(plain(bug), "odd thing");
        assert_eq!(plain("Execution error: Arrow error: LIMIT must be >= 0."), "LIMIT must be >= 0");
        assert_eq!(plain("Unsupported Thing { a: B(1) }"), "unsupported Thing");
        let long = plain(&"é".repeat(2_000));
        assert!(long.len() < 1_010 && long.ends_with('…'));
    }
}
