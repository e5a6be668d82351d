//! A service is a table: which operation is handled by which function, and which controllers it runs.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use standfast_core::{BoxFuture, Result, Scope};
use standfast_wire::{Operation, OperationSchema, ServiceSchema, Struct, convert};

use crate::cloud::Cloud;
use crate::controller::{Controller, On, Wake};
use crate::cx::{Cx, Principal};

/// What a service offers.
pub struct Service {
    pub model: &'static ServiceSchema,
    pub(crate) bound: Vec<Bound>,
    pub(crate) controllers: Vec<Controller>,
    pub(crate) credentials: Option<CredentialSource>,
    pub(crate) authorizer: Option<Authorizer>,
}

/// An access key that the identity service knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    pub account: String,
    pub secret: String,
    /// The ARN of the user or the assumed role.
    pub arn: String,
    /// The unique id of the user or role, for GetCallerIdentity.
    pub user_id: String,
    /// The session token that must come with it, for temporary credentials.
    pub session_token: Option<String>,
}

/// Finds an access key. An error refuses the request (an expired or inactive key).
pub type CredentialSource = fn(&Cloud, &str) -> Result<Option<KnownKey>>;

/// Refuses a caller's action (`ec2:RunInstances`) that its policies do not allow.
pub type Authorizer = fn(&Cloud, &Scope, &Principal, &str) -> Result<()>;

pub(crate) struct Bound {
    pub schema: &'static OperationSchema,
    pub marker: TypeId,
    /// A `TypedHandler<O>`.
    pub typed: Arc<dyn Any + Send + Sync>,
    pub dynamic: DynamicHandler,
}

pub(crate) type DynamicHandler = Arc<dyn Fn(Cx, Struct) -> BoxFuture<'static, Result<Struct>> + Send + Sync>;
pub(crate) type TypedHandler<O> =
    Box<dyn Fn(Cx, <O as Operation>::Input) -> BoxFuture<'static, Result<<O as Operation>::Output>> + Send + Sync>;

impl Service {
    pub fn new(model: &'static ServiceSchema) -> Self {
        Self { model, bound: Vec::new(), controllers: Vec::new(), credentials: None, authorizer: None }
    }

    /// Binds an operation to its handler.
    ///
    /// # Panics
    /// When the operation is of another service or bound twice: a mistake in the table, found at start.
    pub fn op<O, F, Fut>(mut self, _: O, handler: F) -> Self
    where
        O: Operation,
        F: Fn(Cx, O::Input) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Result<O::Output>> + Send + 'static,
    {
        assert!(std::ptr::eq(O::SERVICE, self.model), "{} is not an operation of {}", O::SCHEMA.name, self.model.name);
        assert!(
            self.bound.iter().all(|bound| bound.schema.name != O::SCHEMA.name),
            "{} is bound twice in {}",
            O::SCHEMA.name,
            self.model.name
        );
        let typed: TypedHandler<O> = Box::new(move |cx, input| Box::pin(handler(cx, input)));
        let dynamic: DynamicHandler = Arc::new(move |cx, input| {
            let input = convert::decode(input);
            Box::pin(async move { handler(cx, input).await.map(convert::encode) })
        });
        self.bound.push(Bound { schema: O::SCHEMA, marker: TypeId::of::<O>(), typed: Arc::new(typed), dynamic });
        self
    }

    /// Adds a controller, which runs at start, when one of `on` happens, and at the time its last run asked for.
    pub fn controller<F, Fut>(mut self, name: &'static str, on: On, run: F) -> Self
    where
        F: Fn(Cx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Wake>> + Send + 'static,
    {
        let run = Arc::new(move |cx| Box::pin(run(cx)) as BoxFuture<'static, Result<Wake>>);
        self.controllers.push(Controller { service: self.model.name, name, on, run });
        self
    }

    /// The names of the operations that have a handler, sorted.
    pub fn bound_operations(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.bound.iter().map(|bound| bound.schema.name).collect();
        names.sort_unstable();
        names
    }

    /// Names the function that knows access keys (the identity service).
    pub fn credentials(mut self, source: CredentialSource) -> Self {
        self.credentials = Some(source);
        self
    }

    /// Names the function that evaluates policies (the identity service).
    pub fn authorizer(mut self, authorizer: Authorizer) -> Self {
        self.authorizer = Some(authorizer);
        self
    }
}

/// All services of a cloud, indexed.
pub(crate) struct Registry {
    pub models: Vec<&'static ServiceSchema>,
    pub typed: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    pub dynamic: HashMap<(&'static str, &'static str), DynamicHandler>,
    pub credentials: Option<CredentialSource>,
    pub authorizer: Option<Authorizer>,
}

impl Registry {
    /// Indexes the services; gives back their controllers.
    pub fn new(services: Vec<Service>) -> (Self, Vec<Controller>) {
        let mut registry = Self {
            models: Vec::new(),
            typed: HashMap::new(),
            dynamic: HashMap::new(),
            credentials: None,
            authorizer: None,
        };
        let mut controllers = Vec::new();
        for service in services {
            registry.models.push(service.model);
            for bound in service.bound {
                registry.typed.insert(bound.marker, bound.typed);
                registry.dynamic.insert((service.model.name, bound.schema.name), bound.dynamic);
            }
            registry.credentials = registry.credentials.or(service.credentials);
            registry.authorizer = registry.authorizer.or(service.authorizer);
            controllers.extend(service.controllers);
        }
        (registry, controllers)
    }
}
