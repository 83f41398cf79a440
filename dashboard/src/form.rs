//! What a form or an address brings along.

use crate::show::cut;
use edge::Problem;

/// Bytes of a form or of an address' query, at most. JSON aside, a statement of 64 KiB may triple when it is
/// encoded.
pub(crate) const FORM_MAX: usize = 256 << 10;
/// Pages that an address can ask for: far more than there are.
const PAGE_MAX: usize = 1_000_000;
/// Characters of a wrong value that an error repeats.
pub(crate) const SHOWN_MAX: usize = 80;

/// Names with their values, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Of an address' query or of a form's body (`application/x-www-form-urlencoded`).
    pub(crate) fn read(encoded: &[u8]) -> Result<Self, Problem> {
        if encoded.len() > FORM_MAX {
            return Err(Problem::too_large(format!("the form has {} bytes; the limit is {FORM_MAX}", encoded.len())));
        }
        Ok(Self(url::form_urlencoded::parse(encoded).into_owned().collect()))
    }

    /// The value of the first field of this name, without blanks around it; empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.trim())
    }

    /// Whether there is a field of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }

    /// The number of a page, from 1 on; 1 if there is none.
    ///
    /// # Errors
    /// 400 if it is no such number.
    pub(crate) fn page(&self) -> Result<usize, Problem> {
        let page = self.get("page");
        let number = if page.is_empty() { Some(1) } else { page.parse().ok() };
        number.filter(|number| (1..=PAGE_MAX).contains(number)).ok_or_else(|| {
            let shown = cut(page, SHOWN_MAX);
            Problem::bad_request(format!("page must be a whole number from 1 to {PAGE_MAX}, not {shown:?}"))
        })
    }

    /// Checks that each field is one of `known`, and there once.
    ///
    /// # Errors
    /// 400 that names the field and those there are.
    pub(crate) fn check(&self, known: &[&str]) -> Result<(), Problem> {
        edge::options::check(&self.0, known)
    }
}

/// An address of these fields.
pub(crate) fn address<'a>(path: &str, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A name as one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_addresses_read_back() {
        let fields = Fields::read(b"city=K%C3%B6ln+S%26d&n=+7+&city=Bonn").unwrap();
        assert_eq!((fields.get("city"), fields.get("n"), fields.get("x")), ("Köln S&d", "7", ""));
        assert!(fields.check(&["city", "n"]).unwrap_err().detail.contains("\"city\" is given more than once"));
        assert!(fields.check(&["city"]).is_err());
        let path = address("/reports/a", [("city", "Köln S&d"), ("n", "7")]);
        assert_eq!(path, "/reports/a?city=K%C3%B6ln+S%26d&n=7");
        assert_eq!((address("/x", []), segment("a/b c?")), ("/x".into(), "a%2Fb%20c%3F".into()));
        assert!(Fields::read(&vec![b'a'; FORM_MAX + 1]).is_err());
    }

    #[test]
    fn a_page_has_a_number() {
        let page = |query: &str| Fields::read(query.as_bytes()).unwrap().page().map_err(|problem| problem.detail);
        assert_eq!((page(""), page("page="), page("page=7")), (Ok(1), Ok(1), Ok(7)));
        for wrong in ["0", "-3", "x", "1.5", "1000001", "99999999999999999999"] {
            assert!(page(&format!("page={wrong}")).unwrap_err().ends_with(&format!("not {wrong:?}")), "{wrong}");
        }
    }
}
