//! Launch template data as a document: kept as given, given back as kept, merged by name, and laid under a launch.
//!
//! The record holds the wire structure as JSON by the model's member names (see `LaunchTemplateVersion::data`). What is
//! kept, what is answered and what RunInstances takes are three structures of the model whose members have the same
//! names; so a document passes between them without a type of ours that would lose what it does not know.

use serde_json::{Map, Value as Json};
use standfast_api::ec2 as api;
use standfast_core::{Error, Result};
use standfast_wire::{Decode, Encode, Struct, StructSchema, Value, convert};

use super::errors;
use super::model::UserData;

pub type Data = Map<String, Json>;

/// The largest user data, decoded.
pub const USER_DATA_BYTES_MAX: usize = 16 * 1024;

/// Members that RunInstances spells otherwise.
const SPELLINGS: &[(&str, &str)] =
    &[("RamDiskId", "RamdiskId"), ("ElasticGpuSpecifications", "ElasticGpuSpecification")];

/// What a request gives, as it is kept.
pub fn keep(data: api::RequestLaunchTemplateData) -> Result<Data> {
    if let Some(text) = data.user_data.as_deref() {
        user_data(text)?;
    }
    Ok(document(data))
}

/// User data as a request gives it: base64 of at most 16 KiB.
pub fn user_data(text: &str) -> Result<UserData> {
    let data = UserData::parse(text)
        .ok_or_else(|| Error::client("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data."))?;
    if data.0.len() > USER_DATA_BYTES_MAX {
        return Err(errors::invalid(format!("User data is limited to {USER_DATA_BYTES_MAX} bytes")));
    }
    Ok(data)
}

/// What is kept, as it is answered.
pub fn answer(data: &Data) -> api::ResponseLaunchTemplateData {
    let schema = <api::ResponseLaunchTemplateData as Decode>::SCHEMA;
    read(data, schema).expect("the model answers every member that it takes, under the same name")
}

/// A new version from its source: each member that is given replaces the source's.
pub fn overlay(source: &Data, over: Data) -> Data {
    let mut merged = source.clone();
    merged.extend(over);
    merged
}

/// The launch that a request over a template means: what the request gives replaces what the template has, member by
/// member; tags are put together, the request's values winning.
pub fn launch(data: &Data, request: api::RunInstancesInput) -> Result<api::RunInstancesInput> {
    let schema = <api::RunInstancesInput as Decode>::SCHEMA;
    let mut merged = Data::new();
    for (name, value) in data {
        let name = SPELLINGS.iter().find(|(kept, _)| kept == name).map_or(name.as_str(), |(_, taken)| taken);
        if schema.members.iter().any(|member| member.name == name) {
            merged.insert(name.to_owned(), value.clone());
        }
    }
    let mut over = document(request);
    if let (Some(Json::Array(under)), Some(Json::Array(top))) =
        (merged.get("TagSpecifications"), over.get_mut("TagSpecifications"))
    {
        top.extend(missing_tags(under, top));
    }
    merged.extend(over);
    read(&merged, schema).map_err(errors::invalid)
}

/// The template's tags whose keys the request does not give for the same type of resource, as further specifications.
fn missing_tags(under: &[Json], top: &[Json]) -> Vec<Json> {
    let given = |kind: &Json, key: &Json| {
        top.iter()
            .filter(|spec| &spec["ResourceType"] == kind)
            .any(|spec| spec["Tags"].as_array().is_some_and(|tags| tags.iter().any(|tag| &tag["Key"] == key)))
    };
    let mut out = Vec::new();
    for spec in under {
        let kind = &spec["ResourceType"];
        let tags = spec["Tags"].as_array().into_iter().flatten();
        let rest: Vec<Json> = tags.filter(|tag| !given(kind, &tag["Key"])).cloned().collect();
        if !rest.is_empty() {
            out.push(serde_json::json!({ "ResourceType": kind, "Tags": rest }));
        }
    }
    out
}

/// A structure as a document.
pub fn document<T: Encode>(shape: T) -> Data {
    match Value::Struct(convert::encode(shape)).to_json() {
        Json::Object(members) => members,
        _ => unreachable!("a structure's JSON is an object"),
    }
}

fn read<T: Decode>(data: &Data, schema: &'static StructSchema) -> Result<T, String> {
    Struct::from_json(&Json::Object(data.clone()), schema).map(convert::decode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(kind: &str, pairs: &[(&str, &str)]) -> api::TagSpecification {
        let tag = |(key, value): &(&str, &str)| api::Tag { key: Some((*key).into()), value: Some((*value).into()) };
        api::TagSpecification { resource_type: Some(kind.into()), tags: Some(pairs.iter().map(tag).collect()) }
    }

    fn template() -> Data {
        let tag = api::Tag { key: Some("Name".into()), value: Some("template".into()) };
        keep(api::RequestLaunchTemplateData {
            image_id: Some("ami-12345678".into()),
            instance_type: Some("t3.micro".into()),
            user_data: Some("IyEvYmluL3NoCg==".into()),
            monitoring: Some(api::LaunchTemplatesMonitoringRequest { enabled: Some(true) }),
            ram_disk_id: Some("ari-1".into()),
            tag_specifications: Some(vec![api::LaunchTemplateTagSpecificationRequest {
                resource_type: Some("instance".into()),
                tags: Some(vec![tag, api::Tag { key: Some("Team".into()), value: Some("blue".into()) }]),
            }]),
            ..Default::default()
        })
        .expect("valid")
    }

    #[test]
    fn data_is_answered_exactly_as_it_was_given() {
        let answered = answer(&template());
        assert_eq!(answered.image_id.as_deref(), Some("ami-12345678"));
        assert_eq!(answered.user_data.as_deref(), Some("IyEvYmluL3NoCg=="));
        assert_eq!(answered.monitoring.and_then(|m| m.enabled), Some(true));
        assert_eq!((answered.key_name, answered.network_interfaces), (None, None));
    }

    #[test]
    fn every_member_has_the_same_name_in_both_directions() {
        let taken = <api::RequestLaunchTemplateData as Encode>::SCHEMA;
        let answered = <api::ResponseLaunchTemplateData as Encode>::SCHEMA;
        for member in taken.members {
            assert!(answered.members.iter().any(|other| other.name == member.name), "{}", member.name);
        }
    }

    #[test]
    fn a_request_overrides_its_template() {
        let request = api::RunInstancesInput {
            min_count: 1,
            max_count: 2,
            instance_type: Some("m5.large".into()),
            tag_specifications: Some(vec![tags("instance", &[("Name", "request")])]),
            ..Default::default()
        };
        let launch = launch(&template(), request).expect("valid");
        assert_eq!((launch.min_count, launch.max_count), (1, 2));
        assert_eq!(launch.instance_type.as_deref(), Some("m5.large"));
        assert_eq!(launch.image_id.as_deref(), Some("ami-12345678"));
        assert_eq!(launch.ramdisk_id.as_deref(), Some("ari-1"));
        let expected = vec![tags("instance", &[("Name", "request")]), tags("instance", &[("Team", "blue")])];
        assert_eq!(launch.tag_specifications, Some(expected));
    }

    #[test]
    fn user_data_is_checked() {
        assert!(user_data("not base64!").is_err_and(|error| error.is("InvalidUserData.Malformed")));
        let large = UserData(vec![0; USER_DATA_BYTES_MAX + 1].into()).base64();
        assert!(user_data(&large).is_err_and(|error| error.is("InvalidParameterValue")));
    }
}
