//! The filters of DescribeParameters and GetParametersByPath.

use standfast_api::ssm::ParameterStringFilter;
use standfast_core::{Error, Result};

use super::model::Parameter;

/// Whether a parameter passes all filters.
pub fn passes(name: &str, parameter: &Parameter, filters: &[ParameterStringFilter]) -> Result<bool> {
    for filter in filters {
        let version = parameter.newest();
        let actual = match filter.key.as_str() {
            "Name" => Some(name),
            "Type" => Some(version.kind.as_str()),
            "KeyId" => version.key_id.as_deref(),
            "Tier" => Some(version.tier.as_str()),
            "DataType" => Some(version.data_type.as_str()),
            "Path" => Some(name),
            key => match key.strip_prefix("tag:") {
                Some(tag) => parameter.tags.get(tag).map(String::as_str),
                None => {
                    let message = format!("The following filter key is not valid: {key}.");
                    return Err(Error::client("InvalidFilterKey", message));
                }
            },
        };
        let option = filter.option.as_deref().unwrap_or("Equals");
        let matches = |actual: &str, wanted: &str| match (filter.key.as_str(), option) {
            ("Path", "Recursive") => below(actual, wanted, true),
            ("Path", _) => below(actual, wanted, false),
            (_, "BeginsWith") => actual.starts_with(wanted),
            (_, "Contains") => actual.contains(wanted),
            _ => actual == wanted || actual.strip_prefix('/') == Some(wanted),
        };
        if !matches!(option, "Equals" | "BeginsWith" | "Contains" | "Recursive" | "OneLevel") {
            let message = format!("The following filter option is not valid: {option}.");
            return Err(Error::client("InvalidFilterOption", message));
        }
        let values = filter.values.as_deref().unwrap_or_default();
        let wanted =
            actual.is_some_and(|actual| values.is_empty() || values.iter().any(|value| matches(actual, value)));
        if !wanted {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a name stands below a path: directly, or at any depth.
pub fn below(name: &str, path: &str, recursive: bool) -> bool {
    let Some(rest) = name.strip_prefix(path.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/')) else {
        return false;
    };
    !rest.is_empty() && (recursive || !rest.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_at_slashes() {
        assert!(below("/a/b", "/a", false) && below("/a/b", "/a/", false) && below("/a/b", "/", true));
        assert!(!below("/a/b/c", "/a", false) && below("/a/b/c", "/a", true));
        assert!(!below("/ab", "/a", true) && !below("/a", "/a", true) && !below("plain", "/", true));
    }
}
