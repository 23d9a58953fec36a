//! Modifiers of types with which the subscriber writes a value of the publisher in another form.
//!
//! Replication reads the text of the publisher's value with the modifier of the subscriber's column: in a numeric(12,4) 1.50
//! becomes 1.5000 (`apply_typmod`, numeric.c), in a character(10) blanks come behind what a character(5) holds (`bpchar_input`,
//! varchar.c). Such a form cannot be kept, so both sides are compared without it. A value that the subscriber rounds differs, as
//! do times that it has fewer digits of. Of elements and attributes, forms are compared as they are.

use super::canonical::Canonical;
use super::conversion::Expression;
use super::shape::Form;
use crate::catalog::{ColumnPair, TypeFacts};
use crate::side::Sides;

/// The form of a column whose values the subscriber writes otherwise; `None` of all others.
pub(super) fn form(publisher: &TypeFacts, subscriber: &TypeFacts) -> Option<Form> {
    // Without a modifier, the subscriber keeps the form.
    let there = modifier(subscriber)?;
    let here = modifier(publisher);
    match (publisher.builtin()?, subscriber.builtin()?) {
        ("numeric", "numeric") if here.map(scale) != Some(scale(there)) => Some(Form::Canonical(Canonical::Unscaled)),
        ("bpchar", "bpchar") if here != Some(there) => {
            Some(Form::Converted(Sides::new(Expression::Unpadded, Expression::Unpadded)))
        }
        _ => None,
    }
}

/// Whether the subscriber writes values of a column otherwise than the publisher, which are equal all the same: their texts
/// differ then.
#[must_use]
pub fn written_otherwise(column: &ColumnPair) -> bool {
    form(&column.types.publisher, &column.types.subscriber).is_some()
}

/// What stands in parentheses: `12,4` of numeric(12,4) (`format_type`, format_type.c).
fn modifier(facts: &TypeFacts) -> Option<&str> {
    let (_, modifier) = facts.base().declared.split_once('(')?;
    modifier.strip_suffix(')')
}

/// The scale of the modifier of a numeric (`numerictypmodout`, numeric.c).
fn scale(modifier: &str) -> &str {
    modifier.split_once(',').map_or(modifier, |(_, scale)| scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::TypeKind;
    use crate::row::Shape;
    use crate::row::testing::{builtin, column, facts, hex, pair, unhex};
    use crate::side::Side;

    fn declared(name: &str, declared: &str) -> TypeFacts {
        TypeFacts { declared: declared.to_owned(), ..builtin(name) }
    }

    fn numeric(modifier: &str) -> TypeFacts {
        declared("numeric", &format!("numeric{modifier}"))
    }

    fn columns(publisher: &TypeFacts, subscriber: &TypeFacts) -> ColumnPair {
        ColumnPair { types: Sides::new(publisher.clone(), subscriber.clone()), ..column("c", publisher) }
    }

    fn forms(publisher: &TypeFacts, subscriber: &TypeFacts) -> Vec<Form> {
        let column = columns(publisher, subscriber);
        let otherwise = written_otherwise(&column);
        let forms: Vec<_> = Shape::new(&pair(vec![column], &[])).forms().cloned().collect();
        assert_eq!(otherwise, forms != [Form::Verbatim], "{publisher:?} {subscriber:?}");
        forms
    }

    #[test]
    fn another_scale_and_another_padding_are_passed_over() {
        let domain = |base: TypeFacts| facts("public", "d", TypeKind::Domain(Box::new(base)));
        for (publisher, subscriber) in [
            (numeric("(10,2)"), numeric("(12,4)")),
            (numeric("(12,4)"), numeric("(10,2)")),
            (numeric(""), numeric("(12,4)")),
            (domain(numeric("(10,2)")), domain(numeric("(12,4)"))),
            (domain(domain(numeric("(10,2)"))), numeric("(12,4)")),
        ] {
            assert_eq!(forms(&publisher, &subscriber), [Form::Canonical(Canonical::Unscaled)], "{publisher:?}");
        }
        let unpadded = [Form::Converted(Sides::new(Expression::Unpadded, Expression::Unpadded))];
        let character = |modifier: &str| declared("bpchar", modifier);
        for (publisher, subscriber) in [
            (character("character(5)"), character("character(10)")),
            (character("character(10)"), character("character(5)")),
            (character("bpchar"), character("character(5)")),
            (character("character(5)"), domain(character("character(10)"))),
        ] {
            assert_eq!(forms(&publisher, &subscriber), unpadded, "{publisher:?}");
        }
    }

    #[test]
    fn a_form_that_the_subscriber_can_keep_is_compared() {
        let character = |modifier: &str| declared("bpchar", modifier);
        for (publisher, subscriber) in [
            (numeric("(10,2)"), numeric("(10,2)")),
            (numeric("(10,2)"), numeric("(12,2)")),
            (numeric("(10,2)"), numeric("")),
            (character("character(5)"), character("character(5)")),
            (character("character(5)"), character("bpchar")),
            (declared("varchar", "character varying(5)"), declared("varchar", "character varying(9)")),
            (
                declared("timestamp", "timestamp(6) without time zone"),
                declared("timestamp", "timestamp(3) without time zone"),
            ),
            (declared("interval", "interval(3)"), declared("interval", "interval(6)")),
            (declared("bit", "bit(5)"), declared("bit", "bit(6)")),
        ] {
            assert_eq!(forms(&publisher, &subscriber), [Form::Verbatim], "{publisher:?} {subscriber:?}");
        }
    }

    /// 1.50 and 1.5000, as `numeric_send` writes them.
    #[test]
    fn keys_of_another_scale_are_one_key_in_order() {
        let shape = Shape::new(&pair(vec![columns(&numeric("(10,2)"), &numeric("(12,4)"))], &[0]));
        assert!(shape.order().is_some());
        assert_eq!(shape.select_list(Side::Subscriber), ["\"c\""]);
        let mut canonicalizer = shape.canonicalizer();
        let mut of = |scale: &str, digits: &str| {
            let sent = unhex(&format!("00010000000c000200000000{scale}{digits}"));
            let row = canonicalizer.row(&sent).expect("valid");
            let mut key = Vec::new();
            shape.key_form().encode(&row, &mut key).expect("valid");
            (hex(row.image()), key)
        };
        let here = of("0002", "00011388");
        assert_eq!(here.0, "00010000000c000200000000000000011388");
        assert_eq!(here, of("0004", "00011388"));
        assert_ne!(here, of("0004", "00011389"));
    }

    #[test]
    fn keys_of_another_length_are_texts() {
        let character = |modifier: &str| declared("bpchar", modifier);
        let shape = Shape::new(&pair(vec![columns(&character("character(5)"), &character("character(10)"))], &[0]));
        assert_eq!((shape.key_len(), shape.order()), (1, None));
        for side in Side::BOTH {
            assert_eq!(shape.select_list(side), ["(\"c\")::pg_catalog.text"]);
        }
    }
}
