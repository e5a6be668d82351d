//! Static descriptions of services, operations and shapes. Generated into `standfast-api`; walked by the codecs.

/// A wire protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Query,
    Ec2,
    Json10,
    Json11,
    RestXml,
    RestJson,
    Cbor,
}

/// A service: its names and its operations.
#[derive(Debug)]
pub struct ServiceSchema {
    /// The name in this project and in botocore: `elbv2`.
    pub name: &'static str,
    /// The name in credential scopes, ARNs and IAM actions: `elasticloadbalancing`.
    pub signing_name: &'static str,
    pub api_version: &'static str,
    /// The protocols it is spoken to in; the first one is the default.
    pub protocols: &'static [Protocol],
    /// What stands before the dot in X-Amz-Target.
    pub target_prefix: Option<&'static str>,
    /// The service's name in rpc-v2-cbor paths: `/service/NAME/operation/OP`.
    pub cbor_name: &'static str,
    pub xml_namespace: &'static str,
    /// Whether it has no region (iam, sts, route53, cloudfront).
    pub global: bool,
    /// Sorted by name.
    pub operations: &'static [&'static OperationSchema],
}

impl ServiceSchema {
    pub fn operation(&self, name: &str) -> Option<&'static OperationSchema> {
        self.operations.binary_search_by(|op| op.name.cmp(name)).ok().map(|i| self.operations[i])
    }
}

#[derive(Debug)]
pub struct OperationSchema {
    pub name: &'static str,
    pub method: &'static str,
    /// A path with `{Label}` and `{Label+}` segments and, after `?`, constant query parameters.
    pub uri: &'static str,
    /// The HTTP status of success.
    pub status: u16,
    pub input: &'static StructSchema,
    pub output: &'static StructSchema,
    /// The element around a query protocol's output, for example `CreateStackResult`; the root element of a rest-xml
    /// answer where it is not called like the output.
    pub result_wrapper: Option<&'static str>,
    /// The root element and namespace of a rest-xml request's body, when the model names them.
    pub input_root: Option<(&'static str, &'static str)>,
    pub errors: &'static [&'static ErrorSchema],
}

/// An error that an operation is known to give.
#[derive(Debug)]
pub struct ErrorSchema {
    /// The shape's name (JSON protocols): `LoadBalancerNotFoundException`.
    pub shape: &'static str,
    /// The code in XML protocols, and in handlers: `LoadBalancerNotFound`.
    pub code: &'static str,
    pub status: u16,
}

pub struct StructSchema {
    pub name: &'static str,
    pub members: &'static [Member],
    /// The slot whose value is the whole HTTP body (rest protocols).
    pub payload: Option<usize>,
    /// Whether exactly one member is set.
    pub union: bool,
}

impl std::fmt::Debug for StructSchema {
    /// The name only: schemas refer to each other in cycles.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

#[derive(Debug)]
pub struct Member {
    /// The model's name: `LoadBalancerArn`. Validation messages use it with a lower first letter.
    pub name: &'static str,
    /// The name on the wire: `locationName` or the model's name; for a flattened list in XML, its items' own name where
    /// they have one. (Json 1.x and CBOR use the model's name.)
    pub wire: &'static str,
    /// The name in ec2 requests: `queryName`, or the wire name with an upper first letter.
    pub ec2: &'static str,
    pub location: Location,
    pub required: bool,
    pub ty: Type,
    /// Whether it is an attribute of the XML element.
    pub xml_attribute: bool,
    /// Whether a client makes up a value when none is given.
    pub idempotency_token: bool,
}

impl Member {
    /// A member in the body, not required, that has one name everywhere.
    pub const fn plain(name: &'static str, ty: Type) -> Self {
        Self::new(name, name, name, ty)
    }

    /// A member in the body, not required.
    pub const fn new(name: &'static str, wire: &'static str, ec2: &'static str, ty: Type) -> Self {
        let location = Location::Body;
        Self { name, wire, ec2, location, required: false, ty, xml_attribute: false, idempotency_token: false }
    }

    pub const fn at(mut self, location: Location) -> Self {
        self.location = location;
        self
    }

    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub const fn xml_attribute(mut self) -> Self {
        self.xml_attribute = true;
        self
    }

    pub const fn idempotency_token(mut self) -> Self {
        self.idempotency_token = true;
        self
    }
}

/// Where a member travels in rest protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    Body,
    Header,
    /// All headers with this prefix, a map.
    Headers,
    Uri,
    Query,
    Status,
}

#[derive(Clone, Copy, Debug)]
pub enum Type {
    Bool,
    /// 32 bits.
    Int(&'static Limits),
    Long(&'static Limits),
    Float(&'static Limits),
    Double(&'static Limits),
    String(&'static Limits),
    Blob(&'static Limits),
    /// `None` is the protocol's default for the place where it stands.
    Timestamp(Option<TimeFormat>),
    List(&'static ListSchema),
    Map(&'static MapSchema),
    Struct(&'static StructSchema),
    /// Any JSON.
    Document,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    Iso8601,
    Epoch,
    HttpDate,
}

/// Bounds of a value: of a number itself, of a text's or blob's length, of a list's or map's size.
#[derive(Debug)]
pub struct Limits {
    pub min: Option<i64>,
    pub max: Option<i64>,
    /// The enum's values; empty when it is not an enum.
    pub values: &'static [&'static str],
}

/// No bounds.
pub static FREE: Limits = Limits { min: None, max: None, values: &[] };

#[derive(Debug)]
pub struct ListSchema {
    pub item: Type,
    /// The name of an item: `member`, `item`, or the model's.
    pub wire: &'static str,
    pub flattened: bool,
    pub limits: &'static Limits,
}

#[derive(Debug)]
pub struct MapSchema {
    /// Keys are texts (sometimes enums).
    pub key: &'static Limits,
    pub value: Type,
    pub key_wire: &'static str,
    pub value_wire: &'static str,
    pub flattened: bool,
    pub limits: &'static Limits,
}
