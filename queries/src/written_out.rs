//! How large a query is once each of its WITH queries is written out where it is named, as the planner does. A text
//! of some lines can name the one before twice, twenty times over, and be a million tables; no limit on memory or
//! time is asked before all of them are planned.

use crate::{Error, Result};
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Statement, Visit as _, Visitor};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Tables that a statement may read, each time that one is named counted.
const TABLES_MAX: u64 = 100;

/// Checks a statement against the limit.
///
/// # Errors
/// Names the limit.
pub(crate) fn check(statement: &Statement) -> Result<()> {
    let mut count = Count::default();
    let _ = statement.visit(&mut count);
    if count.all > TABLES_MAX {
        return Err(Error::Refused(format!(
            "the statement reads {} tables, WITH queries written out wherever they are named; the limit is {TABLES_MAX}",
            count.all
        )));
    }
    Ok(())
}

/// Counts tables while a statement is walked through: a query's WITH queries first, in their order, then its body.
#[derive(Default)]
struct Count {
    /// The queries that are walked through, from the outermost on.
    open: Vec<Open>,
    all: u64,
}

#[derive(Default)]
struct Open {
    tables: u64,
    /// Its WITH queries: where each stands, and its name.
    to_come: Vec<(*const Query, String)>,
    /// Those that were walked through, and how many tables each reads.
    known: HashMap<String, u64>,
}

impl Visitor for Count {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let with = query.with.iter().flat_map(|with| &with.cte_tables);
        let to_come = with.map(|cte| (std::ptr::from_ref(&*cte.query), cte.alias.name.value.to_lowercase()));
        self.open.push(Open { to_come: to_come.collect(), ..Open::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = self.open.pop().map_or(0, |open| open.tables);
        let Some(around) = self.open.last_mut() else {
            self.all = self.all.saturating_add(tables);
            return ControlFlow::Continue(());
        };
        match around.to_come.iter().find(|(place, _)| std::ptr::eq(*place, query)) {
            // One without a table is planned as often as it is named, too.
            Some((_, name)) => drop(around.known.insert(name.clone(), tables.max(1))),
            None => around.tables = around.tables.saturating_add(tables),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let name = relation.to_string().replace('"', "").to_lowercase();
        let tables = self.open.iter().rev().find_map(|open| open.known.get(&name)).copied().unwrap_or(1);
        if let Some(open) = self.open.last_mut() {
            open.tables = open.tables.saturating_add(tables);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    fn count(sql: &str) -> u64 {
        let mut count = Count::default();
        for statement in Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap() {
            let _ = statement.visit(&mut count);
        }
        count.all
    }

    #[test]
    fn tables_are_counted_as_often_as_they_are_planned() {
        for (sql, tables) in [
            ("SELECT 1", 0),
            ("SELECT * FROM a, b JOIN a c ON true WHERE x IN (SELECT y FROM d)", 4),
            ("WITH t AS (SELECT 1) SELECT * FROM t, t u", 2),
            ("WITH t AS (SELECT * FROM a, b), u AS (SELECT * FROM t UNION ALL SELECT * FROM t) SELECT * FROM u, T", 6),
            ("WITH t AS (WITH s AS (SELECT * FROM a, a b) SELECT * FROM s, s r) SELECT * FROM t, \"t\" u", 8),
            (
                "WITH a AS (SELECT * FROM x, y), b AS (WITH c AS (SELECT * FROM a) SELECT * FROM c, c d) SELECT * FROM b",
                4,
            ),
            ("WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT * FROM r) SELECT * FROM r", 1),
            ("WITH a AS (SELECT * FROM a) SELECT * FROM a, a b", 2),
            ("SELECT (WITH t AS (SELECT * FROM a, b) SELECT count(*) FROM t)", 2),
        ] {
            assert_eq!(count(sql), tables, "{sql}");
        }
    }

    #[test]
    fn doubling_is_refused_however_it_is_hidden() {
        let doubled = |body: fn(usize) -> String| {
            let steps: Vec<String> = (1..40).map(|step| format!("t{step} AS ({})", body(step - 1))).collect();
            format!("WITH t0 AS (SELECT 1 AS x), {} SELECT count(*) FROM t39", steps.join(", "))
        };
        for sql in [
            doubled(|step| format!("SELECT a.x FROM t{step} a, t{step} b")),
            doubled(|step| format!("SELECT x FROM t{step} UNION ALL SELECT x FROM t{step}")),
            doubled(|step| format!("WITH s AS (SELECT * FROM t{step}) SELECT a.x FROM s a, s b")),
            doubled(|step| format!("SELECT x FROM t{step} WHERE x IN (SELECT x FROM t{step})")),
        ] {
            let statement = Parser::parse_sql(&PostgreSqlDialect {}, &sql).unwrap().remove(0);
            let error = check(&statement).unwrap_err().to_string();
            assert!(error.contains("the limit is 100"), "{error}");
        }
    }
}
