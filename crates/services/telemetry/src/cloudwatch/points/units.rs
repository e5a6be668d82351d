//! Units, which points of one metric do not mix.

/// A unit: its place in the list, which is also how it is stored. New ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit(pub(super) u8);

const NAMES: [&str; 27] = [
    "None",
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
];

impl Unit {
    /// The unit of points that came without one.
    pub const NONE: Unit = Unit(0);

    pub fn named(name: &str) -> Option<Unit> {
        NAMES.iter().position(|known| *known == name).map(|at| Unit(at as u8))
    }

    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// The unit that is stored as this byte.
    pub(super) fn stored(byte: u8) -> Option<Unit> {
        (usize::from(byte) < NAMES.len()).then_some(Unit(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use standfast_api::cloudwatch::MODEL;
    use standfast_wire::Type;

    #[test]
    fn the_list_is_the_models() {
        let put = MODEL.operation("GetMetricStatistics").expect("in the model");
        let unit = put.input.members.iter().find(|member| member.name == "Unit").expect("in the model");
        let Type::String(limits) = &unit.ty else { panic!("a unit is a string") };
        let (mut model, mut ours) = (limits.values.to_vec(), NAMES.to_vec());
        model.sort_unstable();
        ours.sort_unstable();
        assert_eq!(model, ours);
        assert!(NAMES.iter().all(|name| Unit::named(name).is_some_and(|unit| unit.name() == *name)));
    }
}
