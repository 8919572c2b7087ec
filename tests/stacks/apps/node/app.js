import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import session from "cookie-session";
import express from "express";

import { pool } from "./database.js";

const LOOK = 200; // milliseconds between two looks for new posts
const BEAT = 15_000; // and between two signs of life where there are none

const assets = JSON.parse(readFileSync("public/manifest.json", "utf8"));

export const app = express();

// Aborted when this process is to end: what would go on forever ends then.
export const stopping = new AbortController();

app.use(session({ name: "board", keys: [process.env.SECRET], sameSite: "lax" }));
app.use(express.urlencoded({ extended: false }));
app.use(express.static("public"));

const escaped = (text) =>
  String(text).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

const page = (request, body) => `<!doctype html>
<html lang="en">
<title>Board</title>
<link rel="stylesheet" href="${assets["style.css"]}">
<link rel="modulepreload" href="${assets["stream.js"]}">
<script type="module" src="${assets["app.js"]}"></script>
<p>${request.session.name ? `Hello ${escaped(request.session.name)}` : `<a href="/login">Log in</a>`}</p>
${body}
</html>
`;

const form = (request, action, field) => {
  request.session.token ??= randomUUID();
  return `<form method="post" action="${action}">
<input type="hidden" name="token" value="${request.session.token}">
<input name="${field}" required>
<button>Send</button>
</form>`;
};

const checked = (request, response, next) =>
  request.session.token && request.body.token === request.session.token
    ? next()
    : response.status(403).send("This form is too old.");

app.get("/", async (request, response) => {
  const { rows } = await pool.query("SELECT * FROM posts ORDER BY id DESC LIMIT 20");
  const list = rows.map((post) => `<li>${escaped(post.author)}: ${escaped(post.words)}</li>`);
  const writing = request.session.name ? form(request, "/posts", "words") : "";
  response.send(page(request, `${writing}<ul id="posts">${list.join("")}</ul>`));
});

app.get("/login", (request, response) => {
  response.send(page(request, form(request, "/login", "name")));
});

app.post("/login", checked, (request, response) => {
  request.session = { name: request.body.name, token: randomUUID() };
  response.redirect("/");
});

app.post("/logout", checked, (request, response) => {
  request.session = null;
  response.redirect("/");
});

app.post("/posts", checked, async (request, response) => {
  const { name } = request.session;
  if (!name) return response.redirect("/login");
  // One after the other: so nobody sees a post before he sees those with lower numbers.
  await pool.query(
    `WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(1))
     INSERT INTO posts (author, words, color, release) SELECT $1, $2, $3, $4 FROM turn`,
    [name, request.body.words, "black", process.env.RELCTL_RELEASE],
  );
  response.redirect("/");
});

const after = async (id) =>
  (await pool.query("SELECT id, author, words FROM posts WHERE id > $1 ORDER BY id", [id])).rows;

app.get("/posts", async (request, response) => {
  response.json(await after(Number(request.query.after ?? 0)));
});

// What a browser's EventSource asks; when it comes back, it says what it saw last.
app.get("/events", async (request, response) => {
  let last = Number(request.get("Last-Event-ID") ?? request.query.after ?? 0);
  let spoke = Date.now();
  response.set({
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no", // nginx passes it on at once
  });
  response.flushHeaders();
  while (!response.destroyed && !stopping.signal.aborted) {
    for (const post of await after(last)) {
      response.write(`id: ${post.id}\ndata: ${JSON.stringify(post)}\n\n`);
      last = post.id;
      spoke = Date.now();
    }
    if (Date.now() - spoke > BEAT) {
      response.write(":\n\n");
      spoke = Date.now();
    }
    await sleep(LOOK);
  }
  response.end();
});
