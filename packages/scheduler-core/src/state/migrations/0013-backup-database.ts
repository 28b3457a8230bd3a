export const backupDatabase = `
-- Of kind pg-dump, which database announced it: systemIdentifier, host, database. A copy of the database has the row, too, and must leave alone what
-- the other one is writing. NULL in rows of programs that do not know the column.
ALTER TABLE {schema}.backup ADD COLUMN database jsonb;
`
