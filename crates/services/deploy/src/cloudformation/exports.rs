//! Exports and who imports them.

use standfast_api::cloudformation as api;
use standfast_core::Result;
use standfast_core::page::page;
use standfast_kernel::Cx;

use super::errors::invalid;
use super::model::{Stack, Status};
use super::stacks;

const EXPORTS_PAGE: usize = 100;

pub async fn list(cx: Cx, input: api::ListExportsInput) -> Result<api::ListExportsOutput> {
    let all = cx.view(|view| view.list::<Stack>(cx.scope()));
    let mut exports = Vec::new();
    for (_, stack) in all.iter().filter(|(_, stack)| stack.status != Status::DeleteComplete) {
        for output in &stack.outputs {
            let Some(name) = output.export_name.clone() else { continue };
            exports.push(api::Export {
                exporting_stack_id: Some(stack.arn.clone()),
                name: Some(name),
                value: Some(output.value.clone()),
            });
        }
    }
    exports.sort_by(|a, b| a.name.cmp(&b.name));
    let key = |export: &api::Export| export.name.clone().unwrap_or_default();
    let page = page(exports, key, input.next_token.as_deref(), EXPORTS_PAGE, "ValidationError")?;
    Ok(api::ListExportsOutput { exports: Some(page.items), next_token: page.next })
}

pub async fn importers(cx: Cx, input: api::ListImportsInput) -> Result<api::ListImportsOutput> {
    let name = &input.export_name;
    let mut users = cx.view(|view| stacks::importers(view, cx.scope(), name));
    if users.is_empty() {
        return Err(invalid(format!("Export '{name}' is not imported by any stack.")));
    }
    users.sort();
    let page = page(users, String::clone, input.next_token.as_deref(), EXPORTS_PAGE, "ValidationError")?;
    Ok(api::ListImportsOutput { imports: Some(page.items), next_token: page.next })
}
