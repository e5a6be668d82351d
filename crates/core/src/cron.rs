//! Schedules: which minute is the next one that a cron expression names.
//!
//! Two dialects: the five fields of unix, and EventBridge's six. Invariant: a minute that the clocks skip is left out, and
//! one that they show twice counts once, the first time. It is not a timer.

use std::collections::BTreeSet;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Weekday};
pub use jiff::tz::TimeZone;

use crate::clock::Timestamp;

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
/// The years that a schedule may be in: those of EventBridge.
const YEARS: (i16, i16) = (1970, 2199);
const EXPRESSION_MAX: usize = 256;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: BTreeSet<i16>,
    hours: BTreeSet<i16>,
    months: BTreeSet<i16>,
    years: BTreeSet<i16>,
    days: Days,
    weekdays: Weekdays,
    /// Whether a day has to fit both fields, or one of them.
    both: bool,
}

/// Days of a month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Days {
    plain: BTreeSet<i16>,
    /// `L`: the last one.
    last: bool,
    /// `LW`: the last one that is a working day.
    last_working: bool,
    /// `15W`: the working day of the month that is nearest.
    nearest_working: BTreeSet<i16>,
}

/// Days of the week, from Sunday, which is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Weekdays {
    plain: BTreeSet<i16>,
    /// `5L`: the last one of the month.
    last: BTreeSet<i16>,
    /// `5#2`: the second one of the month.
    nth: BTreeSet<(i16, i16)>,
}

impl Cron {
    /// Reads `minute hour day-of-month month day-of-week`, where 0 and 7 are Sunday. When both days are restricted one that
    /// fits either will do, as crontab(5) says.
    pub fn unix(text: &str) -> Result<Self, String> {
        let [minutes, hours, days, months, weekdays] = fields(text)?;
        let named = Field { name: "day-of-week", low: 0, high: 7, names: &WEEKDAYS, first: 0 };
        Ok(Self {
            minutes: MINUTES.plain(minutes)?,
            hours: HOURS.plain(hours)?,
            months: MONTH.plain(months)?,
            years: (YEARS.0..=YEARS.1).collect(),
            both: days.starts_with('*') || weekdays.starts_with('*'),
            days: Days { plain: DAY.plain(days)?, ..Days::default() },
            weekdays: Weekdays {
                plain: named.plain(weekdays)?.into_iter().map(|day| day % 7).collect(),
                ..Weekdays::default()
            },
        })
    }

    /// Reads the inside of EventBridge's `cron(minutes hours day-of-month month day-of-week year)`, where 1 is Sunday.
    pub fn eventbridge(text: &str) -> Result<Self, String> {
        let [minutes, hours, days, months, weekdays, years] = fields(text)?;
        if (days == "?") == (weekdays == "?") {
            return Err("one of day-of-month and day-of-week must be ?, and only one".into());
        }
        Ok(Self {
            minutes: MINUTES.plain(minutes)?,
            hours: HOURS.plain(hours)?,
            months: MONTH.plain(months)?,
            years: YEAR.plain(years)?,
            both: true,
            days: Days::eventbridge(days)?,
            weekdays: Weekdays::eventbridge(weekdays)?,
        })
    }

    /// The first minute after `time` that fits, by the clocks of a zone. None when there is none until 2199.
    pub fn next_after(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = jiff::Timestamp::from_millisecond(time.0).ok()?.to_zoned(zone.clone()).datetime();
        let minute = DateTime::from_parts(local.date(), jiff::civil::time(local.hour(), local.minute(), 0, 0));
        let mut from = minute.checked_add(1.minute()).ok()?;
        loop {
            let next = self.civil_from(from)?;
            let at = zone.to_ambiguous_timestamp(next);
            if !matches!(at.offset(), jiff::tz::AmbiguousOffset::Gap { .. })
                && let Ok(at) = at.earlier()
                && at.as_millisecond() > time.0
            {
                return Some(Timestamp(at.as_millisecond()));
            }
            from = next.checked_add(1.minute()).ok()?;
        }
    }

    /// The first civil minute that fits, this one or a later one.
    fn civil_from(&self, from: DateTime) -> Option<DateTime> {
        let mut date = self.date_from(from.date())?;
        if date == from.date() {
            if let Some(time) = self.time_from(from.hour().into(), from.minute().into()) {
                return Some(date.at(time.0, time.1, 0, 0));
            }
            date = self.date_from(date.tomorrow().ok()?)?;
        }
        let (hour, minute) = self.time_from(0, 0)?;
        Some(date.at(hour, minute, 0, 0))
    }

    fn time_from(&self, hour: i16, minute: i16) -> Option<(i8, i8)> {
        let later = |at: i16| self.minutes.range(at..).next().copied();
        let found = match (self.hours.contains(&hour), later(minute)) {
            (true, Some(minute)) => (hour, minute),
            _ => (self.hours.range(hour + 1..).next().copied()?, later(0)?),
        };
        Some((found.0 as i8, found.1 as i8))
    }

    fn date_from(&self, from: Date) -> Option<Date> {
        for &year in self.years.range(from.year()..) {
            for &month in &self.months {
                let first = Date::new(year, month as i8, 1).ok()?;
                if first.last_of_month() < from {
                    continue;
                }
                let start = if first < from { from.day() } else { 1 };
                let mut days = (start..=first.days_in_month()).filter_map(|day| Date::new(year, month as i8, day).ok());
                if let Some(day) = days.find(|day| self.is_day(*day)) {
                    return Some(day);
                }
            }
        }
        None
    }

    fn is_day(&self, date: Date) -> bool {
        let (day, weekday) = (self.days.fit(date), self.weekdays.fit(date));
        if self.both { day && weekday } else { day || weekday }
    }
}

impl Days {
    fn eventbridge(text: &str) -> Result<Self, String> {
        let mut all = Self::default();
        for part in text.split(',') {
            match part {
                "?" => all.plain.extend(DAY.low..=DAY.high),
                "L" => all.last = true,
                "LW" => all.last_working = true,
                _ => match part.strip_suffix('W') {
                    Some(day) => drop(all.nearest_working.insert(DAY.number(day)?)),
                    None => all.plain.extend(DAY.part(part)?),
                },
            }
        }
        Ok(all)
    }

    fn fit(&self, date: Date) -> bool {
        let last = date.last_of_month();
        self.plain.contains(&date.day().into())
            || (self.last && date == last)
            || (self.last_working && nearest_working(last) == date)
            || self.nearest_working.iter().any(|day| {
                Date::new(date.year(), date.month(), *day as i8).is_ok_and(|day| nearest_working(day) == date)
            })
    }
}

/// The working day nearest to a day, in the same month.
fn nearest_working(day: Date) -> Date {
    let by: i64 = match day.weekday() {
        Weekday::Saturday => {
            if day.day() == 1 {
                2
            } else {
                -1
            }
        }
        Weekday::Sunday => {
            if day == day.last_of_month() {
                -2
            } else {
                1
            }
        }
        _ => 0,
    };
    day.saturating_add(by.days())
}

impl Weekdays {
    fn eventbridge(text: &str) -> Result<Self, String> {
        const DAY_OF_WEEK: Field = Field { name: "day-of-week", low: 1, high: 7, names: &WEEKDAYS, first: 1 };
        let mut all = Self::default();
        for part in text.split(',') {
            if part == "?" {
                all.plain.extend(0..7);
            } else if part == "L" {
                all.plain.insert(6);
            } else if let Some(day) = part.strip_suffix('L') {
                all.last.insert(DAY_OF_WEEK.number(day)? - 1);
            } else if let Some((day, nth)) = part.split_once('#') {
                let nth = Field { name: "day-of-week", low: 1, high: 5, names: &[], first: 1 }.number(nth)?;
                all.nth.insert((DAY_OF_WEEK.number(day)? - 1, nth));
            } else {
                all.plain.extend(DAY_OF_WEEK.part(part)?.into_iter().map(|day| day - 1));
            }
        }
        Ok(all)
    }

    fn fit(&self, date: Date) -> bool {
        let day = i16::from(date.weekday().to_sunday_zero_offset());
        let nth = (i16::from(date.day()) - 1) / 7 + 1;
        self.plain.contains(&day)
            || self.nth.contains(&(day, nth))
            || (self.last.contains(&day) && date.day() + 7 > date.days_in_month())
    }
}

/// What a field may hold.
struct Field {
    name: &'static str,
    low: i16,
    high: i16,
    names: &'static [&'static str],
    /// The number of the first name.
    first: i16,
}

const MINUTES: Field = Field { name: "minutes", low: 0, high: 59, names: &[], first: 0 };
const HOURS: Field = Field { name: "hours", low: 0, high: 23, names: &[], first: 0 };
const DAY: Field = Field { name: "day-of-month", low: 1, high: 31, names: &[], first: 0 };
const MONTH: Field = Field { name: "month", low: 1, high: 12, names: &MONTHS, first: 1 };
const YEAR: Field = Field { name: "year", low: YEARS.0, high: YEARS.1, names: &[], first: 0 };

impl Field {
    /// A list of numbers, ranges and steps.
    fn plain(&self, text: &str) -> Result<BTreeSet<i16>, String> {
        let mut all = BTreeSet::new();
        for part in text.split(',') {
            all.extend(self.part(part)?);
        }
        Ok(all)
    }

    /// `*`, `5`, `1-5`, and each of them with a step: `*/2`, `5/10` (to the end), `1-9/3`.
    fn part(&self, text: &str) -> Result<Vec<i16>, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (self.low, self.high),
            (_, Some((from, to))) => (self.number(from)?, self.number(to)?),
            (one, None) => (self.number(one)?, if step.is_some() { self.high } else { self.number(one)? }),
        };
        let step = step.map_or(Ok(1), |step| step.parse::<usize>().map_err(|_| self.wrong(text)))?;
        if step == 0 || from > to {
            return Err(self.wrong(text));
        }
        Ok((from..=to).step_by(step).collect())
    }

    fn number(&self, text: &str) -> Result<i16, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let digits = || text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let number = named.map(|at| at as i16 + self.first).or_else(digits);
        number.filter(|number| (self.low..=self.high).contains(number)).ok_or_else(|| self.wrong(text))
    }

    fn wrong(&self, text: &str) -> String {
        format!("'{text}' is not a value of {}, which goes from {} to {}", self.name, self.low, self.high)
    }
}

fn fields<const N: usize>(text: &str) -> Result<[&str; N], String> {
    if text.len() > EXPRESSION_MAX {
        return Err(format!("it is longer than {EXPRESSION_MAX} characters"));
    }
    let all: Vec<&str> = text.split_ascii_whitespace().collect();
    let count = all.len();
    all.try_into().map_err(|_| format!("it has {count} fields and not {N}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    /// The next times as text, in a zone.
    fn next(cron: &Cron, after: &str, zone: &TimeZone, count: usize) -> Vec<String> {
        let mut time = at(after);
        let mut all = Vec::new();
        while all.len() < count {
            let Some(next) = cron.next_after(time, zone) else { break };
            all.push(next.iso8601_seconds());
            time = next;
        }
        all
    }

    #[test]
    fn expressions_name_minutes() {
        let unix = |text: &str| Cron::unix(text).expect(text);
        let bridge = |text: &str| Cron::eventbridge(text).expect(text);
        for (cron, expected) in [
            (unix("30 9 * * 1-5"), "2026-11-20T09:30:00Z 2026-11-23T09:30:00Z"),
            (unix("*/20 * * * *"), "2026-11-20T00:20:00Z 2026-11-20T00:40:00Z"),
            (unix("0 0 13 * FRI"), "2026-11-27T00:00:00Z 2026-12-04T00:00:00Z"),
            (unix("0 0 1 jan 7"), "2027-01-01T00:00:00Z 2027-01-03T00:00:00Z"),
            (unix("0 0 29 2 *"), "2028-02-29T00:00:00Z 2032-02-29T00:00:00Z"),
            (unix("5 0-23/12 31 * *"), "2026-12-31T00:05:00Z 2026-12-31T12:05:00Z"),
            (bridge("0 10 * * ? *"), "2026-11-20T10:00:00Z 2026-11-21T10:00:00Z"),
            (bridge("0 18 ? * MON-FRI *"), "2026-11-20T18:00:00Z 2026-11-23T18:00:00Z"),
            (bridge("0 8 1 * ? *"), "2026-12-01T08:00:00Z 2027-01-01T08:00:00Z"),
            (bridge("0/10 * ? * 7 2026"), "2026-11-21T00:00:00Z 2026-11-21T00:10:00Z"),
            (bridge("0 0 L * ? *"), "2026-11-30T00:00:00Z 2026-12-31T00:00:00Z"),
            (bridge("0 0 LW 1 ? *"), "2027-01-29T00:00:00Z 2028-01-31T00:00:00Z"),
            (bridge("0 0 1W 5,8 ? *"), "2027-05-03T00:00:00Z 2027-08-02T00:00:00Z"),
            (bridge("0 0 ? * 6#3 *"), "2026-12-18T00:00:00Z 2027-01-15T00:00:00Z"),
            (bridge("0 0 ? * 2L *"), "2026-11-30T00:00:00Z 2026-12-28T00:00:00Z"),
            (bridge("0 0 ? 2 5#5 *"), "2052-02-29T00:00:00Z 2080-02-29T00:00:00Z"),
        ] {
            assert_eq!(next(&cron, "2026-11-20T00:00:00Z", &TimeZone::UTC, 2).join(" "), expected, "{cron:?}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *"] {
            assert!(Cron::unix(text).is_err(), "{text}");
        }
        for text in ["*/0 * * * *", "+5 * * * *", "? * * * *", "a * * * *", "1, * * * *", "1/2/3 * * * *", "* * L * *"]
        {
            assert!(Cron::unix(text).is_err(), "{text}");
        }
        for text in ["0 0 * * * *", "0 0 ? * ? *", "0 0 1 * ?", "0 0 ? * 0 *", "0 0 ? * 1#6 *", "0 0 ? * 1 1969"] {
            assert!(Cron::eventbridge(text).is_err(), "{text}");
        }
    }

    #[test]
    fn some_never_come() {
        assert_eq!(
            Cron::unix("0 0 31 2 *").expect("valid").next_after(at("2026-01-01T00:00:00Z"), &TimeZone::UTC),
            None
        );
        let past = Cron::eventbridge("0 0 1 1 ? 2020").expect("valid");
        assert_eq!(past.next_after(at("2026-01-01T00:00:00Z"), &TimeZone::UTC), None);
    }

    #[test]
    fn clocks_that_jump_skip_and_do_not_repeat() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a rule");
        let cron = Cron::unix("30 2 * * *").expect("valid");
        // 29 March 2026 has no 02:30 there; 25 October has it twice.
        assert_eq!(next(&cron, "2026-03-27T12:00:00Z", &zone, 2), ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"]);
        assert_eq!(next(&cron, "2026-10-24T12:00:00Z", &zone, 2), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn zones_have_names() {
        let zone = TimeZone::get("Europe/Dublin").expect("bundled");
        let cron = Cron::unix("0 9 * * *").expect("valid");
        assert_eq!(next(&cron, "2026-07-01T00:00:00Z", &zone, 1), ["2026-07-01T08:00:00Z"]);
    }

    /// Whether a minute fits, said without any search: its civil time is the expression's, and no earlier one shows the
    /// same.
    fn fits(cron: &Cron, time: Timestamp, zone: &TimeZone) -> bool {
        let instant = jiff::Timestamp::from_millisecond(time.0).expect("in range");
        let civil = instant.to_zoned(zone.clone()).datetime();
        cron.minutes.contains(&civil.minute().into())
            && cron.hours.contains(&civil.hour().into())
            && cron.months.contains(&civil.month().into())
            && cron.years.contains(&civil.year())
            && cron.is_day(civil.date())
            && zone.to_ambiguous_timestamp(civil).earlier().is_ok_and(|first| first == instant)
    }

    #[test]
    fn the_search_finds_what_trying_every_minute_finds() {
        const MINUTE: i64 = 60_000;
        let rng = Rng::seeded(20_261_121);
        let zones = [TimeZone::UTC, TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a rule")];
        let pick = |choices: &[&str]| choices[rng.below(choices.len())].to_owned();
        for _ in 0..200 {
            let minute = pick(&["*", "0", "30", "*/17", "5-50/15", "59"]);
            let hour = pick(&["*", "2", "1-3", "*/5", "23"]);
            let day = pick(&["*", "1", "29-31", "*/7", "15"]);
            let weekday = pick(&["*", "0", "1-5", "SAT,SUN"]);
            let cron = Cron::unix(&format!("{minute} {hour} {day} * {weekday}")).expect("valid");
            let zone = &zones[rng.below(zones.len())];
            // Around the two days on which the clocks change.
            let month = ["2026-03-27T00:00:30Z", "2026-10-23T22:59:00Z"][rng.below(2)];
            let start = Timestamp(at(month).0 + rng.below(3 * 1440) as i64 * MINUTE);
            let first = (start.0.div_euclid(MINUTE) + 1) * MINUTE;
            let tried = (0..5 * 1440).map(|i| Timestamp(first + i * MINUTE)).find(|time| fits(&cron, *time, zone));
            let found = cron.next_after(start, zone);
            match tried {
                Some(tried) => assert_eq!(found, Some(tried), "{cron:?} after {start}"),
                None => {
                    assert!(found.is_none_or(|found| found.0 >= first + 5 * 1440 * MINUTE), "{cron:?} after {start}")
                }
            }
        }
    }
}
