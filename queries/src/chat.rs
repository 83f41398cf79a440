//! SQL functions on what players write: `toxicity(text)` and `sentiment(text)`.
//!
//! Both are pure: the built-in rules, no model, no data. NULL gives NULL. Chat repeats itself (`gg`, `lol`, `ez`), so each
//! distinct text of a batch is judged once.

use arrow::array::{
    Array, ArrayRef, Float32Array, Float32Builder, ListBuilder, StringArray, StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::collections::HashMap;
use std::sync::Arc;

/// The functions, to be registered with a session.
pub(crate) fn functions() -> [Arc<ScalarUDF>; 2] {
    [Kind::Toxicity, Kind::Sentiment].map(|kind| Arc::new(ScalarUDF::from(OnText::new(kind))))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Toxicity,
    Sentiment,
}

/// A function of one text.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OnText {
    kind: Kind,
    signature: Signature,
}

impl OnText {
    fn new(kind: Kind) -> Self {
        // What a column of text may be: DataFusion coerces the rest, and NULL, to one of these.
        Self { kind, signature: Signature::string(1, Volatility::Immutable) }
    }

    fn judge(&self, texts: &StringArray) -> ArrayRef {
        match self.kind {
            Kind::Toxicity => toxicity(texts),
            Kind::Sentiment => {
                Arc::new(texts.iter().map(|text| text.map(toxicity::sentiment)).collect::<Float32Array>())
            }
        }
    }
}

impl ScalarUDFImpl for OnText {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Toxicity => "toxicity",
            Kind::Sentiment => "sentiment",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Toxicity => DataType::Struct(fields()),
            Kind::Sentiment => DataType::Float32,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [argument] = arguments.args.as_slice() else {
            return Err(DataFusionError::Plan(format!("{} takes one text", self.name())));
        };
        match argument {
            ColumnarValue::Scalar(value) => {
                let answer = self.answer(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&answer, 0)?))
            }
            ColumnarValue::Array(texts) => Ok(ColumnarValue::Array(self.answer(texts)?)),
        }
    }
}

impl OnText {
    /// Judges each distinct text once, and gives every row its answer.
    fn answer(&self, texts: &ArrayRef) -> Result<ArrayRef> {
        let texts = cast(texts, &DataType::Utf8)?;
        let texts = texts
            .as_any()
            .downcast_ref::<StringArray>()
            .ok_or_else(|| DataFusionError::Internal(format!("{} was given no text", self.name())))?;
        let mut places: HashMap<Option<&str>, u32> = HashMap::new();
        let mut distinct: Vec<Option<&str>> = Vec::new();
        let mut rows: Vec<u32> = Vec::with_capacity(texts.len());
        for text in texts {
            let place = *places.entry(text).or_insert_with(|| {
                distinct.push(text);
                // A batch has far fewer rows than this.
                u32::try_from(distinct.len() - 1).unwrap_or(u32::MAX)
            });
            rows.push(place);
        }
        let judged = self.judge(&StringArray::from(distinct));
        Ok(take(&judged, &arrow::array::UInt32Array::from(rows), None)?)
    }
}

/// `score`, `labels`, `words`.
fn fields() -> Fields {
    let list = || DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    Fields::from(vec![
        Field::new("score", DataType::Float32, true),
        Field::new("labels", list(), true),
        Field::new("words", list(), true),
    ])
}

fn toxicity(texts: &StringArray) -> ArrayRef {
    let mut scores = Float32Builder::with_capacity(texts.len());
    let mut labels = ListBuilder::new(StringBuilder::new());
    let mut words = ListBuilder::new(StringBuilder::new());
    for text in texts {
        let Some(text) = text else {
            scores.append_null();
            labels.append_null();
            words.append_null();
            continue;
        };
        let verdict = toxicity::score(text);
        scores.append_value(verdict.score);
        labels.append_value(verdict.labels().map(|label| Some(label.name())));
        words.append_value(verdict.texts(text).into_iter().map(Some));
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(scores.finish()), Arc::new(labels.finish()), Arc::new(words.finish())];
    let valid: NullBuffer = texts.iter().map(|text| text.is_some()).collect::<Vec<bool>>().into();
    Arc::new(StructArray::new(fields(), columns, Some(valid)))
}

#[cfg(test)]
mod tests {
    use super::functions;
    use arrow::array::{Array, ArrayRef, Float32Array, StringArray, StringViewArray};
    use arrow::record_batch::RecordBatch;
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;
    use std::sync::Arc;

    async fn answer(texts: ArrayRef, sql: &str) -> String {
        let context = SessionContext::new();
        for function in functions() {
            context.register_udf(function.as_ref().clone());
        }
        let batch = RecordBatch::try_from_iter([("text", texts)]).unwrap();
        context.register_batch("chat", batch).unwrap();
        let rows = context.sql(sql).await.unwrap().collect().await.unwrap();
        pretty_format_batches(&rows).unwrap().to_string()
    }

    const TEXTS: [Option<&str>; 5] = [Some("gg wp"), None, Some("n00b team"), Some("gg wp"), Some("k y s")];

    #[tokio::test]
    async fn texts_of_every_kind_of_array_are_judged_and_null_stays_null() {
        let sql = "SELECT toxicity(text)['score'] >= 0.5 AS toxic, toxicity(text)['labels'] AS labels, \
                   toxicity(text)['words'] AS words, sentiment(text) > 0 AS glad FROM chat";
        let arrays: [ArrayRef; 2] =
            [Arc::new(StringArray::from(TEXTS.to_vec())), Arc::new(StringViewArray::from(TEXTS.to_vec()))];
        for texts in arrays {
            let rows = answer(texts, sql).await;
            let rows: Vec<String> = rows.lines().skip(3).map(|line| line.replace(' ', "")).collect();
            assert_eq!(rows[0], "|false|[]|[]|true|");
            assert_eq!(rows[1], "|||||");
            assert!(rows[2].starts_with("|true|[insult]|[n00b") && rows[2].ends_with("|false|"), "{rows:?}");
            assert_eq!(rows[3], rows[0]);
            assert_eq!(rows[4], "|true|[threat]|[kys]|false|");
        }
    }

    #[tokio::test]
    async fn a_literal_and_null_are_judged_too() {
        let none: ArrayRef = Arc::new(Float32Array::from(vec![1.0]));
        assert_eq!(none.len(), 1);
        let rows = answer(none, "SELECT toxicity('ez')['labels'] AS labels, sentiment(NULL) AS felt FROM chat").await;
        assert!(rows.contains("[insult]"), "{rows}");
    }
}
