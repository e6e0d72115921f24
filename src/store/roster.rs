//! The servers that share a database of PostgreSQL, and what each of them has taken.
//!
//! Who is alive says so again and again, on a connection of its own, so that it waits for nobody. All
//! instants are those of the database: the clocks of the servers may say what they like.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, QueryResult};

use super::Store;
use super::error::{Doing, StoreError};
use super::sql::Sql;
use crate::event::Instant;

/// Now, by the clock of the database.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
/// How long servers that are gone are shown.
const SHOWN_FOR: Duration = Duration::from_hours(1);
/// What is done when any of this fails.
const DOING: &str = "tell the other servers that this one is alive";

/// A server as the others are told of it.
#[derive(Clone, Debug)]
pub(crate) struct Card {
    pub(crate) node_id: String,
    pub(crate) name: String,
    pub(crate) address: String,
}

/// What a server has after it has said that it is alive.
#[derive(Debug, Default)]
pub(crate) struct Had {
    /// The works, each with the token with which it was taken.
    pub(crate) works: Vec<(String, i64)>,
    /// Servers that are alive.
    pub(crate) alive: i64,
    /// Whether something is archived, which not every server may be able to read.
    pub(crate) is_archived: bool,
    /// One of them that another is to have, which has fewer: it is given by [`Roster::give`].
    pub(crate) surplus: Option<String>,
}

/// What a server says of the works.
#[derive(Debug)]
pub(crate) struct Says {
    /// All that there are; of those that a server has too many of it gives the last away first.
    pub(crate) works: Vec<&'static str>,
    /// Those that it can do, of which others give it some; none when it stops.
    pub(crate) able: Vec<&'static str>,
    /// Those that it takes if they are free.
    pub(crate) wanted: Vec<&'static str>,
    /// Those that it can do no more, and gives back.
    pub(crate) unable: Vec<&'static str>,
}

/// The place of a server among the others.
#[derive(Debug)]
pub(crate) struct Roster {
    store: Store,
    card: Card,
    /// How long it is taken for alive when it has said so.
    lasts: Duration,
    db: Option<DatabaseConnection>,
}

impl Roster {
    pub(crate) const fn new(store: Store, card: Card, lasts: Duration) -> Self {
        let db = None;
        Self {
            store,
            card,
            lasts,
            db,
        }
    }

    /// Says that this server is alive and what it can do, gives back what it cannot, takes those works that nobody
    /// who is alive has, and tells what it has then, and which of that another is to have. What it wants and has
    /// by an older token it takes anew. When it was taken for dead it joins anew, and has taken nothing before that.
    pub(crate) async fn beat(&mut self, says: &Says) -> Result<Had, StoreError> {
        let db = match self.db.take() {
            Some(db) => db,
            None => self.store.shared.connections.alone().await.doing(DOING)?,
        };
        // one that fails, or is given up, is not used again: nobody knows what was still to come on it
        if !self.goes_on(&db, says).await? {
            self.join(&db, says).await?;
        }
        if !says.unable.is_empty() {
            self.give_back(&db, &says.unable).await?;
        }
        if !says.wanted.is_empty() {
            self.take(&db, &says.wanted).await?;
        }
        let surplus = if says.able.is_empty() {
            None
        } else {
            self.surplus(&db, &says.works).await?
        };
        let had = self.had(&db).await?;
        self.db = Some(db);
        Ok(Had { surplus, ..had })
    }

    /// Tells whether this server was still taken for alive.
    async fn goes_on(&self, db: &DatabaseConnection, says: &Says) -> Result<bool, StoreError> {
        let mut sql = Sql::new(format!("UPDATE nodes SET alive_until = {NOW} + "));
        sql.bind(self.lasts_us()).push(", able = ");
        sql.bind(says.able.join(" ")).push(" WHERE node_id = ");
        sql.bind(self.card.node_id.as_str());
        sql.push(&format!(" AND alive_until > {NOW}"));
        let statement = sql.statement(DbBackend::Postgres);
        let renewed = db.execute_raw(statement).await.doing(DOING)?;
        Ok(renewed.rows_affected() == 1)
    }

    async fn join(&self, db: &DatabaseConnection, says: &Says) -> Result<(), StoreError> {
        let card = &self.card;
        let mut sql = Sql::new(
            "INSERT INTO nodes (node_id, name, address, version, started_at, alive_until, \
             able) VALUES (",
        );
        for text in [&card.node_id, &card.name, &card.address] {
            sql.bind(text.as_str()).push(", ");
        }
        sql.bind(env!("CARGO_PKG_VERSION"));
        sql.push(&format!(", {NOW}, {NOW} + "))
            .bind(self.lasts_us());
        sql.push(", ").bind(says.able.join(" "));
        sql.push(
            ") ON CONFLICT (node_id) DO UPDATE SET alive_until = excluded.alive_until, \
             able = excluded.able",
        );
        run(db, sql).await?;
        for work in &says.works {
            let mut sql = Sql::new("INSERT INTO leases (work, node_id, token, since) VALUES (");
            sql.bind(*work)
                .push(", NULL, 0, 0) ON CONFLICT (work) DO NOTHING");
            run(db, sql).await?;
        }
        // in the order of their ids, so that of two who forget the same ones neither holds up the other
        let mut sql = Sql::new("DELETE FROM nodes WHERE node_id IN (SELECT node_id FROM nodes ");
        sql.push(&format!("WHERE alive_until < {NOW} - "))
            .bind(micros(SHOWN_FOR));
        sql.push(" ORDER BY node_id FOR UPDATE SKIP LOCKED)");
        run(db, sql).await
    }

    /// Gives works back that this server can do no more.
    async fn give_back(
        &self,
        db: &DatabaseConnection,
        unable: &[&'static str],
    ) -> Result<(), StoreError> {
        let mut sql = Sql::new("UPDATE leases SET node_id = NULL WHERE node_id = ");
        sql.bind(self.card.node_id.as_str()).push(" AND work IN ");
        sql.bind_list(unable.iter().map(|work| (*work).into()));
        run(db, sql).await
    }

    /// Takes works. One that somebody is just writing for is left for the next time.
    async fn take(
        &self,
        db: &DatabaseConnection,
        wanted: &[&'static str],
    ) -> Result<(), StoreError> {
        let id = self.card.node_id.as_str();
        let mut sql = Sql::new("WITH free AS (SELECT work FROM leases WHERE work IN ");
        sql.bind_list(wanted.iter().map(|work| (*work).into()));
        sql.push(" AND (node_id IS NULL OR node_id = ").bind(id);
        sql.push(" OR NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.node_id = leases.node_id");
        sql.push(&format!(" AND alive_until > {NOW}))"));
        sql.push(" ORDER BY work FOR UPDATE SKIP LOCKED) UPDATE leases SET node_id = ");
        sql.bind(id)
            .push(&format!(", token = token + 1, since = {NOW}"));
        sql.push(" FROM free WHERE leases.work = free.work");
        run(db, sql).await
    }

    /// The work that is the first to go to a server that can do it and has at least two fewer, if there is one. One that
    /// somebody is just writing for is left for the next time.
    async fn surplus(
        &self,
        db: &DatabaseConnection,
        works: &[&'static str],
    ) -> Result<Option<String>, StoreError> {
        let mut sql = Sql::new(format!("WITH {} SELECT leases.work {FEWER}", counted()));
        sql.bind(self.card.node_id.as_str());
        sql.push(" ORDER BY other.number, array_position(string_to_array(");
        sql.bind(works.join(" ")).push(
            ", ' '), leases.work) DESC, other.node_id LIMIT 1 FOR UPDATE OF leases SKIP LOCKED",
        );
        first(db, sql).await
    }

    /// Gives a work, which this server has by a token, to one that can do it and has at least two fewer; whether it has.
    /// It is that one's at once, so nobody comes between, and it is never given back for that: the two are closer to
    /// each other then. It comes to nothing once this server has taken the work anew.
    pub(crate) async fn give(&mut self, work: &str, token: i64) -> Result<bool, StoreError> {
        let db = match self.db.take() {
            Some(db) => db,
            None => self.store.shared.connections.alone().await.doing(DOING)?,
        };
        let mut sql = Sql::new(format!(
            "WITH {}, given AS (SELECT leases.work, other.node_id {FEWER}",
            counted()
        ));
        sql.bind(self.card.node_id.as_str());
        sql.push(" AND leases.work = ").bind(work);
        sql.push(" AND leases.token = ").bind(token);
        sql.push(&format!(
            " ORDER BY other.number, other.node_id LIMIT 1 FOR UPDATE OF leases SKIP LOCKED) \
             UPDATE leases SET node_id = given.node_id, token = token + 1, since = {NOW} \
             FROM given WHERE leases.work = given.work RETURNING leases.work"
        ));
        let given = first(&db, sql).await?;
        self.db = Some(db);
        Ok(given.is_some())
    }

    async fn had(&self, db: &DatabaseConnection) -> Result<Had, StoreError> {
        let mut sql = Sql::new(
            "SELECT alive.number, work, token, \
             EXISTS (SELECT 1 FROM segments WHERE dropped_at IS NULL) \
             FROM (SELECT count(*) AS number ",
        );
        sql.push(&format!(
            "FROM nodes WHERE alive_until > {NOW}) AS alive \
             LEFT JOIN leases ON node_id = "
        ));
        sql.bind(self.card.node_id.as_str());
        let rows = db.query_all_raw(sql.statement(DbBackend::Postgres));
        let mut had = Had::default();
        for row in rows.await.doing(DOING)? {
            had.alive = row.try_get_by_index(0).doing(DOING)?;
            had.is_archived = row.try_get_by_index(3).doing(DOING)?;
            let work: Option<String> = row.try_get_by_index(1).doing(DOING)?;
            let token: Option<i64> = row.try_get_by_index(2).doing(DOING)?;
            had.works.extend(work.zip(token));
        }
        Ok(had)
    }

    /// Gives back what this server has, and leaves.
    pub(crate) async fn leave(&mut self) -> Result<(), StoreError> {
        let db = match self.db.take() {
            Some(db) => db,
            None => self.store.shared.connections.alone().await.doing(DOING)?,
        };
        for sql in [
            "UPDATE leases SET node_id = NULL WHERE node_id = ",
            "DELETE FROM nodes WHERE node_id = ",
        ] {
            let mut sql = Sql::new(sql);
            sql.bind(self.card.node_id.as_str());
            run(&db, sql).await?;
        }
        db.close().await.doing(DOING)
    }

    fn lasts_us(&self) -> i64 {
        micros(self.lasts)
    }
}

/// A server as an operator sees it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its id, given when it started.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Version of its program.
    pub version: String,
    /// When it joined.
    pub started_at: Instant,
    /// Whether it is taken for alive.
    pub is_alive: bool,
    /// The works that it has, by their names.
    pub works: Vec<String>,
}

impl Store {
    /// Whether a server that is alive can do a work; where there is but one server, nobody else can.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub(crate) async fn is_anyone_able(&self, work: &str) -> Result<bool, StoreError> {
        let doing = "look what the servers can do";
        if self.backend() != DbBackend::Postgres {
            return Ok(false);
        }
        let mut sql = Sql::new(format!(
            "SELECT 1 FROM nodes WHERE alive_until > {NOW} AND "
        ));
        sql.bind(work);
        sql.push(" = ANY(string_to_array(able, ' ')) LIMIT 1");
        let row = self.readers().query_one_raw(sql.statement(self.backend()));
        Ok(row.await.doing(doing)?.is_some())
    }

    /// The servers that share this log, and those that have died within the last hour, in the order in
    /// which they joined. Where there is but one server it is not written down.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub(crate) async fn peers(&self) -> Result<Vec<Peer>, StoreError> {
        let doing = "list the servers";
        if self.backend() != DbBackend::Postgres {
            return Ok(Vec::new());
        }
        let sql = Sql::new(format!(
            "SELECT node_id, name, address, version, started_at, alive_until > {NOW}, \
             (SELECT string_agg(work, ' ' ORDER BY work) FROM leases \
             WHERE leases.node_id = nodes.node_id) FROM nodes ORDER BY started_at, node_id"
        ));
        let rows = self.readers().query_all_raw(sql.statement(self.backend()));
        let rows = rows.await.doing(doing)?;
        rows.iter().map(peer).collect::<Result<_, _>>().doing(doing)
    }
}

fn peer(row: &QueryResult) -> Result<Peer, DbErr> {
    let works: Option<String> = row.try_get_by_index(6)?;
    let works = works.unwrap_or_default();
    Ok(Peer {
        id: row.try_get_by_index(0)?,
        name: row.try_get_by_index(1)?,
        address: row.try_get_by_index(2)?,
        version: row.try_get_by_index(3)?,
        started_at: Instant(row.try_get_by_index(4)?),
        is_alive: row.try_get_by_index(5)?,
        works: works.split_whitespace().map(str::to_owned).collect(),
    })
}

/// The servers that are alive, as `has`, each with the number of its works.
fn counted() -> String {
    format!(
        "has AS (SELECT node_id, able, (SELECT count(*) FROM leases \
         WHERE leases.node_id = nodes.node_id) AS number FROM nodes WHERE alive_until > {NOW})"
    )
}

/// The works of a server, each with every `other` that can do it and has at least two fewer.
const FEWER: &str = "FROM leases JOIN has AS mine ON mine.node_id = leases.node_id \
    JOIN has AS other ON other.number + 1 < mine.number \
    AND leases.work = ANY(string_to_array(other.able, ' ')) WHERE leases.node_id = ";

/// The first work that a statement answers.
async fn first(db: &DatabaseConnection, sql: Sql) -> Result<Option<String>, StoreError> {
    let row = db.query_one_raw(sql.statement(DbBackend::Postgres)).await;
    let work = row.doing(DOING)?.map(|row| row.try_get_by_index(0));
    work.transpose().doing(DOING)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

async fn run(db: &DatabaseConnection, sql: Sql) -> Result<(), StoreError> {
    let done = db.execute_raw(sql.statement(DbBackend::Postgres)).await;
    done.doing(DOING).map(drop)
}
