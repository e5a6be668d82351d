//! What a dashboard's body may be: the rules of "Dashboard Body Structure and Syntax". Pure.

use serde_json::{Map, Value, json};

use super::super::widget::metrics;

/// The limits of the service.
const WIDGETS_MAX: usize = 500;
const COLUMNS: i64 = 24;
const HEIGHT_MAX: i64 = 1000;
/// Kinds of widgets with the properties that they need.
const KINDS: [(&str, &[&str]); 6] = [
    ("metric", &["region"]),
    ("text", &["markdown"]),
    ("log", &["query", "region"]),
    ("alarm", &["alarms"]),
    ("explorer", &["metrics"]),
    ("custom", &["endpoint"]),
];
const VIEWS: [&str; 6] = ["timeSeries", "singleValue", "gauge", "bar", "pie", "table"];
/// What a body may hold beside its widgets, and a widget beside its kind.
const BODY: [&str; 5] = ["widgets", "start", "end", "periodOverride", "variables"];
const WIDGET: [&str; 6] = ["type", "x", "y", "width", "height", "properties"];

/// Something that is wrong, and where: `/widgets/0/properties`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub path: String,
    pub message: String,
}

impl Problem {
    pub fn json(&self) -> Value {
        json!({ "dataPath": self.path, "message": self.message })
    }
}

/// What keeps a body from being taken, and what is taken all the same.
#[derive(Debug, Default)]
pub struct Found {
    pub errors: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

pub fn check(body: &str) -> Found {
    let mut found = Found::default();
    let parsed = serde_json::from_str::<Value>(body);
    let Ok(Value::Object(parsed)) = parsed else {
        found.error("", "The field DashboardBody must be a valid JSON object");
        return found;
    };
    found.unknown("", &parsed, &BODY);
    found.one_of(&parsed, "", "periodOverride", &["auto", "inherit"]);
    match parsed.get("widgets") {
        None => found.error("", "Should have required property 'widgets'"),
        Some(Value::Array(widgets)) if widgets.len() > WIDGETS_MAX => {
            found.error("/widgets", format!("Should NOT have more than {WIDGETS_MAX} items"));
        }
        Some(Value::Array(widgets)) => {
            widgets.iter().enumerate().for_each(|(i, widget)| found.widget(&format!("/widgets/{i}"), widget));
        }
        Some(_) => found.error("/widgets", "Should be array"),
    }
    found
}

impl Found {
    fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.errors.push(Problem { path: path.into(), message: message.into() });
    }

    fn unknown(&mut self, path: &str, object: &Map<String, Value>, known: &[&str]) {
        for name in object.keys().filter(|name| !known.contains(&name.as_str())) {
            let (path, message) = (format!("{path}/{name}"), "Should NOT have additional properties".to_owned());
            self.warnings.push(Problem { path, message });
        }
    }

    fn one_of(&mut self, object: &Map<String, Value>, path: &str, name: &str, allowed: &[&str]) {
        if let Some(value) = object.get(name)
            && !value.as_str().is_some_and(|value| allowed.contains(&value))
        {
            let allowed = allowed.join(", ");
            self.error(format!("{path}/{name}"), format!("Should be equal to one of the allowed values: {allowed}"));
        }
    }

    fn between(&mut self, object: &Map<String, Value>, path: &str, name: &str, min: i64, max: i64) {
        let Some(value) = object.get(name) else { return };
        let path = format!("{path}/{name}");
        match value.as_i64() {
            None => self.error(path, "Should be integer"),
            Some(value) if value < min => self.error(path, format!("Should be >= {min}")),
            Some(value) if value > max => self.error(path, format!("Should be <= {max}")),
            Some(_) => {}
        }
    }

    fn widget(&mut self, path: &str, widget: &Value) {
        let Value::Object(widget) = widget else { return self.error(path, "Should be object") };
        self.unknown(path, widget, &WIDGET);
        self.between(widget, path, "x", 0, COLUMNS - 1);
        self.between(widget, path, "y", 0, i64::from(i32::MAX));
        self.between(widget, path, "width", 1, COLUMNS);
        self.between(widget, path, "height", 1, HEIGHT_MAX);
        if widget.contains_key("x") != widget.contains_key("y") {
            let missing = if widget.contains_key("x") { "y" } else { "x" };
            self.error(path, format!("Should have required property '{missing}'"));
        }
        let Some(kind) = widget.get("type") else { return self.error(path, "Should have required property 'type'") };
        let Some((kind, required)) = KINDS.iter().find(|(name, _)| kind == *name) else {
            let names = KINDS.map(|(name, _)| name).join(", ");
            return self
                .error(format!("{path}/type"), format!("Should be equal to one of the allowed values: {names}"));
        };
        let inner = format!("{path}/properties");
        match widget.get("properties") {
            None => self.error(path, "Should have required property 'properties'"),
            Some(Value::Object(properties)) => {
                for name in required.iter().filter(|name| !properties.contains_key(**name)) {
                    self.error(&inner, format!("Should have required property '{name}'"));
                }
                if *kind == "metric" {
                    self.metric(&inner, properties);
                } else if let Some(Value::String(_)) | None = properties.get("markdown") {
                } else {
                    self.error(format!("{inner}/markdown"), "Should be string");
                }
            }
            Some(_) => self.error(inner, "Should be object"),
        }
    }

    fn metric(&mut self, path: &str, properties: &Map<String, Value>) {
        self.one_of(properties, path, "view", &VIEWS);
        if let Some(period) = properties.get("period")
            && period.as_i64().is_none_or(|period| period <= 0)
        {
            self.error(format!("{path}/period"), "Should be integer");
        }
        let alarms = properties.get("annotations").and_then(|annotations| annotations.get("alarms"));
        match (properties.get("metrics"), alarms) {
            (None, None) => self.error(path, "Should have required property 'metrics'"),
            (None, Some(alarms)) if alarms.as_array().is_none_or(|alarms| alarms.len() != 1) => {
                self.error(format!("{path}/annotations/alarms"), "Should have exactly 1 item");
            }
            (None, Some(_)) => {}
            (Some(given), _) => {
                if let Err(wrong) = metrics::parse(given) {
                    self.error(format!("{path}/metrics{}", wrong.path), wrong.message);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widget(more: Value) -> String {
        let mut widget = json!({ "type": "metric", "properties": {
            "region": "eu-west-1", "metrics": [["AWS/EC2", "CPUUtilization", "InstanceId", "i-1"]],
        }});
        let fields = widget.as_object_mut().expect("an object");
        for (name, value) in more.as_object().expect("an object") {
            match value {
                Value::Null => drop(fields.remove(name)),
                value => drop(fields.insert(name.clone(), value.clone())),
            }
        }
        json!({ "widgets": [widget] }).to_string()
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let properties = |more: Value| widget(json!({ "properties": more }));
        let metrics = |metrics: Value| properties(json!({ "region": "r", "metrics": metrics }));
        for (body, path, message) in [
            ("x".to_owned(), "", "The field DashboardBody must be a valid JSON object"),
            ("[]".to_owned(), "", "The field DashboardBody must be a valid JSON object"),
            ("{}".to_owned(), "", "Should have required property 'widgets'"),
            ("{\"widgets\": 1}".to_owned(), "/widgets", "Should be array"),
            ("{\"widgets\": [1]}".to_owned(), "/widgets/0", "Should be object"),
            (widget(json!({"type": null})), "/widgets/0", "Should have required property 'type'"),
            (
                widget(json!({"type": "x"})),
                "/widgets/0/type",
                "Should be equal to one of the allowed values: metric, text, log, alarm, explorer, custom",
            ),
            (widget(json!({"properties": null})), "/widgets/0", "Should have required property 'properties'"),
            (widget(json!({"width": 25})), "/widgets/0/width", "Should be <= 24"),
            (widget(json!({"height": 0})), "/widgets/0/height", "Should be >= 1"),
            (widget(json!({"x": "1", "y": 0})), "/widgets/0/x", "Should be integer"),
            (widget(json!({"x": 1})), "/widgets/0", "Should have required property 'y'"),
            (
                widget(json!({"type": "text", "properties": {}})),
                "/widgets/0/properties",
                "Should have required property 'markdown'",
            ),
            (properties(json!({"metrics": []})), "/widgets/0/properties", "Should have required property 'region'"),
            (properties(json!({"region": "r"})), "/widgets/0/properties", "Should have required property 'metrics'"),
            (metrics(json!(["a"])), "/widgets/0/properties/metrics/0", "Should be array"),
            (metrics(json!([["a"]])), "/widgets/0/properties/metrics/0", "Should NOT have fewer than 2 items"),
            (
                metrics(json!([["a", "b", "c"]])),
                "/widgets/0/properties/metrics/0",
                "Should have a value for every dimension",
            ),
            (
                metrics(json!([["a", 1]])),
                "/widgets/0/properties/metrics/0/1",
                "Invalid metric field type, only \"String\" type is allowed",
            ),
        ] {
            let found = check(&body);
            let expected = Problem { path: path.to_owned(), message: message.to_owned() };
            assert_eq!(found.errors, [expected], "{body}");
        }
    }

    #[test]
    fn sound_bodies_are_taken_and_strange_properties_told() {
        let sound = check(&widget(json!({"x": 0, "y": 0, "width": 24, "height": 6})));
        assert!(sound.errors.is_empty() && sound.warnings.is_empty());
        assert!(check("{\"widgets\": []}").errors.is_empty());
        let odd = check(&widget(json!({"colour": "red"})));
        let message = "Should NOT have additional properties".to_owned();
        assert_eq!((odd.errors, odd.warnings), (vec![], vec![Problem { path: "/widgets/0/colour".into(), message }]));
    }
}
