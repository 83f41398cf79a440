//! An answer as a table in GitHub's Markdown, row by row. What players wrote is shown, not obeyed.

use crate::page::Page;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use std::fmt::Write as _;

/// What stands in front of the first row.
pub(crate) fn head(page: &Page, schema: &Schema) -> String {
    let mut text = String::new();
    if !page.title.is_empty() {
        let _ = write!(text, "# {}\n\n", escape(&page.title));
    }
    if !page.question.is_empty() {
        let _ = write!(text, "{}\n\n", escape(&page.question));
    }
    for (name, value) in &page.params {
        let _ = writeln!(text, "- {}: {}", escape(name), escape(value));
    }
    if !page.params.is_empty() {
        text.push('\n');
    }
    for field in schema.fields() {
        let _ = write!(text, "| {} ", escape(field.name()));
    }
    text.push_str("|\n");
    for field in schema.fields() {
        text.push_str(if field.data_type().is_numeric() { "| ---: " } else { "| --- " });
    }
    text.push_str("|\n");
    text
}

/// These rows, a line each.
pub(crate) fn rows(batch: &RecordBatch) -> Result<String, ArrowError> {
    let options = FormatOptions::default().with_null("");
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        for column in &columns {
            let _ = write!(text, "| {} ", escape(&column.value(row).try_to_string()?));
        }
        text.push_str("|\n");
    }
    Ok(text)
}

/// So that it stays on its line and in its cell, and means nothing to a reader of Markdown or HTML. Links
/// that aren't marked as such are broken up, too: readers make them of bare addresses.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '~' | '#' | '!' | '$' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '\n' | '\r' | '\t' => escaped.push(' '),
            '/' if before == ':' => escaped.push_str("&#47;"),
            '.' if escaped.ends_with("www") || escaped.ends_with("WWW") => escaped.push_str("&#46;"),
            '@' => escaped.push_str("&#64;"),
            c if charts::misleads(c) => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
        before = c;
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn rows_are_lines_and_text_stays_in_its_cell() {
        let names = StringArray::from(vec![Some("a|b\nc"), Some("<b>*x*_[l](http://e)"), None]);
        let counts = Int64Array::from(vec![1, -2, 3]);
        let batch =
            RecordBatch::try_from_iter([("na_me", Arc::new(names) as _), ("n", Arc::new(counts) as _)]).unwrap();
        let page = Page { title: "T".into(), params: vec![("city".into(), "x".into())], ..Page::default() };
        assert_eq!(head(&page, &batch.schema()), "# T\n\n- city: x\n\n| na\\_me | n |\n| --- | ---: |\n");
        let expected = "| a\\|b c | 1 |\n| &lt;b&gt;\\*x\\*\\_\\[l\\](http:&#47;/e) | -2 |\n|  | 3 |\n";
        assert_eq!(rows(&batch).unwrap(), expected);
    }
}
