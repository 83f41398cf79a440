//! Tests of the envelope: golden files, a table of malformations, properties.

use super::*;
use crate::headers::Headers;
use proptest::prelude::*;

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("../../tests/formats/", $name))
    };
}

fn written(attributes: &Attributes<'_>) -> Headers {
    let mut builder = HeadersBuilder::default();
    attributes.write(&mut builder);
    builder.build()
}

/// Headers a line each, an empty line, the payload: what a record of the log holds.
fn shown(event: &Event<'_>) -> String {
    let mut text = String::new();
    for (name, value) in written(&event.attributes).iter() {
        text += &format!("{}: {}\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    }
    text + "\n" + &String::from_utf8_lossy(event.data.as_deref().unwrap_or_default())
}

fn http_message(text: &str) -> (Vec<(&str, &[u8])>, &[u8]) {
    let (head, body) = text.split_once("\n\n").unwrap();
    let headers = head.lines().map(|line| line.split_once(": ").unwrap());
    (headers.map(|(name, value)| (name, value.as_bytes())).collect(), body.as_bytes())
}

#[test]
fn every_form_of_the_golden_event_is_the_same_record() {
    let kafka = golden!("event.kafka.txt");
    assert_eq!(shown(&Event::from_json(golden!("event.structured.json")).unwrap()), kafka);
    let (headers, body) = http_message(golden!("event.binary.http"));
    assert_eq!(shown(&Event::from_http(headers, body).unwrap()), kafka);
    let (headers, payload) = http_message(kafka);
    let headers = Headers::of(headers.iter().map(|(name, value)| (*name, std::str::from_utf8(value).unwrap())));
    assert_eq!(shown(&Event::from_headers(&headers, Some(payload)).unwrap()), kafka);
}

#[test]
fn the_golden_batches_hold_the_same_events() {
    let mut array = Vec::new();
    batch(golden!("batch.json"), |event| array.push(event.unwrap())).unwrap();
    let lines = golden!("batch.ndjson").lines().filter(|line| !line.is_empty());
    let lines: Vec<_> = lines.map(|line| Event::from_json(line).unwrap()).collect();
    assert_eq!(array, lines);
    let payloads: Vec<_> = array.iter().map(|event| event.data.as_deref()).collect();
    let expected: [Option<&[u8]>; 4] =
        [Some(br#"{"text":"wow!"}"#), Some(b"two \"words\""), Some(b"\x00\x01\xff"), None];
    assert_eq!(payloads, expected);
    let types: Vec<_> = array.iter().map(|event| event.attributes.get(Attribute::DataContentType)).collect();
    assert_eq!(types, [Some("application/json"), Some("text/plain"), Some("application/octet-stream"), None]);
}

#[test]
fn the_table_of_attributes_says_the_same_as_the_match() {
    for (place, (attribute, name, header)) in KNOWN.into_iter().enumerate() {
        assert_eq!((attribute as usize, Attribute::from_name(name)), (place, Some(attribute)));
        assert_eq!((attribute.name(), attribute.header()), (name, header));
        assert_eq!(attribute.is_reserved(), headers::RESERVED_ATTRIBUTES.contains(&name));
    }
}

#[test]
fn the_payload_is_a_slice_of_the_body() {
    let body = Bytes::from_static(golden!("event.structured.json").as_bytes());
    let event = Event::from_json_bytes(&body).unwrap();
    let payload = event.payload(&body).unwrap();
    assert!(body.as_ptr_range().contains(&payload.as_ptr()));
    assert_eq!(payload, &br#"{ "killer_id":1,  "position": {"x": 1.50, "y": 1e3} }"#[..]);
    assert_eq!(
        Event::from_json(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#).unwrap().payload(&body),
        None
    );
}

/// A good event with `members` added, or put in place of its own of that name.
fn with(members: &str) -> String {
    let mut text = String::from("{");
    for (name, value) in [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "t")] {
        if !members.contains(&format!("\"{name}\":")) {
            text += &format!("\"{name}\":\"{value}\",");
        }
    }
    text + members + "}"
}

#[test]
fn each_malformation_is_named() {
    let deep = format!(r#""data":{}{}"#, "[".repeat(65), "]".repeat(65));
    let long = format!(r#""subject":"{}""#, "x".repeat(2_049));
    let many: Vec<_> = (0..65).map(|n| format!("\"x{n}\":\"\"")).collect();
    let name = format!("\"{}\":1", "a".repeat(65));
    for (members, error) in [
        (r#""id":null"#, "attribute id is missing"),
        (r#""id":"""#, "attribute id is empty"),
        (r#""id":7"#, "attribute id is a number, and must be a string"),
        (r#""id":{}"#, "attribute id is an object, and must be a string, a boolean or an integer"),
        (r#""id":"a","id":"a""#, "id appears twice"),
        (
            r#""id":"a\u0000b""#,
            "attribute id is \"a\\0b\", and must be free of control characters and of what Unicode calls no character",
        ),
        (r#""id":"\ud800""#, "attribute id is \"\\\"\\\\ud800\\\"\", and must be free of half surrogate pairs"),
        (r#""source":"a b""#, "attribute source is \"a b\", and must be a URI reference (RFC 3986)"),
        (r#""type":true"#, "attribute type is a boolean, and must be a string"),
        (r#""specversion":"0.3""#, "attribute specversion is \"0.3\", and must be \"1.0\""),
        (r#""specversion":1.0"#, "attribute specversion is a number, and must be a string"),
        (r#""specversion":null"#, "attribute specversion is missing"),
        (r#""specversion":"1.0","specversion":"1.0""#, "specversion appears twice"),
        (r#""time":"yesterday""#, "attribute time is \"yesterday\", and must be a time as RFC 3339 writes it"),
        (r#""time":1690600019"#, "attribute time is a number, and must be a string"),
        (r#""sentat":"""#, "attribute sentat is empty"),
        (
            r#""dataschema":"lol.kill/1""#,
            "attribute dataschema is \"lol.kill/1\", and must be an absolute URI (RFC 3986)",
        ),
        (r#""datacontenttype":"json""#, "attribute datacontenttype is \"json\", and must be a media type (RFC 2046)"),
        (r#""sampledrate":0"#, "attribute sampledrate is \"0\", and must be a positive integer"),
        (r#""clientaddress":"localhost""#, "attribute clientaddress is \"localhost\", and must be an IP address"),
        (r#""gameid":1.5"#, "attribute gameid is \"1.5\", and must be a string, a boolean or an integer of 32 bits"),
        (
            r#""gameid":3000000000"#,
            "attribute gameid is \"3000000000\", and must be a string, a boolean or an integer of 32 bits",
        ),
        (r#""gameId":"g""#, "attribute name \"gameId\" is not 1 to 64 characters of a-z and 0-9"),
        (r#""":"g""#, "attribute name \"\" is not 1 to 64 characters of a-z and 0-9"),
        (r#""receivedat":"2023-07-29T03:06:59Z""#, "attribute receivedat is set by killfeed, and refused from clients"),
        (
            r#""originaltime":"2023-07-29T03:06:59Z""#,
            "attribute originaltime is set by killfeed, and refused from clients",
        ),
        (r#""redriveof":"conflict""#, "attribute redriveof is set by killfeed, and refused from clients"),
        (r#""data":1,"data_base64":"""#, "both data and data_base64 are present, and only one may be"),
        (r#""data":1,"data":2"#, "data appears twice"),
        (r#""data_base64":"a""#, "data_base64 is no base64: invalid input length: 1"),
        (r#""data_base64":[]"#, "attribute data_base64 is an array, and must be a string"),
        (
            r#""datacontenttype":"text/plain","data":"\ud800""#,
            "data holds an escape that is half a surrogate pair, and can't be written as text",
        ),
        (r#""data":{"a":}"#, "not JSON: expected a value at byte 67"),
        (r#""data":01"#, "not JSON: expected ',' or '}' at byte 63"),
        (r#""data":"a"#, "not JSON: expected the end of a string at byte 65"),
        (deep.as_str(), "data nests 65 levels deep, more than 64"),
        (long.as_str(), "attribute subject has 2049 bytes, more than 2048"),
        (many.join(",").as_str(), "more than 64 extension attributes"),
        (name.as_str(), &format!("attribute name {:?} is not 1 to 64 characters of a-z and 0-9", "a".repeat(65))),
    ] {
        let text = with(members);
        let refused = Event::from_json(&text).unwrap_err();
        assert_eq!(refused.why.to_string(), error, "{text}");
    }
    for (text, error) in [
        ("", "not JSON: expected a value at byte 0"),
        ("7", "an event is a JSON object, and this is a number"),
        ("[]", "an event is a JSON object, and this is an array"),
        ("{}", "attribute specversion is missing"),
        ("{} x", "not JSON: expected the end at byte 3"),
    ] {
        assert_eq!(Event::from_json(text).unwrap_err().why.to_string(), error, "{text}");
    }
    assert_eq!(Event::from_json_bytes(b"{\"\xff\"").unwrap_err().why, Invalid::Utf8 { at: 2 });
}

#[test]
fn a_refused_event_keeps_its_id_wherever_that_stands() {
    for text in
        [with(r#""time":"x","id":"late""#), r#"{"id":"late","data":"#.into(), r#"{"gameId":"","id":"late"}"#.into()]
    {
        assert_eq!(Event::from_json(&text).unwrap_err().id.as_deref(), Some("late"), "{text}");
    }
}

#[test]
fn what_may_pass_passes() {
    for (members, attribute, value) in [
        (r#""playerid":-0"#, Attribute::PlayerId, Some("0")),
        (r#""playerid":-42"#, Attribute::PlayerId, Some("-42")),
        (r#""region":true"#, Attribute::Region, Some("true")),
        (r#""time":null"#, Attribute::Time, None),
        (r#""subject":"\u00e9""#, Attribute::Subject, Some("é")),
        (r#""data":null"#, Attribute::DataContentType, None),
        (r#""data":null,"data_base64":"AA==""#, Attribute::DataContentType, None),
        (r#""sampledrate":"100""#, Attribute::SampledRate, Some("100")),
    ] {
        let text = with(members);
        assert_eq!(Event::from_json(&text).unwrap().attributes.get(attribute), value, "{text}");
    }
    let escaped = with("\"id\":\"1\"").replace("\"id\"", "\"\\u0069d\"");
    assert_eq!(Event::from_json(&escaped).unwrap().attributes.id(), "1");
}

#[test]
fn http_headers_are_unquoted_and_percent_decoded() {
    let base = [("ce-specversion", &b"1.0"[..]), ("ce-source", b"/s"), ("ce-type", b"t")];
    for (value, id) in [
        (&b"plain"[..], Ok("plain")),
        (b"Euro%20%E2%82%AC%20%F0%9F%98%80", Ok("Euro \u{20ac} 😀")),
        (b"\"a\\\"b%25\"", Ok("a\"b%")),
        (b"100%", Ok("100%")),
        (b"%zz", Ok("%zz")),
        ("é".as_bytes(), Ok("é")),
        (b"%ff", Err("attribute id is \"%ff\", and must be UTF-8, percent-encoded")),
        (
            b"%00",
            Err(
                "attribute id is \"\\0\", and must be free of control characters and of what Unicode calls no character",
            ),
        ),
        (b"", Err("attribute id is empty")),
    ] {
        let headers = base.into_iter().chain([("ce-id", value)]);
        match (Event::from_http(headers, b""), id) {
            (Ok(event), Ok(id)) => assert_eq!((event.attributes.id(), event.data), (id, None)),
            (Err(refused), Err(error)) => assert_eq!(refused.why.to_string(), error),
            (found, expected) => panic!("{found:?} for {expected:?}"),
        }
    }
    for name in ["ce-datacontenttype", "ce-data", "ce-receivedat", "ce-game_id"] {
        let headers = base.into_iter().chain([("ce-id", &b"1"[..]), (name, b"x/y")]);
        assert!(Event::from_http(headers, b"").is_err(), "{name}");
    }
}

#[test]
fn a_batch_tells_its_events_apart_or_is_broken_whole() {
    let mut results = Vec::new();
    let good = with(r#""id":"a""#);
    let text = format!(
        r#" [{good}, 5, {{"id":"b"}}, {}, {good}] "#,
        with(&format!(r#""data":{}{}"#, "[".repeat(99), "]".repeat(99)))
    );
    batch(&text, |event| {
        results.push(event.map(|event| event.attributes.id().to_owned()).map_err(|refused| refused.id))
    })
    .unwrap();
    assert_eq!(results, [Ok("a".into()), Err(None), Err(Some("b".into())), Err(Some("1".into())), Ok("a".into())]);
    for broken in ["", "{}", "[", "[{]", "[{},]", "[{}", "[{}] x", "[{}{}]"] {
        assert!(batch(broken, |_| ()).is_err(), "{broken}");
    }
    assert_eq!(batch("[]", |_| panic!("no event")), Ok(()));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in r#"[\[\]{}:,"\\a-z0-9 ]{0,64}"#) {
        let _ = Event::from_json_bytes(&bytes);
        let _ = Event::from_json(&text);
        let _ = batch(&text, |_| ());
        let _ = Event::from_http([("ce-id", bytes.as_slice()), ("content-type", bytes.as_slice())], &bytes);
        let _ = Event::from_headers(&Headers::from_trusted(bytes.clone().into()), Some(&bytes));
    }

    #[test]
    fn a_good_event_comes_back_from_the_log_as_it_went(
        id in "[^\\p{C}]{1,40}", game in proptest::option::of("[a-z0-9é]{1,10}"),
        extra in proptest::collection::btree_map("x[a-z0-9]{1,20}", "[ -~]{0,20}", 0..5),
        data in proptest::option::of(any::<Vec<i32>>()),
    ) {
        let mut event = serde_json::json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t", "gameid": game, "data": data});
        for (name, value) in &extra {
            event[name] = value.clone().into();
        }
        let text = event.to_string();
        let read = Event::from_json(&text).unwrap();
        prop_assert_eq!(read.attributes.id(), id);
        prop_assert_eq!(read.attributes.extensions().count(), extra.len());
        prop_assert_eq!(read.data.as_deref().map(<[u8]>::to_vec), data.map(|data| serde_json::to_vec(&data).unwrap()));
        let headers = written(&read.attributes);
        prop_assert_eq!(&Event::from_headers(&headers, read.data.as_deref()).unwrap(), &read);
    }
}
