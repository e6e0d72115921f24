//! Where sites stand: three named by hand, and cities from which further ones are named.

use chrono_tz::Tz;

/// What is known of a place before it has a site.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) zone: Tz,
    /// ISO 4217.
    pub(super) currency: &'static str,
    pub(super) address: &'static str,
    pub(super) tag: &'static str,
}

const fn place(
    name: &'static str,
    zone: Tz,
    currency: &'static str,
    address: &'static str,
    tag: &'static str,
) -> Place {
    Place {
        name,
        zone,
        currency,
        address,
        tag,
    }
}

/// The sites of a fleet of three: at any hour at least one of them is awake.
const NAMED: [Place; 3] = [
    place(
        "London Covent Garden",
        Tz::Europe__London,
        "GBP",
        "12 James Street, London WC2E 8BT, United Kingdom",
        "europe",
    ),
    place(
        "New York Union Square",
        Tz::America__New_York,
        "USD",
        "41 Union Square West, New York, NY 10003, United States",
        "americas",
    ),
    place(
        "Singapore Tiong Bahru",
        Tz::Asia__Singapore,
        "SGD",
        "57 Eng Hoon Street, Singapore 160057",
        "asia-pacific",
    ),
];

const CITIES: [Place; 12] = [
    place("Athens", Tz::Europe__Athens, "EUR", "Greece", "europe"),
    place("Berlin", Tz::Europe__Berlin, "EUR", "Germany", "europe"),
    place(
        "Chicago",
        Tz::America__Chicago,
        "USD",
        "United States",
        "americas",
    ),
    place("Dublin", Tz::Europe__Dublin, "EUR", "Ireland", "europe"),
    place("Lisbon", Tz::Europe__Lisbon, "EUR", "Portugal", "europe"),
    place(
        "Los Angeles",
        Tz::America__Los_Angeles,
        "USD",
        "United States",
        "americas",
    ),
    place("Madrid", Tz::Europe__Madrid, "EUR", "Spain", "europe"),
    place(
        "Melbourne",
        Tz::Australia__Melbourne,
        "AUD",
        "Australia",
        "asia-pacific",
    ),
    place("Paris", Tz::Europe__Paris, "EUR", "France", "europe"),
    place(
        "São Paulo",
        Tz::America__Sao_Paulo,
        "BRL",
        "Brazil",
        "americas",
    ),
    place("Toronto", Tz::America__Toronto, "CAD", "Canada", "americas"),
    place("Warsaw", Tz::Europe__Warsaw, "PLN", "Poland", "europe"),
];

const STREETS: [&str; 5] = [
    "Market Square",
    "Station Road",
    "High Street",
    "Harbour Walk",
    "Garden Arcade",
];

/// A place with the name and address of the site that stands there.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) address: String,
}

/// The place of the site with this index.
pub(super) fn of_site(index: usize) -> Located {
    if let Some(named) = NAMED.get(index) {
        return Located {
            place: *named,
            name: named.name.to_owned(),
            address: named.address.to_owned(),
        };
    }
    let further = index - NAMED.len();
    let [first, ..] = CITIES;
    let city = *CITIES.get(further % CITIES.len()).unwrap_or(&first);
    let round = further / CITIES.len();
    let street = STREETS.get(round % STREETS.len()).unwrap_or(&"Main Street");
    let number = round / STREETS.len();
    let name = match number {
        0 => format!("{} {street}", city.name),
        _ => format!("{} {street} {}", city.name, number + 1),
    };
    Located {
        place: city,
        name,
        address: format!(
            "{} {street}, {}, {}",
            further % 89 + 1,
            city.name,
            city.address
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ten_thousand_sites_have_ten_thousand_names() {
        let names: BTreeSet<String> = (0..10_000).map(|index| of_site(index).name).collect();
        assert_eq!(names.len(), 10_000);
    }
}
