//! What travels between clients and the cloud: schemas, values, and codecs for each of AWS's protocols, both ways.
//!
//! Invariant: pure. Nothing here does I/O, knows a service, or reads a clock; cost is shapes plus codecs, not shapes
//! times codecs, because every codec walks static schemas.

pub mod chunked;
pub mod codec;
pub mod convert;
pub mod form;
pub mod route;
pub mod schema;
pub mod sigv4;
pub mod value;

pub use convert::{Blob, Decode, Encode, FromValue, IntoValue, Operation};
pub use route::{Misrouted, Route, route};
pub use schema::{
    ErrorSchema, Limits, ListSchema, Location, MapSchema, Member, OperationSchema, Protocol, ServiceSchema,
    StructSchema, TimeFormat, Type,
};
pub use value::{Struct, Value};
