//! The rate of transactions in each hour of the week: a gamma posterior, pooled from the week over the hour of
//! day to the hour of week.
//!
//! For one class of hours (open, closed): `level` is the rate of all its hours; the rate of an hour of day is
//! drawn to the level, a weekday is a factor drawn to 1, and an hour of week is drawn to their product.

use crate::insights::jobs::schedule::CellPlan;
use crate::insights::number::Short;

/// Hours of a week.
pub const CELLS: usize = 168;
/// After the hours of the week: any closed hour, as on a date that is an exception.
pub const ANY_CLOSED: usize = CELLS;
/// And any open hour.
pub const ANY_OPEN: usize = CELLS + 1;

/// The mean of the other hours counts as so many hours of an hour of week.
pub const CELL_STRENGTH: f64 = 4.0;
/// The level counts as so many hours of an hour of day.
const HOUR_STRENGTH: f64 = 1.0;
/// A weekday's factor is drawn to 1 by so many transactions.
const WEEKDAY_STRENGTH: f64 = 20.0;
/// A rate that nobody filed and nothing counted: its order of magnitude an open hour.
const UNKNOWN_HOURLY: f64 = 5.0;
/// A closed hour's rate, to that of an open hour, before anything is counted.
const CLOSED_TO_OPEN: f64 = 0.02;
/// How sure the level is before anything is counted, as a number of transactions: a guess, and a filed figure.
const GUESS_SHAPE: f64 = 0.5;
const FILED_SHAPE: f64 = 4.0;

/// A gamma distribution of a rate of transactions an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gamma {
    /// Transactions.
    pub shape: f64,
    /// Hours.
    pub rate: f64,
    /// Relative variance that it shares with the others of its class, since their level is not known exactly.
    pub shared: f64,
    /// Of an open hour, or of a closed one.
    pub is_open: bool,
}

impl Gamma {
    /// Transactions an hour.
    #[must_use]
    pub fn mean(self) -> f64 {
        self.shape / self.rate
    }
}

/// One class of hours: which cells, and its level.
struct Class<'a> {
    plan: &'a [CellPlan],
    sales: &'a [Short],
    hours: &'a [Short],
    is_open: bool,
    level: f64,
    shared: f64,
}

/// What was counted in one cell.
#[derive(Clone, Copy)]
struct Counted {
    index: usize,
    weight: f64,
    sales: f64,
    hours: f64,
}

/// Sums over the cells of an hour of day.
#[derive(Clone, Copy, Default)]
struct HourOfDay {
    cells: f64,
    weight: f64,
    sales: f64,
    seen: f64,
}

impl<'a> Class<'a> {
    fn new(
        plan: &'a [CellPlan],
        sales: &'a [Short],
        hours: &'a [Short],
        is_open: bool,
        filed: Option<f64>,
    ) -> Self {
        let mut class = Self {
            plan,
            sales,
            hours,
            is_open,
            level: 0.0,
            shared: 0.0,
        };
        let open = filed.unwrap_or(UNKNOWN_HOURLY);
        let guess = if is_open { open } else { open * CLOSED_TO_OPEN };
        let shape = if filed.is_some() {
            FILED_SHAPE
        } else {
            GUESS_SHAPE
        };
        let (sales, hours) = class
            .counted()
            .fold((shape, shape / guess), |(sales, hours), cell| {
                (sales + cell.sales, hours + cell.hours * cell.weight)
            });
        class.level = sales / hours;
        class.shared = 1.0 / sales;
        class
    }

    fn counted(&self) -> impl Iterator<Item = Counted> {
        let counts = self.sales.iter().zip(self.hours);
        self.plan
            .iter()
            .zip(counts)
            .enumerate()
            .filter(|(_, (cell, _))| self.holds(cell))
            .map(|(index, (cell, (sales, hours)))| Counted {
                index,
                weight: cell.weight,
                sales: f64::from(*sales),
                hours: f64::from(*hours),
            })
    }

    fn holds(&self, cell: &CellPlan) -> bool {
        (cell.open_quarters > 0) == self.is_open
    }

    /// What a cell's weight is within its hour of day. Closed hours of the day are taken as alike: how near they
    /// are to the open ones only says where they begin.
    fn weight(&self, cell: &Counted) -> f64 {
        if self.is_open { cell.weight } else { 1.0 }
    }

    /// The rate of each hour of day.
    fn by_hour(&self) -> [f64; 24] {
        let mut hours = [HourOfDay::default(); 24];
        for cell in self.counted() {
            if let Some(hour) = hours.get_mut(cell.index % 24) {
                hour.cells += 1.0;
                hour.weight += if self.is_open { 1.0 } else { cell.weight };
                hour.sales += cell.sales;
                hour.seen += cell.hours * self.weight(&cell);
            }
        }
        hours.map(|hour| {
            let guess = if hour.cells > 0.0 {
                self.level * hour.weight / hour.cells
            } else {
                self.level
            };
            (HOUR_STRENGTH * guess + hour.sales) / (HOUR_STRENGTH + hour.seen)
        })
    }

    /// How busy each weekday is, to what its hours let expect.
    fn by_weekday(&self, by_hour: &[f64; 24]) -> [f64; 7] {
        let mut sales = [WEEKDAY_STRENGTH; 7];
        let mut expected = [WEEKDAY_STRENGTH; 7];
        for cell in self.counted().filter(|_| self.is_open) {
            let (weekday, hour) = (cell.index / 24, cell.index % 24);
            if let (Some(sales), Some(expected)) =
                (sales.get_mut(weekday), expected.get_mut(weekday))
            {
                *sales += cell.sales;
                *expected += cell.hours
                    * self.weight(&cell)
                    * by_hour.get(hour).copied().unwrap_or(self.level);
            }
        }
        std::array::from_fn(|day| {
            sales
                .get(day)
                .zip(expected.get(day))
                .map_or(1.0, |(sales, expected)| sales / expected)
        })
    }

    fn gamma(&self, mean: f64, sales: f64, hours: f64) -> Gamma {
        Gamma {
            shape: (CELL_STRENGTH * mean + sales).max(1e-6),
            rate: CELL_STRENGTH + hours,
            shared: self.shared,
            is_open: self.is_open,
        }
    }

    fn write(&self, rates: &mut [Gamma]) {
        let by_hour = self.by_hour();
        let by_weekday = self.by_weekday(&by_hour);
        for cell in self.counted() {
            let hour = by_hour.get(cell.index % 24).copied().unwrap_or(self.level);
            let weekday = by_weekday.get(cell.index / 24).copied().unwrap_or(1.0);
            if let Some(rate) = rates.get_mut(cell.index) {
                *rate = self.gamma(hour * weekday * self.weight(&cell), cell.sales, cell.hours);
            }
        }
        let any = if self.is_open { ANY_OPEN } else { ANY_CLOSED };
        if let Some(rate) = rates.get_mut(any) {
            *rate = self.gamma(self.level, 0.0, 0.0);
        }
    }
}

/// The posterior of every hour of the week, then [`ANY_CLOSED`] and [`ANY_OPEN`]. `sales` were counted in
/// `hours`, by hour of week; `filed` is the rate that the site expects.
#[must_use]
pub fn rates(
    plan: &[CellPlan],
    sales: &[Short],
    hours: &[Short],
    filed: Option<f64>,
) -> Vec<Gamma> {
    let mut rates = vec![
        Gamma {
            rate: 1.0,
            ..Gamma::default()
        };
        CELLS + 2
    ];
    for is_open in [true, false] {
        Class::new(plan, sales, hours, is_open, filed).write(&mut rates);
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insights::jobs::schedule::{Day, DayPlan, Schedule};

    fn shop() -> Vec<CellPlan> {
        let mut schedule = Schedule::new(chrono_tz::Tz::UTC);
        (0..7).for_each(|day| schedule.file(Day::Weekday(day), DayPlan::open(8 * 60, 18 * 60)));
        schedule.week()
    }

    #[test]
    fn more_sales_never_lower_a_rate() {
        let (mut sales, hours) = (vec![Short::default(); CELLS], vec![Short::of(3.0); CELLS]);
        let mut before = rates(&shop(), &sales, &hours, None)[12].mean();
        for _ in 0..20 {
            sales[12] = Short::of(f64::from(sales[12]) + 5.0);
            let after = rates(&shop(), &sales, &hours, None)[12].mean();
            assert!(after > before);
            before = after;
        }
    }

    #[test]
    fn a_rate_never_seen_is_that_of_its_hour_and_weekday() {
        let (mut sales, mut hours) = (vec![Short::default(); CELLS], vec![Short::default(); CELLS]);
        for cell in (0..CELLS).filter(|cell| (8..18).contains(&(cell % 24)) && *cell != 60) {
            sales[cell] = Short::of(40.0 * if cell / 24 == 2 { 2.0 } else { 1.0 });
            hours[cell] = Short::of(10.0);
        }
        let rate = rates(&shop(), &sales, &hours, None)[60];
        assert!((rate.mean() - 8.0).abs() < 1.2, "{}", rate.mean());
        assert!(rate.rate < 5.0);
    }

    #[test]
    fn a_filed_figure_is_believed_until_sales_are_counted() {
        let none = vec![Short::default(); CELLS];
        let filed = rates(&shop(), &none, &none, Some(30.0));
        assert!((filed[12].mean() - 30.0).abs() < 1e-6);
        assert!(filed[8].mean() < filed[12].mean() && filed[3].mean() < filed[8].mean());
        assert!(filed[12].shared < rates(&shop(), &none, &none, None)[12].shared);
    }
}
