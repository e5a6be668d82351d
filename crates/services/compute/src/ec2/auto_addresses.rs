//! Public addresses that instances get because of how their subnet or their launch is.
//!
//! Invariant: an instance has one only between its start and its stop, only where hosts have networks (elsewhere it is
//! reached where its host says), and none while an Elastic IP address is in its place.

use standfast_core::{Result, Rng, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_store::Txn;

use super::model::{Instance, NetworkInterface, PublicAddress};
use super::public_addresses;

/// Whether and by what chance addresses are given. Made before a transaction, which may run twice.
#[derive(Clone, Copy, Debug)]
pub struct Giver {
    networks: bool,
    seed: u64,
    now: Timestamp,
}

impl Giver {
    pub fn new(cx: &Cx) -> Self {
        Self { networks: cx.host().abilities().networks, seed: cx.rng().u64(), now: cx.now() }
    }

    /// The source of chance of one run of the transaction.
    pub fn rng(&self) -> Rng {
        Rng::seeded(self.seed)
    }

    /// Gives an instance that starts its address, if it should have one.
    pub fn give(&self, tx: &mut Txn, scope: &Scope, instance: &Instance, rng: &Rng) -> Result<()> {
        let Some(id) = instance.interfaces.first().filter(|_| self.networks && instance.public) else { return Ok(()) };
        let Some(interface) = tx.get::<NetworkInterface>(scope, id) else { return Ok(()) };
        if interface.addresses[0].public.is_some() {
            return Ok(());
        }
        let mut interface = (*interface).clone();
        let address = public_addresses::take(tx, rng, self.now)?;
        interface.addresses[0].public = Some(PublicAddress { address, allocation: None, association: None });
        tx.put(scope, id, interface);
        Ok(())
    }

    /// Gives the instance that had this interface another address, after an Elastic IP address was taken from it. One
    /// with several interfaces gets none.
    pub fn give_again(&self, tx: &mut Txn, scope: &Scope, interface: &NetworkInterface) -> Result<()> {
        let holder = interface.attachment.as_ref().and_then(|at| tx.get::<Instance>(scope, &at.instance));
        match holder.filter(|instance| instance.state.has_power() && instance.interfaces.len() == 1) {
            Some(instance) => self.give(tx, scope, &instance, &self.rng()),
            None => Ok(()),
        }
    }
}

/// Takes back the address of an instance that stops. An Elastic IP address stays.
pub fn take_back(tx: &mut Txn, scope: &Scope, instance: &Instance) {
    let Some(id) = instance.interfaces.first() else { return };
    let Some(interface) = tx.get::<NetworkInterface>(scope, id) else { return };
    let Some(PublicAddress { address, allocation: None, .. }) = interface.addresses[0].public else { return };
    let mut interface = (*interface).clone();
    interface.addresses[0].public = None;
    public_addresses::release(tx, address);
    tx.put(scope, id, interface);
}
