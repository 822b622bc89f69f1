//! One JSON object, written member by member.

use std::fmt::Write;

pub(crate) struct Json(String);

impl Json {
    pub(crate) fn object() -> Self {
        Self("{".to_owned())
    }

    pub(crate) fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.member(name, &value.to_string())
    }

    /// Finite.
    pub(crate) fn float(&mut self, name: &str, value: f64) -> &mut Self {
        self.member(name, &format!("{value:.3}"))
    }

    pub(crate) fn boolean(&mut self, name: &str, value: bool) -> &mut Self {
        self.member(name, &value.to_string())
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.member(name, &quoted(value))
    }

    pub(crate) fn inner(&mut self, name: &str, write: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::object();
        write(&mut inner);
        self.member(name, &inner.end())
    }

    pub(crate) fn end(self) -> String {
        self.0 + "}"
    }

    fn member(&mut self, name: &str, value: &str) -> &mut Self {
        let comma = if self.0.len() > 1 { "," } else { "" };
        self.0 += &format!("{comma}{}:{value}", quoted(name));
        self
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            control if control < ' ' => write!(quoted, "\\u{:04x}", control as u32).expect("a String takes everything"),
            plain => quoted.push(plain),
        }
    }
    quoted + "\""
}
