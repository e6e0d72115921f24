//! Writes the table and the report view of a kind of event for either database.
//!
//! A kind's table has the columns of the envelope, then its own, then `extra`. Its view
//! `report_<table>` has ids, timestamps and decimals in place of keys, microseconds and units.

use sea_orm_migration::prelude::DbErr;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

/// How the report view shows a column.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Report {
    /// As it is.
    Plain,
    /// JSON, as it is; SQLite is told to hold to its form.
    Json,
    /// The key of a site or device becomes its id; `site_key` becomes `site_id`.
    Id,
    /// Units of 10⁻⁴ become a decimal.
    Decimal,
    /// 0 and 1 become false and true where the database has a boolean.
    Boolean,
}

/// A column: its definition, which begins with its name, and how it is shown.
pub(crate) struct Column {
    pub(crate) sql: &'static str,
    pub(crate) report: Report,
}

/// The table of one kind of event.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [Column],
    /// Uniqueness beyond the position.
    pub(crate) unique: &'static [&'static str],
    /// Column lists of further indexes.
    pub(crate) indexes: &'static [&'static str],
    /// On PostgreSQL: partitioned by month of `occurred_at`.
    pub(crate) partitioned: bool,
}

/// Fills the types of the database into a text.
pub(crate) fn typed(backend: DbBackend, sql: &str) -> String {
    let (int, real, uuid, bytes) = if backend == DbBackend::Postgres {
        ("BIGINT", "DOUBLE PRECISION", "UUID", "BYTEA")
    } else {
        ("INTEGER", "REAL", "BLOB", "BLOB")
    };
    sql.replace("{int}", int)
        .replace("{real}", real)
        .replace("{uuid}", uuid)
        .replace("{bytes}", bytes)
}

/// What follows the closing parenthesis of a table: SQLite is told to hold to the column types.
pub(crate) fn strict(backend: DbBackend) -> &'static str {
    if backend == DbBackend::Sqlite {
        " STRICT"
    } else {
        ""
    }
}

impl Column {
    fn name(&self) -> &'static str {
        self.sql.split(' ').next().unwrap_or_default()
    }

    /// PostgreSQL has no test of a text for JSON that does not fail the statement in another way.
    fn definition(&self, backend: DbBackend) -> String {
        if self.report == Report::Json && backend == DbBackend::Sqlite {
            format!("{} CHECK (json_valid({}))", self.sql, self.name())
        } else {
            self.sql.to_owned()
        }
    }
}

impl Table {
    /// Creates the table, its indexes and its report view.
    pub(crate) async fn create(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let backend = db.get_database_backend();
        db.execute_unprepared(&typed(backend, &self.table_sql(backend)))
            .await?;
        for (ordinal, columns) in self.indexes.iter().enumerate() {
            let name = self.name;
            let sql = format!("CREATE INDEX {name}_{} ON {name} ({columns})", ordinal + 1);
            db.execute_unprepared(&sql).await?;
        }
        self.show(db).await
    }

    /// Creates the report view of a table that is there.
    pub(crate) async fn show(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let sql = self.view_sql(db.get_database_backend());
        db.execute_unprepared(&sql).await?;
        Ok(())
    }

    fn table_sql(&self, backend: DbBackend) -> String {
        let apart = self.partitioned && backend == DbBackend::Postgres;
        let mut lines = vec![
            if apart {
                "position {int} NOT NULL"
            } else {
                "position {int} PRIMARY KEY"
            }
            .to_owned(),
            "event_id {uuid}".to_owned(),
            "occurred_at {int} NOT NULL CHECK (occurred_at >= 946684800000000)".to_owned(),
            "recorded_at {int} NOT NULL".to_owned(),
            "provenance {int} NOT NULL CHECK (provenance IN (0, 1, 2))".to_owned(),
        ];
        let extra = Column {
            sql: "extra TEXT CHECK (length(extra) <= 65536)",
            report: Report::Json,
        };
        let columns = self.columns.iter().chain([&extra]);
        lines.extend(columns.map(|column| column.definition(backend)));
        if apart {
            lines.push("PRIMARY KEY (position, occurred_at)".to_owned());
        }
        lines.extend(
            self.unique
                .iter()
                .map(|columns| format!("UNIQUE ({columns})")),
        );
        let tail = if apart {
            " PARTITION BY RANGE (occurred_at)"
        } else {
            strict(backend)
        };
        format!("CREATE TABLE {} ({}){tail}", self.name, lines.join(", "))
    }

    fn view_sql(&self, backend: DbBackend) -> String {
        let postgres = backend == DbBackend::Postgres;
        let instant = |column: &str| {
            if postgres {
                format!("timestamptz 'epoch' + t.{column} * interval '1 microsecond' AS {column}")
            } else {
                format!(
                    "strftime('%Y-%m-%dT%H:%M:%S', t.{column} / 1000000, 'unixepoch') \
                     || printf('.%06dZ', t.{column} % 1000000) AS {column}"
                )
            }
        };
        let event_id = if postgres {
            "t.event_id::text AS event_id"
        } else {
            // hex() of NULL is an empty text
            "CASE WHEN t.event_id IS NOT NULL THEN lower(substr(hex(t.event_id), 1, 8) || '-' \
                 || substr(hex(t.event_id), 9, 4) || '-' || substr(hex(t.event_id), 13, 4) || '-' \
                 || substr(hex(t.event_id), 17, 4) || '-' || substr(hex(t.event_id), 21)) END \
                 AS event_id"
        };
        let mut shown = vec![
            "t.position".to_owned(),
            event_id.to_owned(),
            instant("occurred_at"),
            instant("recorded_at"),
            "CASE t.provenance WHEN 0 THEN 'REAL' WHEN 1 THEN 'CONTROLLED' ELSE 'SIMULATED' END \
             AS provenance"
                .to_owned(),
        ];
        shown.extend(self.columns.iter().map(|column| column.shown(backend)));
        shown.push("t.extra".to_owned());
        let name = self.name;
        format!(
            "CREATE VIEW report_{name} AS SELECT {} FROM {name} t",
            shown.join(", ")
        )
    }
}

impl Column {
    fn shown(&self, backend: DbBackend) -> String {
        let name = self.name();
        let postgres = backend == DbBackend::Postgres;
        match self.report {
            Report::Plain | Report::Json => format!("t.{name}"),
            Report::Id => format!(
                "(SELECT k.entity_id FROM entity_keys k WHERE k.entity_key = t.{name}) AS {}_id",
                name.trim_end_matches("_key")
            ),
            Report::Decimal if postgres => {
                format!("(t.{name}::numeric / 10000)::numeric(19, 4) AS {name}")
            }
            Report::Decimal => format!(
                "CASE WHEN t.{name} < 0 THEN '-' ELSE '' END || \
                 printf('%d.%04d', abs(t.{name}) / 10000, abs(t.{name}) % 10000) AS {name}"
            )
            .replacen(
                "CASE",
                &format!("CASE WHEN t.{name} IS NULL THEN NULL ELSE CASE"),
                1,
            )
            .replace(&format!(" AS {name}"), &format!(" END AS {name}")),
            Report::Boolean if postgres => format!("(t.{name} = 1) AS {name}"),
            Report::Boolean => format!("t.{name}"),
        }
    }
}
