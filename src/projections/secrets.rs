//! Keeps values of sensitive parameters out of the log as long as they can be read: whoever records a change, and
//! also one that comes in the same batch as the registration of its parameter.

use std::collections::{BTreeSet, HashSet};

use entity::{configuration_history as change, parameter_registrations as registration};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use crate::event::{Cell, Fact};
use crate::kinds::masked::{MASK, is_readable};
use crate::kinds::{Code, Kind, Refusal};
use crate::store::{Doing, Guard, List, Sql, StoreError};

/// The sensitive ones of the parameters that events of a batch speak of.
#[derive(Debug)]
pub(super) struct Secrets(HashSet<String>);

impl Secrets {
    /// Reads which of the parameters are sensitive of which values can be read; `None` when there is no such
    /// value.
    pub(super) async fn read(
        tx: &DatabaseTransaction,
        facts: &[&Fact],
    ) -> Result<Option<Self>, StoreError> {
        let readable = facts.iter().filter(|fact| readable(fact).is_some());
        let names = readable.filter_map(|fact| fact.cell(change::Column::ParameterName).text());
        let names: BTreeSet<&str> = names.collect();
        if names.is_empty() {
            return Ok(None);
        }
        let names = names.into_iter().map(str::to_owned).collect();
        let mut sql = Sql::new(
            "SELECT parameter_name FROM configuration_parameters WHERE sensitive <> 0 AND ",
        );
        sql.among("parameter_name", List::Text(names));
        let statement = sql.statement(tx.get_database_backend());
        let doing = "read which parameters are sensitive";
        let rows = tx.query_all_raw(statement).await.doing(doing)?;
        let names = rows.iter().map(|row| row.try_get_by_index(0).doing(doing));
        Ok(Some(Self(names.collect::<Result<_, _>>()?)))
    }
}

impl Guard for Secrets {
    fn refusal(&self, fact: &Fact) -> Option<Refusal> {
        let field = readable(fact)?;
        let name = fact.cell(change::Column::ParameterName).text()?;
        self.0.contains(name).then(|| {
            let message = format!(
                "{name} is a sensitive parameter: setConfiguration sets it, and what it was before is recorded \
                 with \"{MASK}\" as oldValue and newValue"
            );
            Refusal::of(field, Code::NotAllowed, message)
        })
    }

    fn placed(&mut self, fact: &Fact) {
        let is_sensitive = fact.kind == Kind::ParameterRegistration
            && fact.cell(registration::Column::Sensitive).int() == Some(1);
        let name = fact.cell(registration::Column::ParameterName).text();
        self.0
            .extend(name.filter(|_| is_sensitive).map(str::to_owned));
    }
}

/// The field of a change with a value that can be read.
fn readable(fact: &Fact) -> Option<&'static str> {
    if fact.kind != Kind::ConfigurationChange {
        return None;
    }
    let fields = [
        ("newValue", change::Column::NewValue),
        ("oldValue", change::Column::OldValue),
    ];
    let mut fields = fields.into_iter();
    let (field, _) = fields.find(
        |(_, column)| matches!(fact.cell(*column), Cell::Json(value) if is_readable(value)),
    )?;
    Some(field)
}
