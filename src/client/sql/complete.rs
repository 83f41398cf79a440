//! What may stand where the cursor is: tables behind FROM, columns of the tables that the statement names, words of SQL.

use super::meta::{self, is_plain, quoted};
use super::split::tokens;
use datafusion::sql::sqlparser::keywords::{
    Keyword, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_IDENTIFIER, RESERVED_FOR_TABLE_ALIAS,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};
use serde::Deserialize;

/// What a statement may begin with.
const BEGINNINGS: [&str; 6] = ["SELECT", "WITH", "VALUES", "EXPLAIN", "SHOW TABLES", "DESCRIBE"];
/// What may follow.
const WORDS: &str = "ALL|AND|AS|ASC|BETWEEN|CASE|CROSS JOIN|DESC|DISTINCT|ELSE|END|EXCEPT|EXISTS|FALSE|FILTER|FROM|\
    FULL JOIN|GROUP BY|HAVING|ILIKE|IN|INNER JOIN|INTERSECT|INTERVAL|IS NOT NULL|IS NULL|JOIN|LEFT JOIN|LIKE|LIMIT|NOT|\
    NULL|NULLS LAST|OFFSET|ON|OR|ORDER BY|OVER|PARTITION BY|RIGHT JOIN|SELECT|THEN|TRUE|UNION|UNION ALL|USING|VALUES|\
    WHEN|WHERE|WITH|avg(|coalesce(|count(|date_trunc(|max(|min(|now()|round(|sentiment(|sum(|toxicity(";

/// The tables that there are.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalogue {
    /// By name.
    pub(super) tables: Vec<Table>,
}

/// A table, as `GET /v1/tables` has it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Table {
    #[serde(rename = "table")]
    name: String,
    columns: Vec<Column>,
}

#[derive(Debug, Clone, Deserialize)]
struct Column {
    #[serde(rename = "column")]
    name: String,
    #[serde(rename = "type")]
    data_type: String,
}

impl Catalogue {
    /// With the tables that the server makes up.
    pub(super) fn new(mut tables: Vec<Table>) -> Self {
        let columns = [("table", "text"), ("rows", "bigint"), ("newest", "timestamp")];
        let columns = columns.map(|(name, data_type)| Column { name: name.into(), data_type: data_type.into() });
        if !tables.iter().any(|table| table.name == "killfeed_tables") {
            tables.push(Table { name: "killfeed_tables".into(), columns: columns.into() });
        }
        Self { tables }
    }

    fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}

/// What may stand at the cursor.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Completion {
    /// Where the word begins that it replaces, in bytes.
    pub(super) from: usize,
    /// What fits, the likeliest first.
    pub(super) candidates: Vec<Candidate>,
}

/// Something that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// As it is written.
    pub(super) text: String,
    /// What it is, in a word or two; nothing for words of SQL.
    pub(super) note: String,
}

/// What may stand in `line` at byte `at`.
pub(super) fn complete(catalogue: &Catalogue, line: &str, at: usize) -> Completion {
    let head = line.get(..at).unwrap_or(line);
    let from = head.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').len();
    let typed = &head[from..];
    if let Some(command) = head.trim_start().strip_prefix('\\')
        && !command.contains('\n')
    {
        return of_command(catalogue, head, from);
    }
    let (before, failure) = tokens(&head[..from]);
    // Within a quote or a comment nobody knows what fits.
    if failure.is_some() || is_line_comment(before.last()) {
        return Completion { from, candidates: Vec::new() };
    }
    let begin = before.iter().rposition(|token| token.token == Token::SemiColon).map_or(0, |at| at + 1);
    let before: Vec<&Token> = significant(&before[begin..]).collect();
    let placeholder = Token::make_word("_", None);
    // A word that the cursor splits is one that is replaced.
    let behind = line.get(at..).unwrap_or_default();
    let (behind, _) = tokens(behind.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'));
    let behind = significant(&behind).take_while(|token| **token != Token::SemiColon);

    let whole: Vec<&Token> = before.iter().copied().chain([&placeholder]).chain(behind).collect();
    let named = named_tables(&whole);
    let mut fitting = Fitting { typed, candidates: Vec::new() };
    match before[..] {
        [.., Token::Word(qualifier), Token::Period] => {
            let name = name_of(qualifier);
            let table = named.iter().find(|(_, alias)| *alias == name).map_or(name, |(table, _)| table.clone());
            fitting.columns(catalogue.table(&table));
        }
        [.., Token::Period] => {}
        _ if wants_table(&before) => fitting.tables(catalogue),
        [] => BEGINNINGS.iter().for_each(|word| fitting.word(word)),
        _ => {
            named.iter().for_each(|(table, _)| fitting.columns(catalogue.table(table)));
            for (table, alias) in &named {
                if table != alias {
                    fitting.name(alias, table);
                }
            }
            if named.is_empty() && !typed.is_empty() {
                catalogue.tables.iter().for_each(|table| fitting.columns(Some(table)));
            }
            if !typed.is_empty() {
                WORDS.split('|').for_each(|word| fitting.word(word));
                fitting.tables(catalogue);
            }
        }
    }
    Completion { from, candidates: fitting.candidates }
}

fn of_command(catalogue: &Catalogue, head: &str, from: usize) -> Completion {
    let begin = head.len() - head.trim_start().len();
    let Some((name, _)) = head[begin..].split_once(char::is_whitespace) else {
        let names = meta::NAMES.iter().filter(|name| name.starts_with(&head[begin..]));
        let candidates = names.map(|name| Candidate { text: (*name).to_owned(), note: String::new() });
        return Completion { from: begin, candidates: candidates.collect() };
    };
    let mut fitting = Fitting { typed: &head[from..], candidates: Vec::new() };
    match name {
        "\\d" => fitting.tables(catalogue),
        "\\format" => meta::format_names().iter().for_each(|name| fitting.exactly(name)),
        "\\x" => ["on", "off", "auto"].iter().for_each(|word| fitting.exactly(word)),
        "\\timing" => ["on", "off"].iter().for_each(|word| fitting.exactly(word)),
        _ => {}
    }
    Completion { from, candidates: fitting.candidates }
}

/// What begins as the typed word does.
struct Fitting<'a> {
    typed: &'a str,
    candidates: Vec<Candidate>,
}

impl Fitting<'_> {
    fn fits(&self, name: &str) -> bool {
        name.get(..self.typed.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(self.typed))
    }

    fn add(&mut self, text: String, note: &str) {
        if !self.candidates.iter().any(|candidate| candidate.text == text) {
            self.candidates.push(Candidate { text, note: note.to_owned() });
        }
    }

    fn name(&mut self, name: &str, note: &str) {
        if self.fits(name) {
            self.add(written(name), note);
        }
    }

    fn columns(&mut self, table: Option<&Table>) {
        for column in table.into_iter().flat_map(|table| &table.columns) {
            self.name(&column.name, &column.data_type);
        }
    }

    fn tables(&mut self, catalogue: &Catalogue) {
        for table in &catalogue.tables {
            self.name(&table.name, "table");
        }
    }

    fn exactly(&mut self, word: &str) {
        if self.fits(word) {
            self.add(word.to_owned(), "");
        }
    }

    /// A word of SQL, in small letters if it was begun so.
    fn word(&mut self, word: &str) {
        if self.fits(word) {
            let is_small = self.typed.starts_with(|c: char| c.is_ascii_lowercase());
            self.add(if is_small { word.to_lowercase() } else { word.to_owned() }, "");
        }
    }
}

/// A name as a statement has it: in quotes where SQL would read something else.
fn written(name: &str) -> String {
    let is_reserved = match Token::make_word(name, None) {
        Token::Word(Word { keyword, .. }) => is_reserved(keyword) || keyword == Keyword::TABLE,
        _ => false,
    };
    if is_plain(name) && !is_reserved { name.to_owned() } else { quoted(name) }
}

fn is_reserved(keyword: Keyword) -> bool {
    [RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_IDENTIFIER, RESERVED_FOR_TABLE_ALIAS]
        .iter()
        .any(|reserved| reserved.contains(&keyword))
}

fn is_line_comment(token: Option<&TokenWithSpan>) -> bool {
    token.is_some_and(|token| match &token.token {
        Token::Whitespace(Whitespace::SingleLineComment { comment, .. }) => !comment.ends_with('\n'),
        _ => false,
    })
}

fn significant(tokens: &[TokenWithSpan]) -> impl Iterator<Item = &Token> {
    tokens.iter().map(|token| &token.token).filter(|token| !matches!(token, Token::Whitespace(_) | Token::EOF))
}

fn name_of(word: &Word) -> String {
    if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() }
}

/// Whether what follows these words is a table's name.
fn wants_table(before: &[&Token]) -> bool {
    let [earlier @ .., last] = before else { return false };
    match last {
        Token::Word(word) if word.quote_style.is_none() => {
            matches!(word.keyword, Keyword::FROM | Keyword::JOIN | Keyword::DESCRIBE)
        }
        Token::Comma => is_list_of_tables(earlier),
        _ => false,
    }
}

/// Whether a comma behind these words parts tables: FROM is the last of the clauses at this depth.
fn is_list_of_tables(before: &[&Token]) -> bool {
    let mut depth = 0_usize;
    for token in before.iter().rev() {
        match token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => return false,
            Token::LParen => depth -= 1,
            Token::Word(word) if depth == 0 && word.quote_style.is_none() => match word.keyword {
                Keyword::FROM => return true,
                Keyword::SELECT | Keyword::WHERE | Keyword::BY | Keyword::HAVING | Keyword::ON | Keyword::VALUES => {
                    return false;
                }
                _ => {}
            },
            _ => {}
        }
    }
    false
}

/// The tables that a statement names, each with the name that its columns go by.
fn named_tables(tokens: &[&Token]) -> Vec<(String, String)> {
    let mut named = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let is_name = word.quote_style.is_some() || !is_reserved(word.keyword);
        if !is_name || word.value == "_" || !wants_table(&tokens[..at]) {
            continue;
        }
        let mut table = word;
        let mut rest = &tokens[at + 1..];
        while let [Token::Period, Token::Word(part), further @ ..] = rest {
            (table, rest) = (part, further);
        }
        if let [Token::Word(word), further @ ..] = rest
            && word.keyword == Keyword::AS
        {
            rest = further;
        }
        let alias = match rest {
            [Token::Word(word), ..]
                if word.value != "_" && (word.quote_style.is_some() || !is_reserved(word.keyword)) =>
            {
                word
            }
            _ => table,
        };
        named.push((name_of(table), name_of(alias)));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let tables = serde_json::json!([
            {"table": "chat_message", "rows": 3, "newest": null, "columns": [
                {"column": "text", "type": "text"}, {"column": "player_id", "type": "text"},
                {"column": "Größe", "type": "bigint"}]},
            {"table": "match_end", "rows": 3, "newest": null, "columns": [
                {"column": "player_id", "type": "text"}, {"column": "kills", "type": "bigint", "note": "widened"}]},
        ]);
        Catalogue::new(serde_json::from_value(tables).unwrap())
    }

    /// What fits where the bar stands.
    fn at(line: &str) -> Vec<String> {
        let (head, tail) = line.split_once('|').unwrap();
        let found = complete(&catalogue(), &format!("{head}{tail}"), head.len());
        found.candidates.into_iter().map(|candidate| candidate.text).collect()
    }

    #[test]
    fn tables_stand_behind_from_and_join_and_their_commas() {
        for line in [
            "SELECT * FROM m|",
            "select count(*) from m| where kills > 1",
            "SELECT 1 FROM chat_message c JOIN M|",
            "SELECT 1 FROM chat_message, m|",
            "SELECT 1 FROM (SELECT 2) a, m|",
            "SELECT (SELECT 1 FROM m|) FROM chat_message",
            "SELECT 1; DESCRIBE m|",
            "\\d m|",
        ] {
            assert_eq!(at(line), ["match_end"], "{line}");
        }
        assert_eq!(at("SELECT 1 FROM |"), ["chat_message", "match_end", "killfeed_tables"]);
        assert!(at("SELECT 1 FROM match_end WHERE player_id IN (1, c|").contains(&"count(".into()));
    }

    #[test]
    fn columns_are_those_of_the_tables_that_the_statement_names() {
        assert_eq!(at("SELECT | FROM chat_message"), ["text", "player_id", "\"Größe\""]);
        assert_eq!(at("SELECT k| FROM match_end")[0], "kills");
        assert_eq!(at("SELECT gr| FROM chat_message")[0], "\"Größe\"");
        assert_eq!(at("SELECT pl| FROM match_end JOIN chat_message ON true"), ["player_id"]);
        assert_eq!(at("SELECT 1 FROM match_end; SELECT ki| FROM chat_message"), ["killfeed_tables"]);
        // Before any is named, those of all.
        assert_eq!(at("SELECT ki|"), ["kills", "killfeed_tables"]);
        assert_eq!(at("SELECT ta| FROM killfeed_tables"), ["\"table\""]);
    }

    #[test]
    fn a_qualifier_is_a_table_or_its_alias() {
        for line in [
            "SELECT m.| FROM chat_message c JOIN match_end AS m ON c.player_id = m.player_id",
            "SELECT M.| FROM match_end m",
            "SELECT 1 FROM match_end \"m\" WHERE m.|",
            "SELECT match_end.| FROM match_end",
            "SELECT m.| FROM public.match_end m",
            "SELECT m.pl|x FROM chat_message, match_end m",
        ] {
            let found = at(line);
            assert!(found.contains(&"player_id".into()) && !found.contains(&"text".into()), "{line}: {found:?}");
        }
        assert_eq!(at("SELECT x.| FROM match_end m"), Vec::<String>::new());
        assert_eq!(at("SELECT mat| FROM match_end"), ["match_end"]);
        assert_eq!(at("SELECT em| FROM match_end emil"), ["emil"]);
    }

    #[test]
    fn words_are_written_as_they_were_begun() {
        assert_eq!(at("SEL|"), ["SELECT"]);
        assert_eq!(at("SELECT 1; sel|"), ["select"]);
        assert_eq!(at("SELECT text FROM chat_message gro|"), ["group by"]);
        assert_eq!(at("SELECT text FROM chat_message GRO|"), ["GROUP BY"]);
        assert_eq!(at("|").len(), BEGINNINGS.len());
    }

    #[test]
    fn nothing_fits_within_quotes_and_comments() {
        for line in ["SELECT 'm| FROM chat_message", "SELECT 1 -- FROM m|", "SELECT 1 /* FROM m|", "SELECT \"m|"] {
            assert_eq!(at(line), Vec::<String>::new(), "{line}");
        }
        assert_eq!(at("SELECT 1 -- one\n FROM m|"), ["match_end"]);
    }

    #[test]
    fn commands_and_what_they_take() {
        assert_eq!(at("\\|").len(), meta::NAMES.len());
        assert_eq!(at("\\ti|"), ["\\timing"]);
        assert_eq!(at("\\format nd|"), ["ndjson"]);
        assert_eq!(at("\\x o|"), ["on", "off"]);
        let found = complete(&catalogue(), " \\ti", 4);
        assert_eq!((found.from, found.candidates.len()), (1, 1));
    }
}
