//! What a form or an address brings along.

use edge::Problem;

/// Bytes of a form or of an address' query, at most. JSON aside, a statement of 64 KiB may triple when it is
/// encoded.
pub(crate) const FORM_MAX: usize = 256 << 10;

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

    /// A whole number of 1 or more, else 1.
    pub(crate) fn page(&self) -> usize {
        self.get("page").parse().unwrap_or(1).clamp(1, 1_000_000)
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
        let fields = Fields::read(b"city=K%C3%B6ln+S%26d&n=+7+&city=Bonn&page=-3").unwrap();
        assert_eq!((fields.get("city"), fields.get("n"), fields.get("x"), fields.page()), ("Köln S&d", "7", "", 1));
        let path = address("/reports/a", [("city", "Köln S&d"), ("n", "7")]);
        assert_eq!(path, "/reports/a?city=K%C3%B6ln+S%26d&n=7");
        assert_eq!((address("/x", []), segment("a/b c?")), ("/x".into(), "a%2Fb%20c%3F".into()));
        assert!(Fields::read(&vec![b'a'; FORM_MAX + 1]).is_err());
    }
}
