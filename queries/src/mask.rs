//! Hiding values inside columns: fields of structs, members of JSON text.

use crate::personal::{Path, Personal, is_called};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, LargeListArray, ListArray, StringArray, StringBuilder, StructArray, new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use decode::snake_case;
use events::headers::DEAD_DETAIL;
use serde_json::Value;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The array with the fields at `paths` NULL, in lists of structs too. What a path can't be followed
/// into is hidden whole.
pub(crate) fn hide_fields(array: &ArrayRef, paths: &[Path]) -> ArrayRef {
    match array.data_type() {
        DataType::Struct(fields) => {
            let structs = array.as_struct();
            let columns = fields.iter().zip(structs.columns()).map(|(field, column)| hide_field(field, column, paths));
            let columns: Vec<ArrayRef> = columns.collect();
            match StructArray::try_new(fields.clone(), columns, structs.nulls().cloned()) {
                Ok(hidden) => Arc::new(hidden),
                Err(_) => new_null_array(array.data_type(), array.len()),
            }
        }
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let values = hide_fields(list.values(), paths);
            match ListArray::try_new(item.clone(), list.offsets().clone(), values, list.nulls().cloned()) {
                Ok(hidden) => Arc::new(hidden),
                Err(_) => new_null_array(array.data_type(), array.len()),
            }
        }
        DataType::LargeList(item) => {
            let list = array.as_list::<i64>();
            let values = hide_fields(list.values(), paths);
            match LargeListArray::try_new(item.clone(), list.offsets().clone(), values, list.nulls().cloned()) {
                Ok(hidden) => Arc::new(hidden),
                Err(_) => new_null_array(array.data_type(), array.len()),
            }
        }
        other => new_null_array(other, array.len()),
    }
}

fn hide_field(field: &Field, column: &ArrayRef, paths: &[Path]) -> ArrayRef {
    let mut within = Vec::new();
    for path in paths {
        match path.split_first() {
            Some((first, rest)) if is_called(field, first) => {
                if rest.is_empty() {
                    return new_null_array(column.data_type(), column.len());
                }
                within.push(rest.to_vec());
            }
            _ => {}
        }
    }
    if within.is_empty() { column.clone() } else { hide_fields(column, &within) }
}

/// The text of `extra` without what is personal; `None` if nothing else stands there, or if it is no
/// JSON object (then nobody knows what it is).
pub(crate) fn hide_members(extra: &str, personal: &Personal) -> Option<String> {
    let mut value: Value = serde_json::from_str(extra).ok()?;
    let object = value.as_object_mut()?;
    if let Some(attributes) = object.get_mut("attributes").and_then(Value::as_object_mut) {
        attributes.retain(|name, _| !personal.attributes.contains(&name.to_lowercase()));
    }
    for path in &personal.paths {
        remove(&mut value, path);
    }
    let object = value.as_object_mut()?;
    // A payload that is no object has no fields to tell apart; one that is, stands for what two
    // reserved names left over.
    match object.get_mut("data") {
        Some(data @ Value::Object(_)) => personal.paths.iter().for_each(|path| remove(data, path)),
        Some(_) => {
            object.remove("data");
        }
        None => {}
    }
    (!object.is_empty()).then(|| value.to_string())
}

/// Takes out the member at `path`; in arrays, of each item. Dotted names count as paths.
pub(crate) fn remove(value: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| remove(item, path)),
        Value::Object(members) => {
            let dotted = path.join("_");
            members.retain(|name, _| {
                let name = snake_case(name);
                name != dotted && !(rest.is_empty() && name == *first)
            });
            for (name, member) in members.iter_mut() {
                if snake_case(name) == *first {
                    // A path into what is neither object nor array: the value itself took its place.
                    if !rest.is_empty() && !member.is_object() && !member.is_array() {
                        *member = Value::Null;
                    }
                    remove(member, rest);
                }
            }
        }
        _ => {}
    }
}

/// The headers of a dead letter without what is personal to its type.
pub(crate) fn hide_headers(headers: &str, personal: &Personal) -> Option<String> {
    let mut value: Value = serde_json::from_str(headers).ok()?;
    let object = value.as_object_mut()?;
    object.retain(|name, _| {
        let attribute = name.strip_prefix("ce_").unwrap_or(name);
        // A client's partition key may be any of the others; the detail may quote the payload.
        attribute != "partitionkey" && name != DEAD_DETAIL && !personal.attributes.contains(attribute)
    });
    Some(value.to_string())
}

/// What a [`Mask`] does to its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hide {
    /// [`hide_fields`].
    Fields(Vec<Path>),
    /// [`hide_members`].
    Extra(Personal),
    /// [`hide_headers`] by the type in the second argument; any other type's headers stay.
    Headers(Arc<BTreeMap<String, Personal>>),
}

/// A function over a column that gives the same type back, with what is personal hidden.
#[derive(Debug, Clone)]
pub(crate) struct Mask {
    hide: Hide,
    signature: Signature,
}

impl Mask {
    pub(crate) fn function(hide: Hide) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { hide, signature: Signature::variadic_any(Volatility::Immutable) })
    }

    fn apply(&self, columns: &[ArrayRef]) -> DfResult<ArrayRef> {
        let missing = || DataFusionError::Internal("a mask without its column".into());
        let column = columns.first().ok_or_else(missing)?;
        let as_text = |array: &ArrayRef| Ok::<_, DataFusionError>(cast(array, &DataType::Utf8)?);
        let text = match &self.hide {
            Hide::Fields(paths) => return Ok(hide_fields(column, paths)),
            Hide::Extra(personal) => {
                let text = as_text(column)?;
                let texts = text.as_string::<i32>().iter();
                texts.map(|text| hide_members(text?, personal)).collect::<StringArray>()
            }
            Hide::Headers(types) => {
                let text = as_text(column)?;
                let kinds = as_text(columns.get(1).ok_or_else(missing)?)?;
                let mut hidden = StringBuilder::new();
                for (headers, kind) in text.as_string::<i32>().iter().zip(kinds.as_string::<i32>()) {
                    hidden.append_option(headers.and_then(|headers| match kind.map(|kind| types.get(kind)) {
                        Some(None) => Some(headers.to_owned()),
                        Some(Some(personal)) => hide_headers(headers, personal),
                        None => None,
                    }));
                }
                hidden.finish()
            }
        };
        Ok(cast(&text, column.data_type())?)
    }
}

impl PartialEq for Mask {
    fn eq(&self, other: &Self) -> bool {
        self.hide == other.hide
    }
}

impl Eq for Mask {}

impl Hash for Mask {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(&self.hide).hash(state);
    }
}

impl ScalarUDFImpl for Mask {
    fn name(&self) -> &'static str {
        "without_personal"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DfResult<DataType> {
        arguments.first().cloned().ok_or_else(|| DataFusionError::Internal("a mask without its column".into()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        Ok(ColumnarValue::Array(self.apply(&columns)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::Int64Array;

    fn personal(attributes: &[&str], paths: &[&str]) -> Personal {
        Personal {
            columns: [].into(),
            attributes: attributes.iter().map(ToString::to_string).collect(),
            paths: paths.iter().map(|path| path.split('.').map(snake_case).collect()).collect(),
        }
    }

    #[test]
    fn members_of_extra_are_taken_out_wherever_they_stand() {
        let personal = personal(&["ip"], &["realName", "home.city", "friends.mail"]);
        for (extra, left) in [
            (r#"{"realName":"A","level":"x"}"#, Some(r#"{"level":"x"}"#)),
            (r#"{"real_name":1}"#, None),
            (r#"{"home":{"city":"B","zip":1}}"#, Some(r#"{"home":{"zip":1}}"#)),
            (r#"{"home":"12 Elm Street"}"#, Some(r#"{"home":null}"#)),
            (r#"{"home.city":"B","a":1}"#, Some(r#"{"a":1}"#)),
            (r#"{"friends":[{"mail":"x","n":1},null]}"#, Some(r#"{"friends":[{"n":1},null]}"#)),
            (r#"{"data":"John Doe"}"#, None),
            (r#"{"data":{"realName":"A","k":1}}"#, Some(r#"{"data":{"k":1}}"#)),
            (r#"{"attributes":{"ip":"1.2.3.4","lang":"de"}}"#, Some(r#"{"attributes":{"lang":"de"}}"#)),
            ("not json", None),
        ] {
            assert_eq!(hide_members(extra, &personal).as_deref(), left, "{extra}");
        }
    }

    #[test]
    fn headers_lose_what_is_personal_and_the_partition_key() {
        let headers = r#"{"ce_playerid":"p","ce_id":"1","ce_partitionkey":"p"}"#;
        assert_eq!(hide_headers(headers, &personal(&["playerid"], &[])).as_deref(), Some(r#"{"ce_id":"1"}"#));
    }

    #[test]
    fn fields_of_structs_read_as_null_of_their_type() {
        let fields = vec![Field::new("city", DataType::Utf8, true), Field::new("zip", DataType::Int64, true)];
        let city: ArrayRef = Arc::new(StringArray::from(vec![Some("B"), None]));
        let zip: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let array: ArrayRef = Arc::new(StructArray::new(fields.into(), vec![city, zip.clone()], None));
        let hidden = hide_fields(&array, &[vec!["city".into()]]);
        assert_eq!(hidden.data_type(), array.data_type());
        assert_eq!(hidden.as_struct().column(0).null_count(), 2);
        assert_eq!(hidden.as_struct().column(1), &zip);
        let untouched = hide_fields(&array, &[vec!["street".into()]]);
        assert_eq!(&untouched, &array);
    }
}
