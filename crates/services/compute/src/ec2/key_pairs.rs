//! Key pairs: public keys by name.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors;
use super::filters::{self, Described, Field, Paging};
use super::model::{KeyPair, Tags};
use super::ssh_keys::{self, PublicKey};
use super::{rsa_keys, tags};

const NAME_LENGTH_MAX: usize = 255;
const BOUNDS: (i32, i32) = (1, 1000);

/// Writes a new key pair.
async fn put(cx: &Cx, name: &str, key: &PublicKey, given: &Tags, dry_run: Option<bool>) -> Result<Id<id::KeyPair>> {
    if name.is_empty() || name.chars().count() > NAME_LENGTH_MAX {
        return Err(errors::invalid(format!("A key pair's name has between 1 and {NAME_LENGTH_MAX} characters.")));
    }
    let (scope, id, now) = (cx.scope(), Id::<id::KeyPair>::new(cx.rng()), cx.now());
    cx.txn(|tx| {
        name_is_free(tx, scope, name)?;
        errors::dry_run(dry_run)?;
        let record = KeyPair {
            name: name.to_owned(),
            key_type: key.key_type.to_owned(),
            fingerprint: key.fingerprint.clone(),
            public_key: key.line.clone(),
            created: now,
        };
        tx.put(scope, &id, record);
        tags::put(tx, scope, &id, given);
        Ok(())
    })
    .await?;
    Ok(id)
}

fn name_is_free(view: &View, scope: &Scope, name: &str) -> Result<()> {
    if view.by_unique::<KeyPair>(scope, "name", name).is_some() {
        let message = format!("The keypair '{name}' already exists.");
        return Err(Error::client("InvalidKeyPair.Duplicate", message));
    }
    Ok(())
}

/// Makes an RSA key aside: the work would hold up everything else.
async fn make_rsa(cx: &Cx, name: &str) -> Result<(String, PublicKey)> {
    let (seed, comment) = (cx.rng().u64(), name.to_owned());
    let made = tokio::task::spawn_blocking(move || rsa_keys::make(seed, &comment)).await;
    made.map_err(|_| Error::internal("an RSA key could not be made"))?
}

fn make_ed25519(cx: &Cx, name: &str) -> (String, PublicKey) {
    let mut seed = [0; 32];
    for chunk in seed.chunks_mut(8) {
        chunk.copy_from_slice(&cx.rng().u64().to_le_bytes());
    }
    ssh_keys::make(seed, cx.rng().u64() as u32, name)
}

pub async fn import(cx: Cx, input: api::ImportKeyPairInput) -> Result<api::ImportKeyPairOutput> {
    let key = ssh_keys::read_material(&input.public_key_material.0)
        .ok_or_else(|| Error::client("InvalidKey.Format", "Key is not in valid OpenSSH public key format"))?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "key-pair", &[])?;
    let id = put(&cx, &input.key_name, &key, &given, input.dry_run).await?;
    Ok(api::ImportKeyPairOutput {
        key_fingerprint: Some(key.fingerprint),
        key_name: Some(input.key_name),
        key_pair_id: Some(id.into()),
        tags: Some(tags::shape(&given)),
    })
}

/// Makes a key pair and gives its private half, once.
pub async fn create(cx: Cx, input: api::CreateKeyPairInput) -> Result<api::CreateKeyPairOutput> {
    match input.key_format.as_deref() {
        None | Some("" | "pem") => {}
        // AWS-DIFF: no keys for PuTTY, whose tools can read PEM.
        Some("ppk") => {
            return Err(Error::client("UnsupportedOperation", "Keys are made in the format 'pem', not 'ppk'."));
        }
        Some(other) => return Err(errors::invalid_value("keyFormat", other)),
    }
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "key-pair", &[])?;
    // A name that is taken is refused before the work of making a key; `put` looks again.
    cx.view(|view| name_is_free(view, cx.scope(), &input.key_name))?;
    let (private, public) = match input.key_type.as_deref() {
        None | Some("" | "rsa") => make_rsa(&cx, &input.key_name).await?,
        Some("ed25519") => make_ed25519(&cx, &input.key_name),
        Some(other) => return Err(errors::invalid_value("keyType", other)),
    };
    let id = put(&cx, &input.key_name, &public, &given, input.dry_run).await?;
    Ok(api::CreateKeyPairOutput {
        key_pair_id: Some(id.into()),
        tags: Some(tags::shape(&given)),
        key_name: Some(input.key_name),
        key_fingerprint: Some(public.fingerprint),
        key_material: Some(private),
    })
}

/// Deletes by name or id. A name that nothing has is no error.
pub async fn delete(cx: Cx, input: api::DeleteKeyPairInput) -> Result<api::DeleteKeyPairOutput> {
    let scope = cx.scope();
    let id = cx
        .txn(|tx| {
            let id = match (input.key_pair_id.as_deref(), input.key_name.as_deref()) {
                (Some(text), _) => {
                    let id = errors::id::<id::KeyPair>(text)?;
                    errors::find::<KeyPair>(tx, scope, &id).map(|_| Some(text.to_owned()))?
                }
                (None, Some(name)) => tx.by_unique::<KeyPair>(scope, "name", name).map(|(id, _)| id.to_string()),
                (None, None) => return Err(errors::missing("KeyName")),
            };
            errors::dry_run(input.dry_run)?;
            if let Some(id) = &id {
                tx.delete::<KeyPair>(scope, id);
                tags::forget(tx, scope, id);
            }
            Ok(id)
        })
        .await?;
    Ok(api::DeleteKeyPairOutput { r#return: Some(true), key_pair_id: id })
}

pub async fn describe(cx: Cx, input: api::DescribeKeyPairsInput) -> Result<api::DescribeKeyPairsOutput> {
    cx.view(|view| {
        let scope = cx.scope();
        let mut ids = input.key_pair_ids.clone().unwrap_or_default();
        for name in input.key_names.iter().flatten() {
            let found = view.by_unique::<KeyPair>(scope, "name", name);
            let (id, _) = found.ok_or_else(|| errors::not_found::<id::KeyPair>(name))?;
            ids.push(id.to_string());
        }
        let rows = errors::select::<KeyPair>(view, scope, Some(&ids))?;
        let public = input.include_public_key == Some(true);
        let rows = rows.iter().map(|(id, key)| shape(view, scope, id, key, public));
        let paging = Paging { max: None, token: None, bounds: BOUNDS };
        let (keys, _) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeKeyPairsOutput { key_pairs: Some(keys) })
    })
}

fn shape(view: &View, scope: &Scope, id: &str, key: &KeyPair, public: bool) -> api::KeyPairInfo {
    api::KeyPairInfo {
        key_pair_id: Some(id.to_owned()),
        key_type: Some(key.key_type.clone()),
        tags: Some(tags::of(view, scope, id).unwrap_or_default()),
        public_key: public.then(|| key.public_key.clone()),
        create_time: Some(key.created),
        key_name: Some(key.name.clone()),
        key_fingerprint: Some(key.fingerprint.clone()),
    }
}

impl Described for api::KeyPairInfo {
    const FIELDS: &'static [Field<Self>] = &[
        ("key-pair-id", |key| filters::one(&key.key_pair_id)),
        ("fingerprint", |key| filters::one(&key.key_fingerprint)),
        ("key-name", |key| filters::one(&key.key_name)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.key_pair_id.clone().unwrap_or_default()
    }
}
