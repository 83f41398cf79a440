//! Texts cut into statements, and which of them the engine never sees.
//!
//! Tools put their questions about tables in words that only PostgreSQL understands; those are rewritten. A
//! statement that asks for events goes to the engine as it was written.

use crate::rewrite;
use crate::words::said;
use datafusion::sql::sqlparser::ast::Statement as Sql;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_postgres::pgwire::error::PgWireResult;

/// Bytes of a statement that sets something. What is longer is no setting, and its tree might be too deep for the
/// stacks of those who pass it on.
const SETTING_BYTES_MAX: usize = 1_000;

/// One statement, by who answers it.
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    /// The engine, asked this.
    Query(String),
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
    let parsed = parser.parse(sql).map_err(|error| said("42601", &error.to_string()))?;
    parsed.into_iter().map(sorted).collect()
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
                return Ok(Statement::Query(all));
            }
            let bytes = ast.to_string().len();
            if bytes > SETTING_BYTES_MAX {
                return Err(said("54000", &format!("a setting has {bytes} bytes; the limit is {SETTING_BYTES_MAX}")));
            }
            Ok(Statement::Setting(ast.into()))
        }
        mut query => {
            rewrite::rewrite(&mut query);
            Ok(Statement::Query(query.to_string()))
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
                Statement::Query(select),
                Statement::Nothing("DISCARD ALL"),
                Statement::Setting(_),
                Statement::Query(_),
                Statement::Setting(_)
            ] if select == "SELECT 'a;b' AS c"
        ));
        assert!(parse(&parser, " ; ").unwrap().is_empty());
        assert!(parse(&parser, "SELECT (").is_err());
        let long = format!("SET a = '{}'", "x".repeat(SETTING_BYTES_MAX));
        assert!(parse(&parser, &long).is_err());
    }
}
