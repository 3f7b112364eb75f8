//! The one tree that all sources merge into.
//!
//! A source is a [`ConfigLayer`]: its own tree of texts, each with its place. figment
//! merges the layers (later ones win, key by key) and keeps by tag which layer a
//! value came from; the place within the layer is ours, since figment keeps none
//! and would retype the text (`00912` would become 912).

use std::collections::BTreeMap;

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use crate::base::one_by_one::one_by_one;
use crate::base::problem::Place;

/// A value or table, and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub shape: Shape,
    /// Where it came from.
    pub place: Place,
}

/// What a [`Node`] is.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A single value, as the text that somebody wrote.
    Scalar(String, ScalarForm),
    /// An array of a file.
    List(Vec<Node>),
    /// A table.
    Table(BTreeMap<String, Node>),
}

/// How a scalar was written: what TOML told apart, environment and flags do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarForm {
    /// Outside a file: any type may read it.
    Loose,
    /// A TOML string.
    Text,
    /// A TOML integer.
    Integer,
    /// A TOML float.
    Float,
    /// A TOML boolean.
    Bool,
    /// A TOML date or time.
    Date,
}

impl Node {
    /// An empty table.
    pub fn table(place: Place) -> Node {
        Node {
            shape: Shape::Table(BTreeMap::new()),
            place,
        }
    }

    /// Its children, where it is a table.
    pub fn children(&self) -> Option<&BTreeMap<String, Node>> {
        match &self.shape {
            Shape::Table(children) => Some(children),
            _ => None,
        }
    }

    /// The node at `path` below this one.
    pub fn at<'a>(&self, mut path: impl Iterator<Item = &'a str>) -> Option<&Node> {
        path.try_fold(self, |node, part| node.children()?.get(part))
    }

    /// What it is, for a message.
    pub fn what(&self) -> &'static str {
        match &self.shape {
            Shape::Table(_) => "a table",
            Shape::List(_) => "a list",
            Shape::Scalar(_, written) => match written {
                ScalarForm::Loose | ScalarForm::Text => "text",
                ScalarForm::Integer => "a number",
                ScalarForm::Float => "a number with a fraction",
                ScalarForm::Bool => "true or false",
                ScalarForm::Date => "a date",
            },
        }
    }

    /// Puts `text` at `path`, making the tables on the way. `Err` is the place of
    /// what stands there already.
    pub fn insert(&mut self, path: &[&str], text: &str, place: &Place) -> Result<(), Place> {
        let Some((last, tables)) = path.split_last() else {
            return Err(self.place.clone());
        };
        let mut node = self;
        for part in tables {
            let here = node.place.clone();
            let Shape::Table(children) = &mut node.shape else {
                return Err(here);
            };
            node = children
                .entry((*part).to_owned())
                .or_insert_with(|| Node::table(place.clone()));
        }
        let here = node.place.clone();
        let Shape::Table(children) = &mut node.shape else {
            return Err(here);
        };
        if let Some(there) = children.get(*last) {
            return Err(there.place.clone());
        }
        let shape = Shape::Scalar(text.to_owned(), ScalarForm::Loose);
        children.insert(
            (*last).to_owned(),
            Node {
                shape,
                place: place.clone(),
            },
        );
        Ok(())
    }
}

/// One source of configuration, read into a tree.
#[derive(Debug)]
pub struct ConfigLayer {
    /// What tells it from the other layers.
    pub name: &'static str,
    /// Its tree; a table.
    pub root: Node,
}

impl Provider for ConfigLayer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let dict = self.root.children().map(dict).unwrap_or_default();
        Ok(Profile::Default.collect(dict))
    }
}

fn dict(children: &BTreeMap<String, Node>) -> Dict {
    one_by_one((children.iter()).map(|(name, node)| (name.clone(), value(node))))
}

fn value(node: &Node) -> Value {
    match &node.shape {
        Shape::Scalar(text, _) => Value::String(Tag::Default, text.clone()),
        Shape::List(items) => Value::Array(Tag::Default, items.iter().map(value).collect()),
        Shape::Table(children) => Value::Dict(Tag::Default, dict(children)),
    }
}

/// Merges `layers`, the last one the strongest; then fills what is still missing
/// from `fallback`.
pub fn merge(layers: &[&ConfigLayer], fallback: Option<&ConfigLayer>) -> Node {
    let mut figment = Figment::new();
    for layer in layers {
        figment = figment.merge(layer);
    }
    if let Some(layer) = fallback {
        figment = figment.join(layer);
    }
    let dict = figment
        .data()
        .ok()
        .and_then(|mut profiles| profiles.remove(&Profile::Default))
        .unwrap_or_default();
    let all: Vec<&ConfigLayer> = layers.iter().copied().chain(fallback).collect();
    let children = placed(&dict, &figment, &all, &mut Vec::new());
    Node {
        shape: Shape::Table(children),
        place: Place::Default,
    }
}

/// Turns figment's merged values back into nodes, each looked up in its own layer.
fn placed(
    dict: &Dict,
    figment: &Figment,
    layers: &[&ConfigLayer],
    path: &mut Vec<String>,
) -> BTreeMap<String, Node> {
    let mut children = BTreeMap::new();
    for (name, value) in dict {
        path.push(name.clone());
        let origin = figment.get_metadata(value.tag()).map(|meta| &*meta.name);
        let in_layer =
            |layer: &&&ConfigLayer| layer.root.at(path.iter().map(String::as_str)).cloned();
        let node = if let Value::Dict(_, inner) = value {
            // A table belongs to the first source that opened it.
            let place = layers
                .iter()
                .find_map(|layer| in_layer(&layer).filter(|node| node.children().is_some()))
                .map_or(Place::Default, |node| node.place);
            Some(Node {
                shape: Shape::Table(placed(inner, figment, layers, path)),
                place,
            })
        } else {
            layers
                .iter()
                .filter(|layer| Some(layer.name) == origin)
                .find_map(|layer| in_layer(&layer))
        };
        path.pop();
        if let Some(node) = node {
            children.insert(name.clone(), node);
        }
    }
    children
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &'static str, entries: &[(&str, &str)]) -> ConfigLayer {
        let mut root = Node::table(Place::Default);
        for (path, text) in entries {
            let path: Vec<&str> = path.split('.').collect();
            root.insert(&path, text, &Place::Variable(name.into()))
                .unwrap();
        }
        ConfigLayer { name, root }
    }

    #[test]
    fn the_later_layer_wins_key_by_key_and_each_value_keeps_its_place() {
        let low = layer("low", &[("a.x", "1"), ("a.y", "00912")]);
        let high = layer("high", &[("a.x", "2")]);
        let last = layer("last", &[("a.x", "3"), ("a.z", "4")]);
        let tree = merge(&[&low, &high], Some(&last));
        let read = |path: &str| {
            let node = tree.at(path.split('.')).unwrap();
            let Shape::Scalar(text, _) = &node.shape else {
                panic!("{path} is a value");
            };
            (text.clone(), node.place.to_string())
        };
        assert_eq!(read("a.x"), ("2".into(), "variable high".into()));
        assert_eq!(read("a.y"), ("00912".into(), "variable low".into()));
        assert_eq!(read("a.z"), ("4".into(), "variable last".into()));
    }

    #[test]
    fn a_key_cannot_be_both_a_value_and_a_table() {
        let mut root = Node::table(Place::Default);
        let place = Place::Default;
        root.insert(&["a"], "1", &place).unwrap();
        assert!(root.insert(&["a", "b"], "1", &place).is_err());
        assert!(root.insert(&["a"], "2", &place).is_err());
    }
}
