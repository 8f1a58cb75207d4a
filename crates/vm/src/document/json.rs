//! JSON with duplicate keys, fractions and numbers beyond 64 bits refused.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Budget, duplicate, number, place, string};
use crate::problem::{Code, Problem, member};

/// Why the visitor stopped; the line and column are known only outside of it.
enum Stop {
    Problem(Problem),
    Duplicate(String),
    Number(String),
}

struct State {
    budget: Budget,
    stop: Option<Stop>,
}

pub(super) fn read(text: &str) -> Result<Value, Problem> {
    let mut state = State { budget: Budget::new(), stop: None };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Node { state: &mut state, pointer: String::new(), depth: 1 }.deserialize(&mut deserializer);
    value.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match state.stop {
            Some(Stop::Problem(problem)) => problem,
            Some(Stop::Duplicate(pointer)) => duplicate(&pointer, line, column),
            Some(Stop::Number(pointer)) => number(&pointer, line, column),
            None => {
                let text = error.to_string();
                let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
                if what == "number out of range" {
                    return number("", line, column);
                }
                if what == "recursion limit exceeded" {
                    return Problem::new("", Code::Depth, format!("nested deeper than {}", super::MAX_DEPTH));
                }
                Problem::new("", Code::Json, format!("{}: {what}", place(line, column)))
            }
        }
    })
}

struct Node<'a> {
    state: &'a mut State,
    pointer: String,
    depth: usize,
}

impl Node<'_> {
    /// Remember why, and stop the deserializer.
    fn stop<E: serde::de::Error>(self, stop: impl FnOnce(String) -> Stop) -> E {
        self.state.stop = Some(stop(self.pointer));
        E::custom("stopped")
    }

    fn check<E: serde::de::Error>(&mut self, checked: Result<(), Problem>) -> Result<(), E> {
        checked.map_err(|problem| {
            self.state.stop = Some(Stop::Problem(problem));
            E::custom("stopped")
        })
    }

    fn child(&mut self, pointer: String) -> Node<'_> {
        Node { state: self.state, pointer, depth: self.depth + 1 }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(mut self, deserializer: D) -> Result<Value, D::Error> {
        let counted = self.state.budget.node(&self.pointer, self.depth);
        self.check(counted)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::from).map_err(|_| self.stop(Stop::Number))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Value, E> {
        Err(self.stop(Stop::Number))
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<Value, E> {
        let checked = string(&self.pointer, text);
        self.check(checked)?;
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let pointer = format!("{}/{}", self.pointer, list.len());
            match items.next_element_seed(self.child(pointer))? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let pointer = member(&self.pointer, &key);
            let checked = string(&pointer, &key);
            self.check(checked)?;
            if map.contains_key(&key) {
                self.state.stop = Some(Stop::Duplicate(pointer));
                return Err(A::Error::custom("stopped"));
            }
            let value = entries.next_value_seed(self.child(pointer))?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
