// assets/NAME.EXT -> public/assets/NAME-HASH.EXT, and public/manifest.json says which is which.
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { parse } from "node:path";

// What is loaded comes before what loads it: another hash there is another name here, and so on up.
const FILES = ["style.css", "stream.js", "app.js"];

const names = {};
await mkdir("public/assets", { recursive: true });
for (const file of FILES) {
  let text = await readFile(`assets/${file}`, "utf8");
  for (const [plain, path] of Object.entries(names)) text = text.replaceAll(`./${plain}`, path);
  const { name, ext } = parse(file);
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 10);
  names[file] = `/assets/${name}-${hash}${ext}`;
  await writeFile(`public${names[file]}`, text);
}
await writeFile("public/manifest.json", JSON.stringify(names));
