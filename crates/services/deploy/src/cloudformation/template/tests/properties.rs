//! What holds for every template, tried on random ones.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};

use super::super::eval::Pseudo;
use super::super::parse::{Origin, parse};
use super::super::validate::validate;
use super::super::{eval, model};
use super::{TYPES, tree};

/// A template that uses most of the language, as the seed of mutations.
const SEED: &str = include_str!("../../../../../../../examples/what-is-the-time/template.yaml");

/// Trees of what templates hold. Functions are among them, because their short forms are written differently.
fn node() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        "(yes|no|on|off|null|~|2012-10-17|000000000000|1\\.10|0x1f|<<|!Ref x|- a|a: b|\\{|#c|)".prop_map(Value::from),
        "[a-z\n ]{0,20}".prop_map(Value::from),
        "[A-Z][a-z]{1,5}".prop_map(|name| json!({"Ref": name})),
        ("[A-Z][a-z]{1,5}", "[A-Z][a-z.]{1,5}").prop_map(|(name, attribute)| json!({"Fn::GetAtt": [name, attribute]})),
        "[ -~]{0,12}".prop_map(|text| json!({"Fn::Sub": text})),
    ];
    scalar.prop_recursive(5, 60, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|list| json!({"Fn::Join": ["-", list]})),
            prop::collection::btree_map("[A-Za-z][ -~]{0,8}|yes|'|: ", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Writes a tree as YAML: blocks, flow and literals by turns, functions in their short forms.
fn yaml(node: &Value, indent: usize, turn: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match node {
        Value::Array(items) if !items.is_empty() => {
            for (n, item) in items.iter().enumerate() {
                out.push_str(&format!("\n{pad}- "));
                yaml(item, indent + 2, turn + n, out);
            }
        }
        Value::Object(members) if !members.is_empty() => {
            if let Some((tag, argument)) = short_form(members).filter(|_| !turn.is_multiple_of(3)) {
                out.push_str(tag);
                out.push(' ');
                return yaml(argument, indent, turn + 1, out);
            }
            for (n, (key, member)) in members.iter().enumerate() {
                out.push_str(&format!("\n{pad}{}: ", quoted(key)));
                yaml(member, indent + 2, turn + n, out);
            }
        }
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        Value::String(text) if turn.is_multiple_of(2) && literal(text) => {
            out.push_str("|\n");
            text.lines().for_each(|line| out.push_str(&format!("{pad}  {line}\n")));
        }
        Value::String(text) => out.push_str(&quoted(text)),
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn short_form(members: &Map<String, Value>) -> Option<(&'static str, &Value)> {
    let tags = [("Ref", "!Ref"), ("Fn::GetAtt", "!GetAtt"), ("Fn::Sub", "!Sub"), ("Fn::Join", "!Join")];
    let (key, argument) = members.iter().next().filter(|_| members.len() == 1)?;
    tags.iter().find(|(long, _)| long == key).map(|(_, tag)| (*tag, argument))
}

/// Whether a block literal gives exactly this text.
fn literal(text: &str) -> bool {
    text.ends_with('\n') && !text.ends_with("\n\n") && text.starts_with(|c: char| c.is_ascii_lowercase())
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Everything that a text can be put through without panicking.
fn put_through(text: &str) {
    let Ok(tree) = parse(text, Origin::Body) else { return };
    let Ok(template) = super::super::template(tree, &BTreeMap::new()) else { return };
    let _ = validate(&template, &TYPES);
    let (values, pseudo) = (BTreeMap::new(), Pseudo::default());
    let Ok(evaluation) = eval::Evaluation::new(&template, &values, &pseudo, &Nothing) else { return };
    for name in evaluation.active() {
        let _ = evaluation.resource(name);
    }
    let _ = (evaluation.check(), evaluation.outputs(), evaluation.graph().map(|graph| graph.waves()));
}

struct Nothing;

impl eval::Resolver for Nothing {
    fn reference(&self, _: &str) -> standfast_core::Result<Value> {
        Ok("id".into())
    }
    fn attribute(&self, _: &str, _: &str) -> standfast_core::Result<Value> {
        Ok("attribute".into())
    }
    fn external(&self, _: &eval::External) -> standfast_core::Result<Value> {
        Ok(json!(["a", "b", "c"]))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn yaml_and_json_of_a_tree_parse_to_that_tree(members in prop::collection::btree_map("[A-Z][a-z]{1,6}", node(), 1..5)) {
        let want = Value::Object(members.into_iter().collect());
        let mut text = String::new();
        yaml(&want, 0, 1, &mut text);
        prop_assert_eq!(parse(&text, Origin::Url).map_err(|error| format!("{error}\n{text}")), Ok(want.clone()));
        prop_assert_eq!(parse(&want.to_string(), Origin::Url).map_err(|error| error.to_string()), Ok(want));
    }

    #[test]
    fn random_text_never_panics(text in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        put_through(&text);
        put_through(&format!("{{{text}"));
        put_through(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn text_of_yaml_characters_never_panics(text in "[\\[\\]{}:,&*!|>'\"%@`#? \n\ta1~<-]{0,120}") {
        put_through(&text);
        put_through(&format!("a: {text}"));
    }

    #[test]
    fn mutated_templates_never_panic(edits in prop::collection::vec(edit(), 1..6)) {
        let mut text: Vec<char> = SEED.chars().collect();
        edits.into_iter().for_each(|edit| edit.apply(&mut text));
        put_through(&text.into_iter().collect::<String>());
    }
}

/// A change of a text: what is between two places (not far apart) goes, or comes again elsewhere, or one character
/// becomes another.
#[derive(Clone, Debug)]
enum Edit {
    Cut(Index, Index),
    Copy(Index, Index, Index),
    Put(Index, char),
}

fn edit() -> impl Strategy<Value = Edit> {
    let character = prop::sample::select("{}[]:!&*|>-'\"\t\n\u{85}\u{feff}".chars().collect::<Vec<_>>());
    prop_oneof![
        any::<(Index, Index)>().prop_map(|(from, to)| Edit::Cut(from, to)),
        any::<(Index, Index, Index)>().prop_map(|(from, to, behind)| Edit::Copy(from, to, behind)),
        (any::<Index>(), character).prop_map(|(at, character)| Edit::Put(at, character)),
    ]
}

impl Edit {
    fn apply(self, text: &mut Vec<char>) {
        const REACH: usize = 60;
        if text.is_empty() {
            return;
        }
        let range = |from: Index, to: Index| {
            let (from, to) = (from.index(text.len()), to.index(text.len()));
            from.min(to)..from.max(to).min(from.min(to) + REACH)
        };
        match self {
            Edit::Cut(from, to) => drop(text.drain(range(from, to))),
            Edit::Copy(from, to, behind) => {
                let piece = text[range(from, to)].to_vec();
                let behind = behind.index(text.len());
                drop(text.splice(behind..behind, piece));
            }
            Edit::Put(at, character) => {
                let at = at.index(text.len());
                text[at] = character;
            }
        }
    }
}

#[test]
fn the_example_is_valid_but_for_its_types() {
    let template = model::Template::read(&tree(SEED)).unwrap();
    let types = super::Types { exists: &|_| true, has_attribute: &|_, _| true };
    validate(&template, &types).unwrap();
    let waves = super::super::graph::Graph::of(&template, |_| true).unwrap().waves().unwrap();
    assert!(waves.len() > 3 && waves[0].contains(&"Vpc".to_owned()), "{waves:?}");
}
