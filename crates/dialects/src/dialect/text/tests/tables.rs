//! The tables themselves.

use crate::dialect::text::{BodyKind, DialectId, SlotRole, TextSlots, When};

#[test]
fn every_dialect_has_slots_in_every_kind_of_body() {
    for dialect in DialectId::ALL {
        let slots = TextSlots::of(dialect);
        assert_eq!(slots.dialect, dialect);
        for kind in [BodyKind::Request, BodyKind::Reply, BodyKind::Event] {
            assert!(!slots.table(kind).rows().is_empty(), "{dialect:?} {kind:?}");
        }
    }
}

#[test]
fn held_text_of_every_block_has_an_event_to_go_in() {
    for dialect in DialectId::ALL {
        for row in TextSlots::of(dialect).table(BodyKind::Event).rows() {
            let Some(shape) = row.shape else {
                assert_ne!(row.role, SlotRole::Delta, "{dialect:?}: {} has no shape", row.path);
                continue;
            };
            assert_eq!(shape.json.matches("$text").count(), 1, "{dialect:?}: {}", row.path);
            let filled = shape.json.replace("$text", "\"\"").replace(['$', '@'], "");
            let words = ["choice", "block", "part", "id", "created", "modelVersion", "model", "responseId"];
            let words = ["item_id", "sequence_number"].into_iter().chain(words);
            let json = words.fold(filled, |json, word| json.replace(&format!(":{word}"), ":0"));
            assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{dialect:?}: {json}");
        }
    }
}

#[test]
fn no_row_hides_another() {
    for dialect in DialectId::ALL {
        for kind in [BodyKind::Request, BodyKind::Reply, BodyKind::Event] {
            let rows = TextSlots::of(dialect).table(kind).rows();
            for (index, row) in rows.iter().enumerate() {
                let same = rows[..index].iter().find(|other| {
                    (other.within, other.path) == (row.within, row.path) && matches!(other.when, When::Always)
                });
                assert!(same.is_none(), "{dialect:?} {kind:?}: {} stands behind a row without a condition", row.path);
            }
        }
    }
}
