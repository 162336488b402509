//! The reference page: the settings' own descriptions, in Markdown. It walks the schema and knows no setting by its
//! name, so that none is left out.

use std::ptr;

use serde_json::Value;

/// What the page begins with.
const HEAD: &str = "\
# The pipeline file

This page is made from the settings' types: `millstream json-schema --markdown`.
";

/// What no type says, because it is true of every text (`engine/src/values.rs`).
const VALUES: &str = "
## Values

What is put into the file's texts, names aside, when it is loaded:

| written | stands for |
| --- | --- |
| `${VAR}` | The variable VAR of `--env-file`, or else of the process. Where it is not set, the file is refused. |
| `${VAR:-default}` | The same; `default`, which ends at the first `}`, where VAR is not set or empty. |
| `${secret:VAR}`, `${secret:VAR:-default}` | The same, and shown nowhere. |
| `${file:PATH}` | What is in the file PATH, as seen from the pipeline file's folder, without white space at its end. Shown nowhere. |
| `$${` | `${` itself. |

In quotes it stays a text; without them a number that is put in is a number, and what is empty is not set. Secrets of
fewer than four bytes are not hidden.
";

/// `docs/reference.md`, out of the JSON Schema of a pipeline file.
pub(super) fn markdown(schema: &Value) -> String {
    let mut page = Page { root: schema, sections: Vec::new() };
    page.add("The file".to_owned(), "", schema);
    let mut out = HEAD.to_owned();
    for section in &page.sections {
        page.write(section, &mut out);
    }
    out.push_str(VALUES);
    out
}

/// Settings with a table of their own.
struct Section<'a> {
    /// Where a file has them; the same settings may be in several places.
    titles: Vec<String>,
    schema: &'a Value,
}

struct Page<'a> {
    /// Where references lead.
    root: &'a Value,
    sections: Vec<Section<'a>>,
}

impl<'a> Page<'a> {
    /// Adds settings, and behind them those that are within; `path` is what their names begin with.
    fn add(&mut self, title: String, path: &str, schema: &'a Value) {
        if let Some(known) = self.sections.iter_mut().find(|section| ptr::eq(section.schema, schema)) {
            known.titles.push(title);
            return;
        }
        self.sections.push(Section { titles: vec![title], schema });
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            self.add_within(&path, property);
        }
    }

    /// Adds what the setting at `path` has within. Where whoever writes a file chooses a name, or the first key is
    /// the kind, paths begin anew.
    fn add_within(&mut self, path: &str, property: &'a Value) {
        for each in [&property["additionalProperties"], &property["items"]] {
            let each = self.resolve(each);
            if self.has_keys(each) {
                self.add(format!("Each of `{path}:`"), "", each);
            }
        }
        let schema = self.meant(property);
        let kinds: Vec<_> =
            choices(schema).filter_map(|choice| Some((choice["x-name"].as_str()?, choice))).collect();
        if kinds.is_empty() && self.has_keys(schema) {
            self.add(format!("`{path}:`"), path, schema);
        }
        for (kind, choice) in kinds {
            self.add(format!("`{path}: {{ {kind}: … }}`"), "", self.resolve(choice));
        }
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let target =
            schema["$ref"].as_str().and_then(|reference| self.root.pointer(reference.strip_prefix('#')?));
        target.map_or(schema, |target| self.resolve(target))
    }

    /// What a setting takes where it is not left out.
    fn meant(&self, property: &'a Value) -> &'a Value {
        let schema = self.resolve(property);
        let mut others = choices(schema).filter(|choice| choice["type"] != "null");
        match (others.next(), others.next()) {
            (Some(only), None) => self.resolve(only),
            _ => schema,
        }
    }

    /// Whether it has keys of its own, or is one of several things that have.
    fn has_keys(&self, schema: &'a Value) -> bool {
        let mut all = choices(schema).map(|choice| self.resolve(choice)).chain([schema]);
        all.any(|schema| schema["properties"].is_object())
    }

    fn write(&self, section: &Section<'a>, out: &mut String) {
        let schema = section.schema;
        let is_choice = choices(schema).next().is_some();
        out.push_str(&format!("\n## {}\n\n", section.titles.join(", ")));
        if let Some(text) = schema["description"].as_str() {
            let more = if is_choice { " One of:" } else { "" };
            out.push_str(&format!("{}{more}\n\n", one_line(text)));
        }
        out.push_str("| key | meaning |\n| --- | --- |\n");
        match is_choice {
            true => self.write_choices(schema, out),
            false => self.write_keys(schema, out),
        }
    }

    fn write_keys(&self, schema: &'a Value, out: &mut String) {
        let required: Vec<_> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let needed = if required.contains(&name.as_str()) { " (required)" } else { "" };
            out.push_str(&format!("| `{name}`{needed} | {} |\n", cell(&self.meaning(property))));
        }
    }

    /// Each with its keys, and what is within them.
    fn write_choices(&self, schema: &'a Value, out: &mut String) {
        for choice in choices(schema) {
            let target = self.resolve(choice);
            let meaning = [choice, target].into_iter().find_map(|schema| schema["description"].as_str());
            let mut meaning = one_line(meaning.unwrap_or_default());
            let properties = target["properties"].as_object();
            for (name, property) in properties.into_iter().flatten() {
                for (key, inner) in self.resolve(property)["properties"].as_object().into_iter().flatten() {
                    meaning.push_str(&format!(" `{name}.{key}`: {}", self.meaning(inner)));
                }
                if choice["$ref"].is_string() && property["description"].is_string() {
                    meaning.push_str(&format!(" `{name}`: {}", self.meaning(property)));
                }
            }
            let names: Vec<_> =
                properties.into_iter().flatten().map(|(name, _)| format!("`{name}`")).collect();
            out.push_str(&format!("| {} | {} |\n", names.join(", "), cell(&meaning)));
        }
    }

    /// What a setting is; the words that it may be, where its description leaves out one of them.
    fn meaning(&self, property: &'a Value) -> String {
        let mut meaning = one_line(property["description"].as_str().unwrap_or_default());
        let words: Vec<_> = choices(self.meant(property))
            .filter_map(|choice| Some((choice["const"].as_str()?, &choice["description"])))
            .collect();
        if words.iter().any(|(word, _)| !meaning.contains(&format!("`{word}`"))) {
            for (word, text) in words {
                let text = one_line(text.as_str().unwrap_or_default());
                meaning.push_str(&format!(" `{word}`: {text}"));
            }
        }
        meaning
    }
}

/// What a value may be one of.
fn choices(schema: &Value) -> impl Iterator<Item = &Value> {
    let choices = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
    choices.into_iter().flatten()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// As it stands in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::bind;

    #[test]
    fn no_setting_is_left_out() {
        let schema = bind::registry(&bind::table_store(Path::new(""))).json_schema();
        let page = markdown(&schema);
        for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
            for (key, property) in definition["properties"].as_object().into_iter().flatten() {
                let text = one_line(property["description"].as_str().unwrap_or_default());
                assert!(page.contains(&cell(&text)), "{name}: nothing is said of {key}");
            }
        }
        let tls = "`kafka.tls:`, `cassandra.tls:`";
        for title in ["`runs:`", tls, "`kafka.sasl.oauth2:`", "`cassandra.keyspace:`", "`spark:`"] {
            assert!(page.contains(&format!("\n## {title}\n")), "there is no {title}");
        }
        assert!(page.contains("`LOCAL_QUORUM`: More than half of those in the data centre."));
    }
}
