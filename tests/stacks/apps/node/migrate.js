// node migrate.js DIRECTORY …: its *.sql that the database has not seen yet, by name, each as one transaction.
import { readdir, readFile } from "node:fs/promises";

import pg from "pg";

const client = new pg.Client();
await client.connect();
await client.query("SELECT pg_advisory_lock(3)"); // one at a time; the end of the connection frees it
await client.query(`CREATE TABLE IF NOT EXISTS migrations (
  name text PRIMARY KEY, applied timestamptz NOT NULL DEFAULT clock_timestamp())`);
const seen = new Set((await client.query("SELECT name FROM migrations")).rows.map((row) => row.name));

for (const directory of process.argv.slice(2)) {
  const files = (await readdir(directory)).filter((file) => file.endsWith(".sql")).sort();
  for (const file of files.filter((file) => !seen.has(file))) {
    await client.query("BEGIN");
    await client.query(await readFile(`${directory}/${file}`, "utf8"));
    await client.query("INSERT INTO migrations (name) VALUES ($1)", [file]);
    await client.query("COMMIT");
    console.log(`${file}: done`);
  }
}
await client.end();
