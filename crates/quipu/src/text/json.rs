//! A record as JSON: what `consume -o json` prints and `produce --format json` takes.

use super::{InputRecord, Printed};
use bytes::Bytes;
use quipu_record::{Header, Offset, PartitionId, Timestamp};
use serde::{Deserialize, Serialize};

/// One record. Bytes are text where they are UTF-8, otherwise base64 in the field of that name; null is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonRecord {
    /// Where it was read; not taken by `produce`, which has it as an argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partition: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp_ms: Option<i64>,
    #[serde(default)]
    pub(crate) key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_base64: Option<String>,
    #[serde(default)]
    pub(crate) value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) headers: Vec<JsonHeader>,
}

/// One header of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonHeader {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value_base64: Option<String>,
}

impl From<&Printed<'_>> for JsonRecord {
    fn from(record: &Printed<'_>) -> Self {
        let Printed {
            offset,
            time,
            key,
            value,
            headers,
            ..
        } = *record;
        Self {
            topic: Some(record.topic.to_owned()),
            partition: Some(record.partition.get()),
            ..Self::stored(offset, time, key, value, headers)
        }
    }
}

impl JsonRecord {
    /// A record within its partition.
    pub(crate) fn stored(
        offset: Offset,
        time: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Self {
        let (key, key_base64) = to_text(key);
        let (value, value_base64) = to_text(value);
        let headers = headers.iter().map(|header| {
            let (value, value_base64) = to_text(header.value);
            JsonHeader {
                key: header.key.to_owned(),
                value,
                value_base64,
            }
        });
        Self {
            topic: None,
            partition: None,
            offset: Some(offset.get()),
            timestamp_ms: Some(time.get()),
            key,
            key_base64,
            value,
            value_base64,
            headers: headers.collect(),
        }
    }

    /// As a record to send; the error says which field is wrong. `topic` and `offset` are where it was read, and do not
    /// matter here: what `consume` printed can be produced again.
    pub(crate) fn into_input(self) -> Result<InputRecord, String> {
        let headers = self.headers.into_iter().map(|header| {
            let value = to_bytes("value of a header", header.value, header.value_base64)?;
            Ok((header.key, value))
        });
        Ok(InputRecord {
            key: to_bytes("key", self.key, self.key_base64)?,
            value: to_bytes("value", self.value, self.value_base64)?,
            headers: headers.collect::<Result<_, String>>()?,
            time: self.timestamp_ms.map(Timestamp::new),
            partition: self.partition.map(PartitionId::new),
        })
    }
}

fn to_text(bytes: Option<&[u8]>) -> (Option<String>, Option<String>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => (None, None),
        Some((_, Ok(text))) => (Some(text.to_owned()), None),
        Some((bytes, Err(_))) => (None, Some(to_base64(bytes))),
    }
}

fn to_bytes(field: &str, text: Option<String>, base64: Option<String>) -> Result<Option<Bytes>, String> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(format!("the {field} is given twice: as text and as base64")),
        (Some(text), None) => Ok(Some(Bytes::from(text))),
        (None, Some(text)) => match from_base64(&text) {
            Some(bytes) => Ok(Some(Bytes::from(bytes))),
            None => Err(format!("the {field} is not base64")),
        },
        (None, None) => Ok(None),
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, with padding.
fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, &b| bits << 8 | u32::from(b)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let index = (bits >> (18 - 6 * at)) & 63;
            text.push(if at <= group.len() {
                char::from(ALPHABET[index as usize])
            } else {
                '='
            });
        }
    }
    text
}

/// RFC 4648, with padding; `None` if it is anything else.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let groups = text.len() / 4;
    for (at, group) in text.chunks(4).enumerate() {
        let padding = group.iter().rev().take_while(|&&c| c == b'=').count();
        if padding > 2 || (padding > 0 && at + 1 != groups) {
            return None;
        }
        let mut bits = 0u32;
        for &c in &group[..4 - padding] {
            bits = bits << 6 | u32::try_from(ALPHABET.iter().position(|&a| a == c)?).ok()?;
        }
        bits <<= 6 * padding;
        bytes.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_there_and_back() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(to_base64(bytes.as_bytes()), text);
            assert_eq!(from_base64(text).as_deref(), Some(bytes.as_bytes()));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_base64(&to_base64(&all)), Some(all));
        for wrong in ["Z", "Zg=", "Zg==Zg==", "====", "Z===", "Zm9!"] {
            assert_eq!(from_base64(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_consume_prints_produce_takes() {
        let one = |key, value| Header { key, value };
        let headers = [one("h", Some(&b"\xff"[..])), one("n", None)];
        let printed = Printed {
            topic: "t",
            partition: PartitionId::new(1),
            offset: Offset::new(2),
            time: Timestamp::new(3),
            key: Some(b"\xfe"),
            value: Some("grüezi".as_bytes()),
            headers: &headers,
        };
        let text = serde_json::to_string(&JsonRecord::from(&printed)).unwrap();
        assert_eq!(
            text,
            r#"{"topic":"t","partition":1,"offset":2,"timestamp_ms":3,"key":null,"key_base64":"/g==","value":"grüezi","headers":[{"key":"h","value":null,"value_base64":"/w=="},{"key":"n","value":null}]}"#
        );
        let input = serde_json::from_str::<JsonRecord>(&text)
            .unwrap()
            .into_input()
            .unwrap();
        assert_eq!(input.key.as_deref(), Some(&b"\xfe"[..]));
        assert_eq!(input.value.as_deref(), Some("grüezi".as_bytes()));
        assert_eq!(
            input.headers,
            [
                ("h".to_owned(), Some(Bytes::from_static(b"\xff"))),
                ("n".to_owned(), None)
            ]
        );
        assert_eq!(input.time, Some(Timestamp::new(3)));
        assert_eq!(input.partition, Some(PartitionId::new(1)));
    }

    #[test]
    fn contradictions_and_strangers_are_refused() {
        let twice = JsonRecord {
            key: Some("a".into()),
            key_base64: Some("YQ==".into()),
            ..JsonRecord::default()
        };
        assert!(twice.into_input().unwrap_err().contains("twice"));
        let bad = JsonRecord {
            value_base64: Some("?".into()),
            ..JsonRecord::default()
        };
        assert!(bad.into_input().unwrap_err().contains("not base64"));
        assert!(serde_json::from_str::<JsonRecord>(r#"{"vlaue": "x"}"#).is_err());
    }
}
