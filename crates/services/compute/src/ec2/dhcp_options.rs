//! DHCP options. Options that a VPC uses cannot be deleted.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Result, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{DhcpOptions, Vpc};
use super::{defaults, tags};

const KEYS: &[&str] = &[
    "domain-name-servers",
    "domain-name",
    "ntp-servers",
    "netbios-name-servers",
    "netbios-node-type",
    "ipv6-address-preferred-lease-time",
];

pub async fn create(cx: Cx, input: api::CreateDhcpOptionsInput) -> Result<api::CreateDhcpOptionsOutput> {
    let mut options = Vec::new();
    for given in &input.dhcp_configurations {
        let key = errors::required(given.key.clone(), "dhcpConfiguration.key")?;
        if !KEYS.contains(&key.as_str()) {
            return Err(errors::invalid(format!("Value ({key}) for parameter value is invalid. Unknown DHCP option")));
        }
        options.push((key, given.values.clone().unwrap_or_default()));
    }
    if options.is_empty() {
        return Err(errors::missing("dhcpConfiguration"));
    }
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "dhcp-options", &[])?;
    errors::dry_run(input.dry_run)?;
    let (scope, id) = (cx.scope(), Id::<id::DhcpOptions>::new(cx.rng()));
    let made = cx
        .txn(|tx| {
            let record = DhcpOptions { options: options.clone() };
            tx.put(scope, &id, record.clone());
            tags::put(tx, scope, &id, &given);
            Ok(shape(tx, scope, &id, &record))
        })
        .await?;
    Ok(api::CreateDhcpOptionsOutput { dhcp_options: Some(made) })
}

pub async fn associate(cx: Cx, input: api::AssociateDhcpOptionsInput) -> Result<api::AssociateDhcpOptionsOutput> {
    let (scope, vpc_id) = (cx.scope(), errors::id::<id::Vpc>(&input.vpc_id)?);
    let options = match input.dhcp_options_id.as_str() {
        "default" => None,
        text => Some(errors::id::<id::DhcpOptions>(text)?),
    };
    cx.txn(|tx| {
        let vpc = find::<Vpc>(tx, scope, &vpc_id)?;
        if let Some(options) = &options {
            find::<DhcpOptions>(tx, scope, options)?;
        }
        errors::dry_run(input.dry_run)?;
        tx.put(scope, &vpc_id, Vpc { dhcp_options: options.clone(), ..(*vpc).clone() });
        Ok(())
    })
    .await?;
    Ok(api::AssociateDhcpOptionsOutput {})
}

pub async fn delete(cx: Cx, input: api::DeleteDhcpOptionsInput) -> Result<api::DeleteDhcpOptionsOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::DhcpOptions>(&input.dhcp_options_id)?);
    cx.txn(|tx| {
        find::<DhcpOptions>(tx, scope, &id)?;
        if !tx.by_index::<Vpc>(scope, "dhcp", &id).is_empty() {
            let message = format!("The dhcpOptions '{id}' has dependencies and cannot be deleted.");
            return Err(errors::dependency(message));
        }
        errors::dry_run(input.dry_run)?;
        tx.delete::<DhcpOptions>(scope, &id);
        tags::forget(tx, scope, &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteDhcpOptionsOutput {})
}

pub async fn describe(cx: Cx, input: api::DescribeDhcpOptionsInput) -> Result<api::DescribeDhcpOptionsOutput> {
    defaults::ready(&cx).await?;
    cx.view(|view| {
        let rows = errors::select::<DhcpOptions>(view, cx.scope(), input.dhcp_options_ids.as_ref())?;
        let rows = rows.iter().map(|(id, options)| shape(view, cx.scope(), id, options));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (options, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeDhcpOptionsOutput { dhcp_options: Some(options), next_token })
    })
}

fn shape(view: &View, scope: &Scope, id: &str, options: &DhcpOptions) -> api::DhcpOptions {
    let value = |value: &String| api::AttributeValue { value: Some(value.clone()) };
    let configuration = |(key, values): &(String, Vec<String>)| api::DhcpConfiguration {
        key: Some(key.clone()),
        values: Some(values.iter().map(value).collect()),
    };
    api::DhcpOptions {
        owner_id: Some(scope.account.to_string()),
        tags: tags::of(view, scope, id),
        dhcp_options_id: Some(id.to_owned()),
        dhcp_configurations: Some(options.options.iter().map(configuration).collect()),
    }
}

impl Described for api::DhcpOptions {
    const FIELDS: &'static [Field<Self>] = &[
        ("dhcp-options-id", |options| filters::one(&options.dhcp_options_id)),
        ("key", |options| filters::each(&options.dhcp_configurations, |configuration| &configuration.key)),
        ("value", |options| {
            let all = options.dhcp_configurations.iter().flatten();
            all.flat_map(|configuration| filters::each(&configuration.values, |value| &value.value)).collect()
        }),
        ("owner-id", |options| filters::one(&options.owner_id)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.dhcp_options_id.clone().unwrap_or_default()
    }
}
