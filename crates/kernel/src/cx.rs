//! What a handler or a controller is given: who asks, where, and the means to act.

use std::sync::Arc;

use standfast_core::host::HostDriver;
use standfast_core::lb::LbDriver;
use standfast_core::{Clock, Error, Result, Rng, Scope, Timestamp};
use standfast_store::{Store, Txn, View};
use standfast_wire::Operation;

use crate::cloud::Cloud;
use crate::service::TypedHandler;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A caller whose key is not known to iam: the account's root, as the key id says.
    Root,
    /// A user or an assumed role known to iam.
    Known { arn: Arc<str>, user_id: Arc<str> },
    /// A service of this cloud, by its name: `autoscaling`.
    Service(&'static str),
}

/// An extension of requests that came from an instance, or may have.
#[derive(Clone, Copy, Debug)]
pub struct FromInstance;

/// The context of one request or one controller run. Cheap to clone.
#[derive(Clone)]
pub struct Cx {
    cloud: Cloud,
    scope: Scope,
    principal: Principal,
    /// The service whose handler or controller this context was made for.
    service: &'static str,
    request_id: Arc<str>,
    from_instance: bool,
}

impl Cx {
    pub(crate) fn new(cloud: Cloud, scope: Scope, principal: Principal, service: &'static str) -> Self {
        let request_id = cloud.rng().uuid().into();
        Self { cloud, scope, principal, service, request_id, from_instance: false }
    }

    pub(crate) fn asked_by(self, from_instance: Option<&FromInstance>) -> Self {
        Self { from_instance: from_instance.is_some(), ..self }
    }

    /// Whether an instance asks, or may: it is not to get at the machine through the API, whatever key it signs with.
    pub fn from_instance(&self) -> bool {
        self.from_instance
    }

    /// The caller's account and the request's region. Global services use `scope().global()`.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    pub fn account(&self) -> &str {
        &self.scope.account
    }

    pub fn region(&self) -> &str {
        &self.scope.region
    }

    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The id that the answer carries.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    pub fn clock(&self) -> &Clock {
        self.cloud.clock()
    }

    pub fn now(&self) -> Timestamp {
        self.cloud.clock().now()
    }

    pub fn rng(&self) -> &Rng {
        self.cloud.rng()
    }

    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    pub fn store(&self) -> &Store {
        self.cloud.store()
    }

    pub fn host(&self) -> &Arc<dyn HostDriver> {
        &self.cloud.planes().host
    }

    pub fn lb(&self) -> &Arc<dyn LbDriver> {
        &self.cloud.planes().lb
    }

    /// Runs a transaction; resolves when it is durable. The closure does no I/O and may run twice.
    pub async fn txn<T>(&self, f: impl Fn(&mut Txn) -> Result<T>) -> Result<T> {
        self.cloud.store().txn(f).await
    }

    /// Reads at one point in time.
    pub fn view<T>(&self, f: impl FnOnce(&View) -> T) -> T {
        self.cloud.store().view(f)
    }

    /// Calls an operation in this context's account and region, as this context's service.
    pub async fn call<O: Operation>(&self, _: O, input: O::Input) -> Result<O::Output> {
        let Some(handler) = self.cloud.registry().typed.get(&std::any::TypeId::of::<O>()) else {
            return Err(Error::internal(format!("{}:{} is not bound", O::SERVICE.name, O::SCHEMA.name)));
        };
        let handler = handler.downcast_ref::<TypedHandler<O>>().expect("keyed by the marker's own type");
        let cx = Self {
            cloud: self.cloud.clone(),
            scope: self.scope.clone(),
            principal: Principal::Service(self.service),
            service: O::SERVICE.name,
            request_id: self.request_id.clone(),
            from_instance: self.from_instance,
        };
        handler(cx, input).await
    }

    /// The same context in another account or region: controllers see all of them.
    pub fn at(&self, scope: &Scope) -> Self {
        Self { scope: scope.clone(), ..self.clone() }
    }
}
