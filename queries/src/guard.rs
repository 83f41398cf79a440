//! What is looked at before a parser or planner touches somebody else's SQL: its length, its
//! tokens, its nesting; and afterwards, what kind of statement it is, and how large it becomes.
//!
//! Parser, planner and the destructors of their trees recurse, and a stack that overflows takes the
//! whole process with it. So the number of tokens bounds how deep any tree can get, and queries run
//! on threads whose stack is large enough for that depth (see [`crate::Config`]).

use crate::{Config, Error, Result, words, written_out};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{ObjectName, Statement as Sql};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// What a statement asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Rows, by this statement.
    Rows(Box<Statement>),
    /// The list of tables.
    Tables,
    /// The columns of a table.
    Columns(String),
}

/// Checks the text of one statement against the limits.
///
/// # Errors
/// Names the limit that it passes.
pub(crate) fn check_text(sql: &str, config: &Config) -> Result<()> {
    let measured = check_size(sql, config)?;
    if measured.is_empty {
        return Err(Error::Refused("the SQL is empty".into()));
    }
    if let Some(Location { line, column }) = measured.second {
        return Err(Error::Refused(format!(
            "one statement at a time: a second one begins at line {line}, column {column}"
        )));
    }
    Ok(())
}

/// What there is in a text.
#[derive(Debug)]
pub(crate) struct Measured {
    is_empty: bool,
    /// Where a second statement begins.
    second: Option<Location>,
}

/// Checks a text of any number of statements.
///
/// # Errors
/// The same.
pub(crate) fn check_size(sql: &str, config: &Config) -> Result<Measured> {
    let refuse = |what: &str, found: usize, limit: usize| {
        Err(Error::Refused(format!("the SQL has {found} {what}; the limit is {limit}")))
    };
    if sql.len() > config.sql_bytes_max {
        return refuse("bytes", sql.len(), config.sql_bytes_max);
    }
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| Error::Refused(words::unread_text(&error.to_string())))?;
    let (mut count, mut depth, mut deepest) = (0_usize, 0_usize, 0_usize);
    // Each NOT in a row is a level, too; the parser gives up on many with words about something else.
    let mut nots = 0_usize;
    let (mut ended, mut second) = (false, None);
    for TokenWithSpan { token, span } in &tokens {
        match token {
            Token::Whitespace(_) => continue,
            Token::EOF => break,
            Token::SemiColon => {
                ended |= count > 0;
                continue;
            }
            // It would be passed over, and all rows answered.
            Token::Word(word) if word.keyword == Keyword::TABLESAMPLE && word.quote_style.is_none() => {
                return Err(Error::Refused("TABLESAMPLE is not supported; LIMIT, or a filter on a hash, is".into()));
            }
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            Token::Word(word) if word.keyword == Keyword::CASE => depth += 1,
            Token::Word(word) if word.keyword == Keyword::END => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_not = matches!(token, Token::Word(word) if word.keyword == Keyword::NOT && word.quote_style.is_none());
        nots = if is_not { nots + 1 } else { 0 };
        if ended {
            second.get_or_insert(span.start);
        }
        count += 1;
        deepest = deepest.max(depth + nots);
    }
    if count > config.tokens_max {
        return refuse("words and signs", count, config.tokens_max);
    }
    if deepest > config.depth_max {
        return refuse("levels of nesting", deepest, config.depth_max);
    }
    Ok(Measured { is_empty: count == 0, second })
}

/// What a parsed statement asks for, if that is allowed.
///
/// # Errors
/// Names what isn't allowed.
pub(crate) fn classify(statement: Statement) -> Result<Asked> {
    let refuse = |what: &str| {
        Err(Error::Refused(format!(
            "{what} is not allowed: queries only read (SELECT, WITH, VALUES, EXPLAIN, SHOW TABLES, DESCRIBE)"
        )))
    };
    match statement {
        Statement::Statement(sql) => match *sql {
            Sql::Query(_) => {
                written_out::check(&sql)?;
                Ok(Asked::Rows(Box::new(Statement::Statement(sql))))
            }
            Sql::ShowTables { show_options, .. } => match show_options.filter_position {
                None => Ok(Asked::Tables),
                Some(_) => refuse("a filter on SHOW TABLES"),
            },
            Sql::ShowColumns { show_options, .. } => {
                let table = show_options.show_in.and_then(|within| within.parent_name);
                table.map_or_else(|| refuse("SHOW COLUMNS without a table"), |name| Ok(Asked::Columns(bare(&name))))
            }
            Sql::ExplainTable { table_name, .. } => Ok(Asked::Columns(bare(&table_name))),
            other => refuse(&first_words(&other.to_string())),
        },
        Statement::Explain(explain) => {
            let options = &explain.options;
            if options.analyze {
                return refuse("EXPLAIN ANALYZE");
            }
            if options.verbose || options.format.is_some() {
                return refuse("EXPLAIN with VERBOSE or FORMAT");
            }
            match explain.statement.as_ref() {
                Statement::Statement(sql) if matches!(**sql, Sql::Query(_)) => {
                    written_out::check(sql)?;
                    Ok(Asked::Rows(Box::new(Statement::Explain(explain))))
                }
                other => refuse(&format!("EXPLAIN of {}", first_words(&other.to_string()))),
            }
        }
        Statement::CreateExternalTable(_) => refuse("CREATE EXTERNAL TABLE"),
        Statement::CopyTo(_) => refuse("COPY"),
        Statement::Reset(_) => refuse("RESET"),
    }
}

fn bare(name: &ObjectName) -> String {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.map_or_else(
        || name.to_string(),
        |ident| match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_lowercase(),
        },
    )
}

fn first_words(statement: &str) -> String {
    let words = statement.split_whitespace().take(2);
    words.filter(|word| word.chars().all(|c| c.is_ascii_uppercase())).collect::<Vec<_>>().join(" ")
}
