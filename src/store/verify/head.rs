//! Checks the row that says where the log ends and which log it is.

use uuid::Uuid;

use super::{Check, Verifier};
use crate::store::error::{Doing, StoreError};
use crate::store::sql::Sql;

impl Verifier<'_> {
    /// The head bears the time of the last commit. Both are read by one statement, since the log may be
    /// growing.
    pub(super) async fn head_row(&mut self) -> Result<(), StoreError> {
        let doing = "check the head";
        let sql = Sql::new(
            "SELECT h.recorded_at, coalesce(c.recorded_at, 0), h.log_id, h.epoch FROM log_head h \
             LEFT JOIN commits c ON c.first_position = (SELECT max(first_position) FROM commits)",
        );
        let rows = self.rows(sql, doing).await?;
        let Some(row) = rows.first() else {
            self.found(Check::Head, "the log has no head");
            return Ok(());
        };
        let number = |index| row.try_get_by_index::<i64>(index).doing(doing);
        let epoch = number(3)?;
        let log_id: String = row.try_get_by_index(2).doing(doing)?;
        if number(0)? != number(1)? {
            let detail = "the head bears another time than the last commit".to_owned();
            self.found(Check::Head, detail);
        }
        if epoch < 1 {
            self.found(Check::Head, format!("the epoch is {epoch}"));
        }
        if log_id.parse::<Uuid>().is_err() {
            let detail = "the id of the log is none; whoever opens it is refused".to_owned();
            self.found(Check::Head, detail);
        }
        self.checkpoints_of_this_log(&log_id, epoch).await
    }

    async fn checkpoints_of_this_log(
        &mut self,
        log_id: &str,
        epoch: i64,
    ) -> Result<(), StoreError> {
        let doing = "check the checkpoints";
        let mut sql = Sql::new("SELECT projection FROM checkpoints WHERE log_id <> ");
        sql.bind(log_id).push(" OR epoch <> ").bind(epoch);
        for row in self.rows(sql, doing).await? {
            let projection: String = row.try_get_by_index(0).doing(doing)?;
            let detail = format!("the checkpoint of {projection} is of another log or epoch");
            self.found(Check::Checkpoints, detail);
        }
        Ok(())
    }
}
