//! Texts cut into statements, and which of them the engine never sees.
//!
//! Tools put their questions about tables in words that only PostgreSQL understands; those are rewritten. A
//! statement that asks for events goes to the engine as it was written.

use crate::rewrite;
use crate::words::{of, said};
use datafusion::sql::sqlparser::ast::Statement as Sql;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_postgres::pgwire::error::PgWireResult;

/// Bytes of a statement that sets something. What is longer is no setting, and its tree might be too deep for the
/// stacks of those who pass it on.
const SETTING_BYTES_MAX: usize = 1_000;

/// One statement, by who answers it.
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    /// The engine, asked this.
    Query {
        sql: String,
        /// Whether it is all of the client's text, so that places in it are places in that.
        as_written: bool,
    },
    /// Nobody needs to: there are no transactions and only few settings, but clients speak of them.
    Setting(Box<Sql>),
    /// The same; answered by this word alone.
    Nothing(&'static str),
}

/// Cuts `sql` into statements. Trees may be deep: to be called on a large stack.
///
/// # Errors
/// Where it can't be read.
pub(crate) fn parse(parser: &PostgresCompatibilityParser, sql: &str) -> PgWireResult<Vec<Statement>> {
    // What the library has rewritten has lost its places.
    let plain = Parser::parse_sql(&PostgreSqlDialect {}, sql);
    let parsed = parser.parse(sql).map_err(|error| {
        let error = plain.as_ref().err().unwrap_or(&error);
        of(&queries::unread(error), Some(sql))
    })?;
    let mut statements = parsed.into_iter().map(sorted).collect::<PgWireResult<Vec<_>>>()?;
    if let ([Statement::Query { sql: rewritten, as_written }], Ok([plain])) = (&mut statements[..], plain.as_deref())
        && *rewritten == plain.to_string()
    {
        (*rewritten, *as_written) = (sql.to_owned(), true);
    }
    Ok(statements)
}

fn sorted(ast: Sql) -> PgWireResult<Statement> {
    match ast {
        Sql::Discard { .. } => Ok(Statement::Nothing("DISCARD ALL")),
        Sql::Deallocate { .. } => Ok(Statement::Nothing("DEALLOCATE")),
        Sql::Reset { .. } => Ok(Statement::Nothing("RESET")),
        Sql::StartTransaction { .. } | Sql::Commit { .. } | Sql::Rollback { .. } => Ok(Statement::Setting(ast.into())),
        Sql::Set(_) | Sql::ShowVariable { .. } | Sql::ShowStatus { .. } | Sql::ShowCatalogs { .. } => {
            if let Sql::ShowVariable { variable } = &ast
                && let Some(all) = rewrite::show_all(variable)
            {
                return Ok(Statement::Query { sql: all, as_written: false });
            }
            let bytes = ast.to_string().len();
            if bytes > SETTING_BYTES_MAX {
                return Err(said("54000", &format!("a setting has {bytes} bytes; the limit is {SETTING_BYTES_MAX}")));
            }
            Ok(Statement::Setting(ast.into()))
        }
        mut query => {
            rewrite::rewrite(&mut query);
            Ok(Statement::Query { sql: query.to_string(), as_written: false })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_sorted() {
        let parser = PostgresCompatibilityParser::new();
        let parsed = parse(&parser, "BEGIN; SELECT 'a;b' AS c; DISCARD ALL; SET a = 1; DROP TABLE t; COMMIT").unwrap();
        assert!(matches!(
            &parsed[..],
            [
                Statement::Setting(_),
                Statement::Query { sql: select, as_written: false },
                Statement::Nothing("DISCARD ALL"),
                Statement::Setting(_),
                Statement::Query { .. },
                Statement::Setting(_)
            ] if select == "SELECT 'a;b' AS c"
        ));
        assert!(parse(&parser, " ; ").unwrap().is_empty());
        let alone = parse(&parser, "SELECT  'a;b'\n AS c -- so\n;").unwrap();
        assert!(matches!(
            &alone[..],
            [Statement::Query { sql, as_written: true }] if sql == "SELECT  'a;b'\n AS c -- so\n;"
        ));
        let rewritten = parse(&parser, "SELECT obj_description(1)").unwrap();
        assert!(matches!(&rewritten[..], [Statement::Query { as_written: false, .. }]));
        assert!(parse(&parser, "SELECT (").is_err());
        let long = format!("SET a = '{}'", "x".repeat(SETTING_BYTES_MAX));
        assert!(parse(&parser, &long).is_err());
    }
}
