//! What insights promise, held against data of which the truth is known: their intervals have it as often as they say,
//! and laws that hold whatever comes. All of it is drawn from seeds, so that each run is the same.

mod anomalies;
mod answers;
mod devices;
mod errors;
mod impacts;
mod jobs;
mod laws;
mod reliability;
mod risks;
mod trends;

use homepot_analytics::insights::number::float;
use homepot_analytics::insights::shape::Interval;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Monday 2024-01-01, 00:00 UTC, in days since 1970.
const MONDAY: i32 = 19_723;

/// Draws from distributions.
struct Dice(StdRng);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Between 0 and 1.
    fn uniform(&mut self) -> f64 {
        self.0.random::<f64>().max(f64::MIN_POSITIVE)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    fn is(&mut self, chance: f64) -> bool {
        self.uniform() < chance
    }

    /// Of mean 0 and variance 1 (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn exponential(&mut self, rate: f64) -> f64 {
        -self.uniform().ln() / rate
    }

    /// Of a shape and rate 1 (Marsaglia and Tsang 2000).
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            return self.gamma(shape + 1.0) * self.uniform().powf(1.0 / shape);
        }
        let third = shape - 1.0 / 3.0;
        loop {
            let normal = self.normal();
            let cube = (1.0 + normal / (9.0 * third).sqrt()).powi(3);
            let limit = 0.5 * normal * normal + third - third * cube + third * cube.ln();
            if cube > 0.0 && self.uniform().ln() < limit {
                return third * cube;
            }
        }
    }

    fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (a, b) = (self.gamma(a), self.gamma(b));
        a / (a + b)
    }

    /// A count of a mean: events of rate 1 in so long a time.
    fn poisson(&mut self, mean: f64) -> u32 {
        let (mut passed, mut count) = (self.exponential(1.0), 0);
        while passed < mean {
            passed += self.exponential(1.0);
            count += 1;
        }
        count
    }
}

/// How often an interval had the truth.
#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    had: u32,
    all: u32,
}

impl Tries {
    fn count(&mut self, had: bool) {
        self.had += u32::from(had);
        self.all += 1;
    }

    fn look(&mut self, interval: Interval, truth: f64) {
        self.count(interval.low <= truth && truth <= interval.high);
    }

    fn with(self, other: Self) -> Self {
        Self {
            had: self.had + other.had,
            all: self.all + other.all,
        }
    }

    fn share(self) -> f64 {
        float(self.had) / float(self.all)
    }

    /// Whether the share of a level of 90 % is as it must be.
    #[track_caller]
    fn hold_ninety(self, of: &str) {
        self.hold(of, (0.86, 0.96));
    }

    /// Whether the share of a level of 95 % is as it must be.
    #[track_caller]
    fn hold_ninety_five(self, of: &str) {
        self.hold(of, (0.92, 1.0));
    }

    #[track_caller]
    fn hold(self, of: &str, (low, high): (f64, f64)) {
        assert!(self.all >= 400, "{of}: {self:?}");
        let share = self.share();
        // told where a test is run with --nocapture
        println!("{of}: {share:.3} of {}", self.all);
        assert!((low..=high).contains(&share), "{of}: {share:.3}, {self:?}");
    }
}

/// Holds a law for what is given at random, the same in each run.
fn for_all<S: Strategy>(
    cases: u32,
    given: &S,
    law: impl Fn(&S::Value) -> Result<(), TestCaseError>,
) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let ran = TestRunner::new_with_rng(config, rng).run(given, |given| law(&given));
    ran.unwrap_or_else(|failed| panic!("{failed}"));
}
