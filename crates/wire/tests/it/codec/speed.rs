//! Large answers are linear: twice the items, about twice the bytes, and nothing is lost.

use serde_json::json;
use standfast_wire::codec::{decode_response, encode_response};

use super::schemas::{HOMES, PUT_RICH, RICH};
use super::{REQUEST_ID, value};

#[test]
fn answers_with_many_items_read_back() {
    let leaf = json!({"Key": "key", "Weight": 1});
    let output = value(&RICH, json!({"Leaves": vec![leaf; 5_000], "Names": vec!["name"; 5_000]}));
    for (protocol, service) in HOMES {
        let written = encode_response(*protocol, service, &PUT_RICH, output.clone(), REQUEST_ID);
        assert_eq!(decode_response(*protocol, service, &PUT_RICH, &written).expect("it is a success"), output);
    }
}
