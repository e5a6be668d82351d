//! Reading what the API answers.

use serde_json::{Value as Json, json};
use standfast_core::{Error, Result};

use crate::World;

/// A listing this long is a loop in the tokens.
const PAGES_MAX: usize = 1000;
/// Where an answer says that there is more, and where the next call takes it.
const TOKENS: [(&str, &str); 3] = [("NextToken", "NextToken"), ("nextToken", "nextToken"), ("NextMarker", "Marker")];

/// A text member of an answer; empty when it is not there.
pub fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// A number; 0 when it is not there.
pub fn number(json: &Json, name: &str) -> u64 {
    json.get(name).and_then(Json::as_u64).unwrap_or_default()
}

/// A list member of an answer; empty when it is not there.
pub fn items<'a>(json: &'a Json, name: &str) -> &'a [Json] {
    json.get(name).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

/// A list of texts.
pub fn texts(json: &Json, name: &str) -> Vec<String> {
    items(json, name).iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

/// The value of a tag; empty when there is none.
pub fn tag<'a>(json: &'a Json, key: &str) -> &'a str {
    items(json, "Tags").iter().find(|tag| text(tag, "Key") == key).map_or("", |tag| text(tag, "Value"))
}

/// All pages of a listing: the items under `key`.
pub async fn list(world: &dyn World, service: &str, operation: &str, mut input: Json, key: &str) -> Result<Vec<Json>> {
    let mut all = Vec::new();
    for _ in 0..PAGES_MAX {
        let mut page = world.call(service, operation, input.clone()).await?;
        if let Some(Json::Array(items)) = page.get_mut(key).map(Json::take) {
            all.extend(items);
        }
        let more = TOKENS.iter().find(|(said, _)| !text(&page, said).is_empty());
        let Some((said, taken)) = more else { return Ok(all) };
        input[*taken] = text(&page, said).into();
    }
    Err(Error::internal(format!("{operation} gave over {PAGES_MAX} pages")))
}

/// All instances of the region.
pub async fn instances(world: &dyn World) -> Result<Vec<Json>> {
    let reservations = list(world, "ec2", "DescribeInstances", json!({}), "Reservations").await?;
    Ok(reservations.iter().flat_map(|reservation| items(reservation, "Instances").to_vec()).collect())
}
