//! What tells a commit apart from another that has the same positions: a database that was set back, and has lost
//! commits by that, gives their positions to others.

use sea_orm::ConnectionTrait;

use super::Store;
use super::error::{Doing, StoreError};
use super::sql::Sql;
use crate::event::Position;

impl Store {
    /// What is known of the commit in which a position is: its first and last position, when it was made, in
    /// microseconds, and how many events of each kind it has. It stays the same whatever becomes of its events.
    /// Nothing beyond the head.
    ///
    /// # Errors
    /// When the commits cannot be read.
    pub(crate) async fn commit_mark(
        &self,
        position: Position,
    ) -> Result<Option<String>, StoreError> {
        let doing = "look at a commit";
        let mut sql = Sql::new(
            "SELECT first_position, last_position, recorded_at, counts FROM commits \
             WHERE first_position <= ",
        );
        sql.bind(position.0);
        sql.push(" ORDER BY first_position DESC LIMIT 1");
        let row = self.readers().query_one_raw(sql.statement(self.backend()));
        let Some(row) = row.await.doing(doing)? else {
            return Ok(None);
        };
        let number = |index| row.try_get_by_index::<i64>(index).doing(doing);
        let (first, last, recorded_at) = (number(0)?, number(1)?, number(2)?);
        let counts: String = row.try_get_by_index(3).doing(doing)?;
        let mark = format!("{first}-{last} {recorded_at} {counts}");
        Ok((last >= position.0).then_some(mark))
    }
}
