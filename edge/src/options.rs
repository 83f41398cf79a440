//! Options: what stands behind the `?` of an address. One that a path doesn't know, or that comes twice, is refused:
//! whoever wrote it meant something, and would get another answer than they asked for.

use crate::Problem;
use axum::extract::{Query, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::Uri;

/// Characters of a name that an error repeats.
const SHOWN_MAX: usize = 80;

/// Names with their values, in order.
pub type Given = Vec<(String, String)>;

/// The options of an address, unchecked: for paths whose options have names of their own, like a report's.
///
/// # Errors
/// 400 if it is no list of names and values.
pub fn given(uri: &Uri) -> Result<Given, Problem> {
    let read = Query::<Given>::try_from_uri(uri);
    read.map(|Query(given)| given).map_err(|_| refused("what stands behind ? is no list of name=value".to_owned()))
}

/// The options of an address, each one of `known` and there once.
///
/// # Errors
/// 400 that names the option and those there are.
pub fn read(uri: &Uri, known: &[&str]) -> Result<Given, Problem> {
    let given = given(uri)?;
    check(&given, known)?;
    Ok(given)
}

/// Checks that each option is one of `known`, and there once.
///
/// # Errors
/// As [`read`].
pub fn check(given: &[(String, String)], known: &[&str]) -> Result<(), Problem> {
    for (name, _) in given {
        if !known.contains(&name.as_str()) {
            let shown: String = name.chars().take(SHOWN_MAX).collect();
            let there_are = match known {
                [] => "none is taken here".to_owned(),
                known => format!("there are: {}", known.join(", ")),
            };
            return Err(refused(format!("no option {shown:?}; {there_are}")));
        }
        once(given, name)?;
    }
    Ok(())
}

/// Checks that the option of this name is there once at most.
///
/// # Errors
/// 400 that names it.
pub fn once(given: &[(String, String)], name: &str) -> Result<(), Problem> {
    match given.iter().filter(|(found, _)| found == name).count() {
        0 | 1 => Ok(()),
        _ => Err(refused(format!("option {name:?} is given more than once"))),
    }
}

/// For paths that take no options.
///
/// # Errors
/// 400 if there is one.
pub async fn none(request: Request, next: Next) -> Result<Response, Problem> {
    read(request.uri(), &[])?;
    Ok(next.run(request).await)
}

fn refused(detail: String) -> Problem {
    Problem::bad_request(detail).with("kind", "refused")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_known_and_there_once() {
        let of = |query: &str, known: &[&str]| {
            let uri: Uri = format!("/x{query}").parse().unwrap();
            read(&uri, known).map_err(|problem| problem.detail)
        };
        let known = ["format", "page_rows"];
        assert_eq!(of("", &known), Ok(Vec::new()));
        assert_eq!(of("?", &[]), Ok(Vec::new()));
        assert_eq!(of("?format=a%20b", &known), Ok(vec![("format".to_owned(), "a b".to_owned())]));
        for (query, known, said) in [
            ("?fromat=csv", &known[..], "no option \"fromat\"; there are: format, page_rows"),
            ("?format=csv&format=json", &known[..], "option \"format\" is given more than once"),
            ("?page_rows=1&format=csv&page_rows=1", &known[..], "option \"page_rows\" is given more than once"),
            ("?Format=csv", &known[..], "no option \"Format\"; there are: format, page_rows"),
            ("?x", &[], "no option \"x\"; none is taken here"),
            ("?=", &[], "no option \"\"; none is taken here"),
            ("?%ff=1", &[], "no option \"\u{fffd}\"; none is taken here"),
        ] {
            assert_eq!(of(query, known), Err(said.to_owned()), "{query}");
        }
        let long = format!("?{}=1", "x".repeat(10_000));
        assert!(of(&long, &[]).unwrap_err().len() < 200);
    }
}
