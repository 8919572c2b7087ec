// Tells about each post, once: what it has sent it cannot take back, so there must be one mailer.
import { setTimeout as sleep } from "node:timers/promises";

import pg from "pg";

const MAIL = 20; // milliseconds for one

let over = false;
process.once("SIGTERM", () => (over = true));

const client = new pg.Client();
await client.connect();
const alone = (await client.query("SELECT pg_try_advisory_lock(2) AS alone")).rows[0].alone;
const {
  rows: [run],
} = await client.query(
  "INSERT INTO mailer (release, refused) VALUES ($1, $2) RETURNING id",
  [process.env.RELCTL_RELEASE, !alone],
);
if (!alone) {
  console.error("another mailer is at it");
  process.exit(1);
}

while (!over) {
  const { rows } = await client.query("SELECT id FROM posts WHERE mails = 0 ORDER BY id LIMIT 1");
  await sleep(MAIL);
  for (const { id } of rows)
    await client.query("UPDATE posts SET mails = mails + 1 WHERE id = $1", [id]);
  await client.query("UPDATE mailer SET last = clock_timestamp() WHERE id = $1", [run.id]);
}
await client.end();
