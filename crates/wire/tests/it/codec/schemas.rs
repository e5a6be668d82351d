//! Services made by hand, one for each dialect, all around one rich shape.

use standfast_wire::schema::FREE;
use standfast_wire::{
    ErrorSchema, Limits, ListSchema, Location, MapSchema, Member, OperationSchema, Protocol, ServiceSchema,
    StructSchema, TimeFormat, Type,
};

/// A protocol, a service that speaks it, and an operation.
pub type Case = (Protocol, &'static ServiceSchema, &'static OperationSchema);

const fn list(item: Type, wire: &'static str, flattened: bool) -> ListSchema {
    ListSchema { item, wire, flattened, limits: &FREE }
}

const fn map(value: Type, key_wire: &'static str, value_wire: &'static str, flattened: bool) -> MapSchema {
    MapSchema { key: &FREE, value, key_wire, value_wire, flattened, limits: &FREE }
}

const fn structure(name: &'static str, members: &'static [Member]) -> StructSchema {
    StructSchema { name, members, payload: None, union: false }
}

pub const TEXT: Type = Type::String(&FREE);

static TEXTS: ListSchema = list(TEXT, "member", false);
static ITEMS: ListSchema = list(TEXT, "item", false);
static FLAT_TEXTS: ListSchema = list(TEXT, "member", true);
static FLAT_NAMED: ListSchema = list(Type::Int(&FREE), "Number", true);
static TEXT_LISTS: ListSchema = list(Type::List(&TEXTS), "member", false);
static LEAVES: ListSchema = list(Type::Struct(&LEAF), "Leaf", false);
static TIMES: ListSchema = list(Type::Timestamp(None), "member", false);
static TEXT_MAP: MapSchema = map(TEXT, "key", "value", false);
static LEAF_MAP: MapSchema = map(Type::Struct(&LEAF), "Name", "Value", false);
static LIST_MAP: MapSchema = map(Type::List(&TEXTS), "key", "value", false);
static FLAT_MAP: MapSchema = map(TEXT, "K", "V", true);

pub static LEAF: StructSchema = structure(
    "Leaf",
    &[
        Member::new("Kind", "xsi:kind", "Kind", TEXT).xml_attribute(),
        Member::plain("Key", TEXT),
        Member::new("Weight", "weight", "Weight", Type::Int(&FREE)),
    ],
);

/// Everything that can stand in a body.
pub static RICH: StructSchema = structure(
    "Rich",
    &[
        Member::plain("Name", TEXT),
        Member::plain("Flag", Type::Bool),
        Member::plain("Count", Type::Int(&FREE)),
        Member::plain("Big", Type::Long(&FREE)),
        Member::plain("Ratio", Type::Float(&FREE)),
        Member::plain("Exact", Type::Double(&FREE)),
        Member::plain("Data", Type::Blob(&FREE)),
        Member::plain("When", Type::Timestamp(None)),
        Member::plain("WhenIso", Type::Timestamp(Some(TimeFormat::Iso8601))),
        Member::plain("WhenEpoch", Type::Timestamp(Some(TimeFormat::Epoch))),
        Member::plain("WhenDate", Type::Timestamp(Some(TimeFormat::HttpDate))),
        Member::plain("Names", Type::List(&TEXTS)),
        Member::new("Items", "itemSet", "ItemSet", Type::List(&ITEMS)),
        Member::plain("Flat", Type::List(&FLAT_TEXTS)),
        Member::new("Numbers", "Number", "Number", Type::List(&FLAT_NAMED)),
        Member::plain("Lists", Type::List(&TEXT_LISTS)),
        Member::plain("Leaves", Type::List(&LEAVES)),
        Member::plain("Tags", Type::Map(&TEXT_MAP)),
        Member::plain("LeafMap", Type::Map(&LEAF_MAP)),
        Member::plain("ListMap", Type::Map(&LIST_MAP)),
        Member::new("FlatMap", "Attribute", "Attribute", Type::Map(&FLAT_MAP)),
        Member::new("Leaf", "theLeaf", "TheLeaf", Type::Struct(&LEAF)),
        Member::plain("Again", Type::Struct(&RICH)),
        Member::plain("Anything", Type::Document),
    ],
);

static NOTHING: StructSchema = structure("Nothing", &[]);

pub static COLORS: Limits = Limits { min: None, max: None, values: &["RED", "GREEN"] };
static ONE_TO_TEN: Limits = Limits { min: Some(1), max: Some(10), values: &[] };
static SHORT: Limits = Limits { min: Some(2), max: Some(4), values: &[] };
static ONE_OR_TWO: Limits = Limits { min: Some(1), max: Some(2), values: &[] };
static SHORT_TEXTS: ListSchema =
    ListSchema { item: Type::String(&SHORT), wire: "member", flattened: false, limits: &ONE_OR_TWO };
static STRICT_TAG: StructSchema =
    structure("StrictTag", &[Member::plain("Key", TEXT).required(), Member::plain("Value", Type::String(&SHORT))]);
static STRICT_TAGS: ListSchema = list(Type::Struct(&STRICT_TAG), "member", false);
static STRICT_MAP: MapSchema = MapSchema {
    key: &SHORT,
    value: Type::String(&COLORS),
    key_wire: "key",
    value_wire: "value",
    flattened: false,
    limits: &FREE,
};
static CHOICE: StructSchema = StructSchema {
    name: "Choice",
    members: &[Member::plain("A", TEXT), Member::plain("B", TEXT)],
    payload: None,
    union: true,
};

/// Every kind of constraint.
static STRICT: StructSchema = structure(
    "Strict",
    &[
        Member::plain("AutoScalingGroupName", TEXT).required(),
        Member::plain("MaxRecords", Type::Int(&ONE_TO_TEN)),
        Member::plain("Share", Type::Double(&ONE_TO_TEN)),
        Member::plain("Label", Type::String(&SHORT)),
        Member::plain("Data", Type::Blob(&SHORT)),
        Member::plain("Color", Type::String(&COLORS)),
        Member::plain("Labels", Type::List(&SHORT_TEXTS)),
        Member::plain("Tags", Type::List(&STRICT_TAGS)),
        Member::plain("Colors", Type::Map(&STRICT_MAP)),
        Member::plain("Choice", Type::Struct(&CHOICE)),
    ],
);

static GONE: ErrorSchema = ErrorSchema { shape: "ThingNotFoundException", code: "ThingNotFound", status: 404 };

static ERRORS: &[&ErrorSchema] = &[&GONE];

const fn operation(
    name: &'static str,
    input: &'static StructSchema,
    output: &'static StructSchema,
    result_wrapper: Option<&'static str>,
) -> OperationSchema {
    OperationSchema {
        name,
        method: "POST",
        uri: "/",
        status: 200,
        input,
        output,
        result_wrapper,
        input_root: None,
        errors: ERRORS,
    }
}

pub static PUT_RICH: OperationSchema = operation("PutRich", &RICH, &RICH, Some("PutRichResult"));
pub static DO_NOTHING: OperationSchema = operation("DoNothing", &NOTHING, &NOTHING, None);
pub static PUT_STRICT: OperationSchema = operation("PutStrict", &STRICT, &NOTHING, None);
static OPERATIONS: &[&OperationSchema] = &[&DO_NOTHING, &PUT_RICH, &PUT_STRICT];

const fn service(name: &'static str, protocols: &'static [Protocol]) -> ServiceSchema {
    ServiceSchema {
        name,
        signing_name: "things",
        api_version: "2026-11-20",
        protocols,
        target_prefix: Some("Things_20261120"),
        cbor_name: "Things",
        xml_namespace: "http://things.example/doc/",
        global: false,
        operations: OPERATIONS,
    }
}

pub static QUERY: ServiceSchema = service("things", &[Protocol::Query]);
pub static EC2: ServiceSchema = service("things-ec2", &[Protocol::Ec2]);
pub static JSON: ServiceSchema = service("things-json", &[Protocol::Json11]);
pub static REST_JSON: ServiceSchema = service("things-rest-json", &[Protocol::RestJson]);
pub static REST_XML: ServiceSchema = service("things-rest-xml", &[Protocol::RestXml]);
/// Under its real name, since it has words of its own.
pub static CLOUDWATCH: ServiceSchema = service("cloudwatch", &[Protocol::Json10, Protocol::Query, Protocol::Cbor]);
pub static SQS: ServiceSchema = service("sqs", &[Protocol::Json10, Protocol::Query]);
pub static RDS: ServiceSchema = service("rds", &[Protocol::Query]);
pub static S3: ServiceSchema = service("s3", &[Protocol::RestXml]);

/// Each protocol with a service that is at home in it.
pub static HOMES: &[(Protocol, &ServiceSchema)] = &[
    (Protocol::Query, &QUERY),
    (Protocol::Ec2, &EC2),
    (Protocol::Json10, &CLOUDWATCH),
    (Protocol::Json11, &JSON),
    (Protocol::RestXml, &REST_XML),
    (Protocol::RestJson, &REST_JSON),
    (Protocol::Cbor, &CLOUDWATCH),
];

pub fn rich(protocol: Protocol) -> Case {
    with(protocol, &PUT_RICH)
}

pub fn with(protocol: Protocol, op: &'static OperationSchema) -> Case {
    let (_, service) = HOMES.iter().find(|(home, _)| *home == protocol).expect("every protocol has a home");
    (protocol, service, op)
}

// What follows is for rest-json and rest-xml only.

/// Everything that can stand outside a body, and something in it.
pub static BOUND: StructSchema = structure(
    "Bound",
    &[
        Member::new("Bucket", "Bucket", "", TEXT).at(Location::Uri).required(),
        Member::new("Version", "version", "", Type::Int(&FREE)).at(Location::Uri).required(),
        Member::new("Key", "Key", "", TEXT).at(Location::Uri).required(),
        Member::new("Max", "max-keys", "", Type::Int(&FREE)).at(Location::Query),
        Member::new("Since", "since", "", Type::Timestamp(None)).at(Location::Query),
        Member::new("Ids", "id", "", Type::List(&TEXTS)).at(Location::Query),
        Member::new("Others", "", "", Type::Map(&LIST_MAP)).at(Location::Query),
        Member::new("Token", "X-Token", "", TEXT).at(Location::Header),
        Member::new("Modified", "If-Modified-Since", "", Type::Timestamp(None)).at(Location::Header),
        Member::new("Wait", "x-wait", "", Type::Bool).at(Location::Header),
        Member::new("Parts", "x-parts", "", Type::List(&TEXTS)).at(Location::Header),
        Member::new("Dates", "x-dates", "", Type::List(&TIMES)).at(Location::Header),
        Member::new("Meta", "x-meta-", "", Type::Map(&TEXT_MAP)).at(Location::Headers),
        Member::new("Note", "note", "", TEXT),
        Member::new("Leaf", "leaf", "", Type::Struct(&LEAF)),
    ],
);

/// Everything that can stand outside an answer's body, and something in it.
pub static BOUND_OUT: StructSchema = structure(
    "BoundOut",
    &[
        Member::new("Status", "Status", "", Type::Int(&FREE)).at(Location::Status),
        Member::new("ETag", "ETag", "", TEXT).at(Location::Header),
        Member::new("Modified", "Last-Modified", "", Type::Timestamp(None)).at(Location::Header),
        Member::new("Meta", "x-meta-", "", Type::Map(&TEXT_MAP)).at(Location::Headers),
        Member::new("Note", "note", "", TEXT),
    ],
);

const fn payload(name: &'static str, members: &'static [Member]) -> StructSchema {
    StructSchema { name, members, payload: Some(0), union: false }
}

static BLOB_PAYLOAD: StructSchema = payload(
    "BlobPayload",
    &[
        Member::plain("Body", Type::Blob(&FREE)),
        Member::new("ContentType", "Content-Type", "", TEXT).at(Location::Header),
    ],
);
static TEXT_PAYLOAD: StructSchema = payload("TextPayload", &[Member::plain("Body", TEXT)]);
static LEAF_PAYLOAD: StructSchema =
    payload("LeafPayload", &[Member::new("Leaf", "LeafConfiguration", "", Type::Struct(&LEAF))]);
static JSON_PAYLOAD: StructSchema = payload("JsonPayload", &[Member::plain("Body", Type::Document)]);

const fn rest(
    name: &'static str,
    method: &'static str,
    uri: &'static str,
    input: &'static StructSchema,
    output: &'static StructSchema,
) -> OperationSchema {
    OperationSchema {
        name,
        method,
        uri,
        status: 201,
        input,
        output,
        result_wrapper: None,
        input_root: Some(("BoundRequest", "http://things.example/doc/")),
        errors: ERRORS,
    }
}

pub static PUT_BOUND: OperationSchema =
    rest("PutBound", "PUT", "/v1/{Bucket}/{version}/keys/{Key+}?list-type=2", &BOUND, &BOUND_OUT);
pub static PUT_BLOB: OperationSchema = rest("PutBlob", "PUT", "/blob", &BLOB_PAYLOAD, &BLOB_PAYLOAD);
pub static PUT_TEXT: OperationSchema = rest("PutText", "PUT", "/text", &TEXT_PAYLOAD, &TEXT_PAYLOAD);
pub static PUT_LEAF: OperationSchema = rest("PutLeaf", "PUT", "/leaf", &LEAF_PAYLOAD, &LEAF_PAYLOAD);
pub static PUT_JSON: OperationSchema = rest("PutJson", "PUT", "/json", &JSON_PAYLOAD, &JSON_PAYLOAD);
pub static HEAD_BOUND: OperationSchema = rest("HeadBound", "HEAD", "/blob", &NOTHING, &NOTHING);
