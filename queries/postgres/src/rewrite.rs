//! What tools ask about indexes, descriptions, options and rights of tables, members of roles and the search path, in
//! words that the engine has no plan for. None of these exist here but the last, so the answer is known beforehand:
//! NULL, or no members. The search path is `public`.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, CastKind, DataType, Expr, Function, FunctionArguments, Ident, ObjectName, ObjectNamePart, Select,
    SelectItem, Statement, Value, VisitMut as _, VisitorMut,
};
use std::ops::ControlFlow;

/// A function that gives each element of an index's columns with its number, as one value of two fields.
const EXPANDS: &str = "_pg_expandarray";
/// Functions that give descriptions of what has none.
const DESCRIBES: [&str; 3] = ["col_description", "obj_description", "shobj_description"];
/// The rights of a table, as the list that PostgreSQL keeps.
const ACL: &str = "relacl";
/// Where it keeps who is a member of which role.
const MEMBERS: &str = "pg_auth_members";
/// A table's storage options.
const OPTIONS: &str = "reloptions";

/// Puts known answers where only PostgreSQL could compute them.
pub(crate) fn rewrite(statement: &mut Statement) {
    let text = statement.to_string();
    let mut rewriter = Rewriter { expands: text.contains(EXPANDS), has_classes: text.contains("pg_class") };
    let ControlFlow::Continue(()) = statement.visit(&mut rewriter);
}

struct Rewriter {
    /// Whether fields of values can only be those of [`EXPANDS`].
    expands: bool,
    /// Whether it is about tables, so that [`ACL`] can only be theirs.
    has_classes: bool,
}

impl VisitorMut for Rewriter {
    type Break = std::convert::Infallible;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        for item in &mut select.projection {
            // What it is replaced by has no name of its own, and two without are one too many.
            let name = match item {
                SelectItem::UnnamedExpr(Expr::Function(call)) => {
                    DESCRIBES.into_iter().find(|describes| is(&call.name, &[describes]))
                }
                SelectItem::UnnamedExpr(expr) if self.is_acl(expr) => Some(ACL),
                _ => None,
            };
            if let Some(name) = name {
                *item = SelectItem::ExprWithAlias { expr: null(DataType::Text), alias: Ident::new(name) };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        // Before what stands in it is known: a list of nothing is no list.
        if let Expr::Function(call) = expr
            && is(&call.name, &["array_to_string"])
            && (call.to_string().contains(OPTIONS) || self.has_classes && call.to_string().contains(ACL))
        {
            *expr = null(DataType::Text);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let is_acl = self.is_acl(expr);
        let known = match expr {
            Expr::Function(call) if is(&call.name, &[EXPANDS]) => Some(null(DataType::Int(None))),
            Expr::Function(call) if is(&call.name, &DESCRIBES) => Some(null(DataType::Text)),
            Expr::Function(call) if is(&call.name, &["array"]) && of_subquery(call).contains(MEMBERS) => {
                Some(Expr::Value(Value::SingleQuotedString("{}".to_owned()).into()))
            }
            _ if is_acl => Some(null(DataType::Text)),
            Expr::CompoundFieldAccess { root, access_chain } if self.expands => {
                let is_field = matches!(access_chain.first(), Some(AccessExpr::Dot(_)));
                (is_field && matches!(**root, Expr::Nested(_))).then(|| null(DataType::Int(None)))
            }
            // The library has put an empty text where the schemas of the search path were asked for.
            Expr::InList { expr: asked, list, negated } if names_schemas(asked) && is_empty(list) => {
                Some(in_path(asked, *negated))
            }
            Expr::InSubquery { expr: asked, subquery, negated }
                if subquery.to_string().contains("current_setting('search_path')") =>
            {
                Some(in_path(asked, *negated))
            }
            _ => None,
        };
        if let Some(known) = known {
            *expr = known;
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter {
    fn is_acl(&self, expr: &Expr) -> bool {
        let column = match expr {
            Expr::Identifier(column) => Some(column),
            Expr::CompoundIdentifier(names) => names.last(),
            _ => None,
        };
        self.has_classes && column.is_some_and(|column| column.value.eq_ignore_ascii_case(ACL))
    }
}

/// The query that a call has in place of its arguments; empty if it has none.
fn of_subquery(call: &Function) -> String {
    match &call.args {
        FunctionArguments::Subquery(query) => query.to_string(),
        _ => String::new(),
    }
}

fn is(name: &ObjectName, functions: &[&str]) -> bool {
    let last = name.0.last().and_then(ObjectNamePart::as_ident);
    last.is_some_and(|last| functions.contains(&last.value.to_ascii_lowercase().as_str()))
}

fn names_schemas(expr: &Expr) -> bool {
    expr.to_string().contains("table_schema")
}

fn is_empty(list: &[Expr]) -> bool {
    matches!(list, [Expr::Value(value)] if matches!(&value.value, Value::SingleQuotedString(text) if text.is_empty()))
}

fn in_path(asked: &Expr, negated: bool) -> Expr {
    let schema = Expr::Value(Value::SingleQuotedString(queries::SCHEMA.to_owned()).into());
    Expr::InList { expr: Box::new(asked.clone()), list: vec![schema], negated }
}

fn null(data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(Value::Null.into())),
        data_type,
        array: false,
        format: None,
    }
}

/// `SHOW ALL` as the question that it is.
pub(crate) fn show_all(variable: &[Ident]) -> Option<String> {
    let all = matches!(variable, [all] if all.value.eq_ignore_ascii_case("all"));
    all.then(|| "SELECT name, setting, short_desc AS description FROM pg_catalog.pg_settings ORDER BY name".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn what_only_postgresql_could_compute_is_known() {
        for (asked, known) in [
            (
                "SELECT (information_schema._pg_expandarray(i.indkey)).n AS pos, i.o[(i.keys).n - 1] FROM i",
                "SELECT CAST(NULL AS INT) AS pos, i.o[CAST(NULL AS INT) - 1] FROM i",
            ),
            ("SELECT (home).city FROM t", "SELECT (home).city FROM t"),
            ("SELECT pg_catalog.col_description(c.oid, 1)", "SELECT CAST(NULL AS TEXT) AS col_description"),
            ("SELECT upper(obj_description(1))", "SELECT upper(CAST(NULL AS TEXT))"),
            (
                "SELECT 1 FROM t WHERE table_schema IN (SELECT trim(s) FROM x(current_setting('search_path')) s)",
                "SELECT 1 FROM t WHERE table_schema IN ('public')",
            ),
            (
                "SELECT 1 FROM t WHERE quote_ident(table_schema) IN ('')",
                "SELECT 1 FROM t WHERE quote_ident(table_schema) IN ('public')",
            ),
            (
                "SELECT r.a, ARRAY(SELECT b.a FROM pg_catalog.pg_auth_members m JOIN b ON m.r = b.o) AS memberof FROM r",
                "SELECT r.a, '{}' AS memberof FROM r",
            ),
            ("SELECT ARRAY(SELECT a FROM b) FROM r", "SELECT ARRAY(SELECT a FROM b) FROM r"),
            (
                "SELECT array_to_string(c.reloptions || array(SELECT 'toast.' || x FROM unnest(t.reloptions) AS x), ', ')",
                "SELECT CAST(NULL AS TEXT)",
            ),
            (
                "SELECT c.relacl, array_to_string(c.relacl, ' ') FROM pg_class AS c",
                "SELECT CAST(NULL AS TEXT) AS relacl, CAST(NULL AS TEXT) FROM pg_class AS c",
            ),
            ("SELECT relacl FROM mine", "SELECT relacl FROM mine"),
            ("SELECT 1 FROM t WHERE text IN ('')", "SELECT 1 FROM t WHERE text IN ('')"),
        ] {
            let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, asked).unwrap().remove(0);
            rewrite(&mut statement);
            assert_eq!(statement.to_string(), known);
        }
    }
}
