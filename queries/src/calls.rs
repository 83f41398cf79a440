//! What the parser reads and the planner has no words for, put into words that it has; and which tables a statement
//! calls, as functions, since none of those is a table of events.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Ident, Statement as Sql, TableFactor, Value, Visit as _, VisitMut as _, Visitor, VisitorMut,
};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Writes `(f(x)).name` as `f(x)['name']`: a field of a value, which PostgreSQL has by its name.
pub(crate) fn name_fields(statement: &mut Statement) {
    match statement {
        Statement::Statement(sql) => drop(sql.visit(&mut Fields)),
        Statement::Explain(explain) => name_fields(&mut explain.statement),
        _ => {}
    }
}

struct Fields;

impl VisitorMut for Fields {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundFieldAccess { access_chain, .. } = expr {
            for access in access_chain {
                if let AccessExpr::Dot(field) = access
                    && let Expr::Identifier(name) = field
                {
                    *field = Expr::value(Value::SingleQuotedString(plain(name)));
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// The functions that a statement calls for rows, as it names them.
pub(crate) fn tables(statement: &Statement) -> BTreeSet<String> {
    let mut found = Tables(BTreeSet::new());
    if let Some(sql) = sql(statement) {
        let _ = sql.visit(&mut found);
    }
    found.0
}

fn sql(of: &Statement) -> Option<&Sql> {
    match of {
        Statement::Statement(sql) => Some(sql),
        Statement::Explain(explain) => sql(&explain.statement),
        _ => None,
    }
}

struct Tables(BTreeSet<String>);

impl Visitor for Tables {
    type Break = ();

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        let called = match table {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => Some(name),
            _ => None,
        };
        let names = called.map(|name| name.0.iter().filter_map(|part| part.as_ident()).map(plain).collect::<Vec<_>>());
        self.0.extend(names.map(|names| names.join(".")));
        ControlFlow::Continue(())
    }
}

/// A name as it counts: in lower case, unless it stands in quotes.
fn plain(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}
