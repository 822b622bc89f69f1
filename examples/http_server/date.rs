//! The `Date` of the answers (RFC 9110, 6.6.1): written once per second in which somebody asks, and never by a timer,
//! which would wake an idle worker. With it what most answers begin with.

use std::{
    io::Write,
    ops::Range,
    time::{Duration, Instant, SystemTime},
};

pub(crate) struct Date {
    /// The field stands in its middle.
    begin: [u8; BEGIN.len()],
    /// The second that it names ends then.
    until: Option<Instant>,
}

impl Date {
    pub(crate) fn new() -> Self {
        Self { begin: *BEGIN, until: None }
    }

    /// Before the first answer of a turn.
    #[inline]
    pub(crate) fn turn(&mut self, now: Instant, wall: impl FnOnce() -> SystemTime) {
        if self.until.is_none_or(|until| until <= now) {
            self.write(now, wall());
        }
    }

    /// The whole field, with its line end.
    pub(crate) fn field(&self) -> &[u8] {
        &self.begin[FIELD]
    }

    /// The head of an answer with status 200 and a text up to the length of the text.
    pub(crate) fn begin_of_text(&self) -> &[u8; BEGIN.len()] {
        &self.begin
    }

    #[cold]
    fn write(&mut self, now: Instant, wall: SystemTime) {
        // Before 1970 it is 1970.
        let since_1970 = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        write_field(&mut self.begin[FIELD], since_1970.as_secs());
        let rest = Duration::from_secs(1) - Duration::from_nanos(since_1970.subsec_nanos().into());
        self.until = Some(now + rest);
    }
}

fn write_field(mut field: &mut [u8], seconds: u64) {
    let (days, second) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = civil(days);
    let weekday = WEEKDAYS[(days % 7) as usize];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let month = MONTHS[month];
    write!(field, "Date: {weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT\r\n")
        .expect("a date of four-digit years has this length");
}

/// Year, month from 0, and day from 1 of the Gregorian calendar. Years are counted from March, so that the leap day is
/// their last; 400 of them have always the same number of days.
fn civil(days_since_1970: u64) -> (u64, usize, u64) {
    let days = days_since_1970 + MARCH_OF_YEAR_0_TO_1970;
    let (era, of_era) = (days / ERA, days % ERA);
    let year_of_era = (of_era - of_era / (4 * 365) + of_era / (100 * 365 + 24) - of_era / (ERA - 1)) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on, five months in a row always have 153 days.
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    (year % 10_000, month as usize, day)
}

const BEGIN: &[u8; 96] = b"HTTP/1.1 200 OK\r\n\
    Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: ";
const FIELD: Range<usize> = 17..54;

const DAY: u64 = 86_400;
const ERA: u64 = 146_097;
const MARCH_OF_YEAR_0_TO_1970: u64 = 719_468;

/// From the day of the week of 1970-01-01.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_is_that_of_the_calendar() {
        let text = |seconds| {
            let mut field = [0; FIELD.end - FIELD.start];
            write_field(&mut field, seconds);
            String::from_utf8(field.to_vec()).unwrap()
        };
        // As `date --utc --date=@SECONDS` says.
        for (seconds, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59"),
            (1_709_251_200, "Fri, 01 Mar 2024 00:00:00"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59"),
            (253_402_300_800, "Sat, 01 Jan 0000 00:00:00"),
        ] {
            assert_eq!(text(seconds), format!("Date: {date} GMT\r\n"));
        }
        assert_eq!(text(u64::MAX).len(), FIELD.len());
    }

    #[test]
    fn date_is_written_once_per_second() {
        let (start, mut date) = (Instant::now(), Date::new());
        let wall = |ms| move || SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        date.turn(start, wall(59_250));
        assert!(date.begin_of_text().starts_with(b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:59 GMT\r\nC"));
        assert!(date.field().ends_with(b":59 GMT\r\n"));
        date.turn(start + Duration::from_millis(749), || unreachable!("the second is not over"));
        date.turn(start + Duration::from_millis(750), wall(60_000));
        assert!(date.field().ends_with(b":01:00 GMT\r\n"));
    }
}
