//! Which values an attribute may have: the type system of CloudEvents 1.0, and the rules of each
//! attribute that killfeed knows.

use super::invalid::{Invalid, shorten};
use super::{Attribute, time};
use crate::headers::RESERVED_ATTRIBUTES;
use crate::limits::{ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX};

/// A name that an extension may have.
pub(super) fn check_name(name: &str) -> Result<(), Invalid> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() || name.len() > ATTRIBUTE_NAME_BYTES_MAX || !name.bytes().all(fits) {
        return Err(Invalid::Name { name: shorten(name) });
    }
    if RESERVED_ATTRIBUTES.contains(&name) {
        return Err(Invalid::Reserved { name: name.to_owned() });
    }
    Ok(())
}

/// What any attribute's value obeys: its length, and no control characters.
#[inline]
pub(super) fn check_text(name: &str, value: &str) -> Result<(), Invalid> {
    if value.len() > ATTRIBUTE_VALUE_BYTES_MAX {
        return Err(Invalid::TooLong { name: name.to_owned(), length: value.len() });
    }
    // Without an early end, so that it runs on many bytes at a time.
    let strange = value.bytes().fold(false, |strange, byte| strange | !(0x20..0x7f).contains(&byte));
    if strange && value.chars().any(is_refused) {
        return Err(Invalid::value(name, value, "free of control characters and of what Unicode calls no character"));
    }
    Ok(())
}

/// CloudEvents 1.0, type system, String: control characters and noncharacters.
fn is_refused(c: char) -> bool {
    let code = u32::from(c);
    c.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

/// The rule of an attribute that killfeed knows.
#[inline]
pub(super) fn check_known(attribute: Attribute, value: &str) -> Result<(), Invalid> {
    let name = attribute.name();
    check_text(name, value)?;
    if value.is_empty() {
        return Err(Invalid::Empty { name: name.to_owned() });
    }
    let (fits, must) = match attribute {
        Attribute::Source => (is_uri_reference(value), "a URI reference (RFC 3986)"),
        Attribute::DataSchema => (is_uri_reference(value) && scheme(value).is_some(), "an absolute URI (RFC 3986)"),
        Attribute::Time | Attribute::SentAt | Attribute::ReceivedAt | Attribute::OriginalTime => {
            (time::parse(value).is_some(), "a time as RFC 3339 writes it")
        }
        Attribute::DataContentType => (is_media_type(value), "a media type (RFC 2046)"),
        Attribute::SampledRate => {
            (value.parse::<i32>().is_ok_and(|rate| rate > 0) && !value.starts_with('+'), "a positive integer")
        }
        Attribute::ClientAddress => (value.parse::<std::net::IpAddr>().is_ok(), "an IP address"),
        _ => return Ok(()),
    };
    if fits { Ok(()) } else { Err(Invalid::value(name, value, must)) }
}

/// The scheme of a URI, if it begins with one.
fn scheme(uri: &str) -> Option<&str> {
    let (scheme, _) = uri.split_once(':')?;
    let mut bytes = scheme.bytes();
    let fits = bytes.next()?.is_ascii_alphabetic()
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    fits.then_some(scheme)
}

/// RFC 3986: its characters, whole percent escapes, and no colon in the first segment of a
/// relative path.
fn is_uri_reference(uri: &str) -> bool {
    let bytes = uri.as_bytes();
    if bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_')) {
        return true;
    }
    let mut fragments = 0;
    let characters = bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        b'#' => {
            fragments += 1;
            fragments == 1
        }
        b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
        _ => byte.is_ascii_graphic(),
    });
    let first_segment = uri.find(['/', '?', '#']).map_or(uri, |end| &uri[..end]);
    characters && (!first_segment.contains(':') || scheme(uri).is_some())
}

/// `type/subtype`, each a token of RFC 2045, and anything behind a semicolon.
fn is_media_type(value: &str) -> bool {
    if value == "application/json" {
        return true;
    }
    let essence = value.split_once(';').map_or(value, |(essence, _)| essence).trim();
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    essence.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

/// Whether a payload of this media type is JSON: `json` itself, or any subtype that ends in `+json`.
pub fn is_json(media_type: &str) -> bool {
    let essence = media_type.split_once(';').map_or(media_type, |(essence, _)| essence).trim();
    let Some((_, subtype)) = essence.split_once('/') else { return false };
    let ending = subtype.rsplit_once('+').map_or(subtype, |(_, suffix)| suffix);
    ending.eq_ignore_ascii_case("json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attribute_has_its_rule() {
        use Attribute::{ClientAddress, DataContentType, DataSchema, GameId, Id, SampledRate, Source, Time};
        for (attribute, good, bad) in [
            (Id, &["1", " ", "é", "{}"][..], &["", "a\0b", "a\u{85}", "\u{fffe}", "\u{fdd0}"][..]),
            (
                Source,
                &["/lol/na1", "urn:game:1", "https://a.b:80/c?d=e#f", "game", "./a:b", "?q", "//h/%41"],
                &["", "a b", "1a:b", "a%4", "a#b#c", "/ñ", "<x>", "a\nb"],
            ),
            (DataSchema, &["https://s.example/lol.kill/1", "urn:x"], &["/lol.kill/1", "lol.kill", ""]),
            (Time, &["2023-07-29T03:06:59Z"], &["2023-07-29", "1690600019"]),
            (DataContentType, &["application/json", "text/plain; charset=utf-8"], &["json", "a/", "/b", "a b/c"]),
            (SampledRate, &["1", "1000"], &["0", "-1", "1.5", "+1", "99999999999"]),
            (ClientAddress, &["192.0.2.1", "2001:db8::1"], &["localhost", "192.0.2.1:80", "1.2.3"]),
            (GameId, &["x"], &[""]),
        ] {
            for value in good {
                assert_eq!(check_known(attribute, value), Ok(()), "{attribute:?} {value:?}");
            }
            for value in bad {
                let error = check_known(attribute, value).expect_err(value).to_string();
                assert!(error.contains(attribute.name()), "{error}");
            }
        }
    }

    #[test]
    fn json_is_told_by_the_subtype() {
        for (media_type, json) in [
            ("application/json", true),
            ("application/JSON; charset=utf-8", true),
            ("text/json", true),
            ("application/vnd.game+json", true),
            ("application/jsonl", false),
            ("text/plain", false),
            ("json", false),
        ] {
            assert_eq!(is_json(media_type), json, "{media_type}");
        }
    }
}
