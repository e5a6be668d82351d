//! GetScalingPlanResourceForecastData: what the plan's predictive policy foresees.

use standfast_api::autoscaling as asg;
use standfast_api::autoscaling_plans as api;
use standfast_core::{Fault, Result, Timestamp};
use standfast_kernel::Cx;

use super::{plans, policies, validation};

pub async fn get(
    cx: Cx,
    input: api::GetScalingPlanResourceForecastDataInput,
) -> Result<api::GetScalingPlanResourceForecastDataOutput> {
    let name = &input.scaling_plan_name;
    let plan = cx.view(|view| plans::named(view, &cx, name, input.scaling_plan_version))?;
    let own = plan.instructions.iter().map(|own| &own.0).find(|own| {
        own.service_namespace == input.service_namespace
            && own.resource_id == input.resource_id
            && own.scalable_dimension == input.scalable_dimension
    });
    let own =
        own.ok_or_else(|| validation(format!("The scaling plan {name} has no resource {}.", input.resource_id)))?;
    let group = policies::group(own).unwrap_or_default();
    let asked = asg::GetPredictiveScalingForecastInput {
        auto_scaling_group_name: group.to_owned(),
        policy_name: policies::predictive_name(name),
        start_time: input.start_time,
        end_time: input.end_time,
    };
    let found = match cx.call(asg::GetPredictiveScalingForecast, asked).await {
        Err(error) if error.fault == Fault::Client => return Err(validation(error.message)),
        other => other?,
    };
    let capacity = found.capacity_forecast;
    let (times, values) = match input.forecast_data_type.as_str() {
        "LoadForecast" => {
            found.load_forecast.into_iter().next().map(|load| (load.timestamps, load.values)).unwrap_or_default()
        }
        "ScheduledActionMaxCapacity" => {
            let values = capacity.values.iter().map(|value| value.max(f64::from(own.max_capacity)));
            (capacity.timestamps, values.collect())
        }
        "ScheduledActionMinCapacity" => {
            let values = capacity.values.iter().map(|value| value.max(f64::from(own.min_capacity)));
            (capacity.timestamps, values.collect())
        }
        _ => (capacity.timestamps, capacity.values),
    };
    let point = |(at, value): (Timestamp, f64)| api::Datapoint { timestamp: Some(at), value: Some(value) };
    Ok(api::GetScalingPlanResourceForecastDataOutput { datapoints: times.into_iter().zip(values).map(point).collect() })
}
