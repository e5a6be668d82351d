//! The time of day, which is what this application is for.

/// Now, in seconds since 1970.
pub fn now() -> u64 {
    #[allow(clippy::disallowed_methods)] // A program inside an instance: its time is the machine's.
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `2026-11-20` and `22:41:05`, in UTC.
pub fn civil(seconds: u64) -> (String, String) {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Counting years from March puts the leap day at the end of them, and months then have a regular length.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let date = format!("{year:04}-{month:02}-{day:02}");
    (date, format!("{:02}:{:02}:{:02}", rest / 3_600, rest / 60 % 60, rest % 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days() {
        for (seconds, date, time) in [
            (0, "1970-01-01", "00:00:00"),
            (951_782_399, "2000-02-28", "23:59:59"),
            (951_782_400, "2000-02-29", "00:00:00"),
            (1_709_251_200, "2024-03-01", "00:00:00"),
            (1_795_214_465, "2026-11-20", "22:41:05"),
            (4_107_542_400, "2100-03-01", "00:00:00"),
        ] {
            assert_eq!(civil(seconds), (date.to_string(), time.to_string()), "{seconds}");
        }
    }
}
