// The console in a real Chromium: three nodes, one of them killed, a key with siblings looked up, hostile names, screenshots.
//
// Started by tests/console.sh. Waits for what it expects, with a limit that only what hangs reaches; asserts no duration.
import { strict as assert } from "node:assert";
import { readFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { MODULES, CHROMIUM, DATA, PORT, SHOTS } = process.env;
const { chromium } = createRequire(join(MODULES, "x.js"))("playwright-core");
const LONG = 60_000;
const url = (node) => `http://127.0.0.1:${Number(PORT) + 10 * node + 1}`;
const HOSTILE = `<img src=x onerror="document.title='owned'">"'&`;

async function put(node, bucket, key, value, headers = {}) {
  const place = [bucket, key].map(encodeURIComponent).join("/");
  const answer = await fetch(`${url(node)}/kv/${place}`, { method: "PUT", body: value, headers: { "Content-Type": "text/plain", ...headers } });
  assert.equal(answer.status, 204, await answer.text());
}

// Until told to stop: every third operation is on one key, written over what was read.
async function load(stop) {
  for (let n = 0; !stop.is; n += 1) {
    // While a node is away an operation may fail: what is tested here is the page.
    try {
      const key = n % 3 === 0 ? "hot" : `k${n % 500}`;
      const read = await fetch(`${url(n % 2)}/kv/load/${key}`);
      await read.arrayBuffer();
      await put(n % 2, "load", key, "x".repeat(100), { "X-Dynode-Context": read.headers.get("x-dynode-context") });
    } catch (why) {
      if (!(why instanceof TypeError || why instanceof assert.AssertionError)) throw why;
    }
  }
}

const profile = mkdtempSync(join(tmpdir(), "dynode-chromium-"));
mkdirSync(SHOTS, { recursive: true });
const context = await chromium.launchPersistentContext(profile, {
  executablePath: CHROMIUM,
  headless: true,
  viewport: { width: 1600, height: 1000 },
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const stop = { is: false };
let loading;
try {
  const page = context.pages()[0] ?? (await context.newPage());
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (!request.url().startsWith(url(0)) && !request.url().startsWith("data:")) complaints.push(`a request to ${request.url()}`);
  });
  const see = (selector, text) => page.locator(selector).filter({ hasText: text }).first().waitFor({ timeout: LONG });
  const shot = async (name) => {
    for (const [width, height] of [[1600, 1000], [400, 850]]) {
      await page.setViewportSize({ width, height });
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme });
        await page.waitForTimeout(400);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(wide, 0, `${name}: at ${width} pixels the page is ${wide} pixels too wide`);
        await page.screenshot({ path: join(SHOTS, `${name}-${width}-${colorScheme}.png`), fullPage: true });
      }
    }
    await page.setViewportSize({ width: 1600, height: 1000 });
    await page.emulateMedia({ colorScheme: "light" });
  };

  // Three nodes, live.
  await page.goto(`${url(0)}/`);
  await see("#tiles dd", "3 of 3");
  await see("#link", "live");
  const rows = page.locator("#members tbody tr");
  assert.equal(await rows.count(), 3);
  for (const name of ["n0", "n1", "n2"]) await see("#members tr", name);
  assert.equal(await page.locator("#ring g[data-partition]").count(), 64);
  assert.equal(await page.locator("#ring .piece").count(), 3 * 64);
  loading = load(stop);
  await page.waitForFunction(() => parseFloat(document.querySelectorAll("#tiles dd")[1].textContent) > 0, null, { timeout: LONG });
  await see("#hot tbody tr", "/s");

  // A key with siblings, whose name and values are hostile.
  await put(0, "cart", HOSTILE, `apples ${HOSTILE}`);
  await put(1, "cart", HOSTILE, "pears");
  const lookUp = async (bucket, key) => {
    await page.getByLabel("Bucket").fill(bucket);
    await page.getByLabel("Key", { exact: true }).fill(key);
    await page.keyboard.press("Enter"); // as by hand: the form needs no mouse
  };
  await lookUp("cart", HOSTILE);
  await see("#found-said", "2 siblings; all 3 owners have the same version");
  assert.ok((await page.locator("#found-said").textContent()).includes(HOSTILE));
  assert.equal(await page.locator("#found tbody tr").count(), 3);
  assert.deepEqual((await page.locator("#found .values pre").allTextContents()).sort(), [`apples ${HOSTILE}`, "pears"].sort());
  assert.ok((await page.locator("#found code.context").textContent()).length > 20);
  assert.equal(await page.locator("#mark path").count(), 2);
  assert.equal(await page.locator("#found img, #found script").count(), 0);

  // By keyboard alone: the way to the main part, a node chosen, the table of the ring opened.
  await page.locator("#legend button").nth(1).focus();
  await page.keyboard.press("Space");
  assert.equal(await page.locator('#legend button[aria-pressed="true"]').count(), 1);
  assert.ok((await page.locator("#ring .piece.dim").count()) >= 64);
  await page.keyboard.press("Space");
  await page.locator("#ring-table summary").focus();
  await page.keyboard.press("Enter");
  await page.locator("#ring-table tbody tr").nth(63).waitFor({ timeout: LONG });
  await page.keyboard.press("Enter");
  await page.getByLabel("zone", { exact: true }).check();
  await page.getByLabel("node", { exact: true }).check();

  // Everything that takes input has a name, every picture too, and the landmarks are there.
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll("button, input, svg[role=img], a, [role=region]")]
      .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML));
  assert.deepEqual(nameless, []);
  for (const role of ["banner", "main", "contentinfo"]) assert.equal(await page.getByRole(role).count(), 1, role);
  await page.waitForTimeout(Number(process.env.LINGER_MS ?? 3000)); // for lines in the charts' pictures, nothing else
  await shot("up");

  // What moves is drawn outside of the ring and listed. Told to the page by hand: of three nodes that own everything none moves.
  const showMoves = (moves) => page.evaluate(async (all) => (await import("/console/ring.js")).showMoves(all), moves);
  await page.getByRole("button", { name: "Pause" }).click();
  await showMoves([...Array(20).keys()].map((n) =>
    ({ partition: 3 * n, phase: n % 2 ? "joint" : "read-new", leaves: ["n0"], comes_to: n === 7 ? ["n1", HOSTILE] : ["n2"], contained_by: n > 9 ? ["n2"] : [] }))
    .concat([...Array(13).keys()].map((n) => ({ partition: n, phase: "joint", leaves: [`m${n}`], comes_to: [], contained_by: [] }))));
  assert.equal(await page.locator("#moves path.move").count(), 34);
  assert.equal(await page.locator('#moves path[data-phase="joint"]').count(), 24);
  assert.equal(await page.locator("#moving tbody tr").count(), 12);
  assert.deepEqual(await page.locator("#moving tbody tr").first().locator("th, td").allTextContents(), ["read-new", "n0", "n2", "10", "5"]);
  await see("#moving", "33 partitions on the way to other owners");
  await see("#moving", "and 4 ways more");
  assert.equal(await page.locator("#moving img").count(), 0);
  await shot("moving");
  await showMoves([]);
  assert.equal(await page.locator("#moves path").count() + await page.locator("#moving tr").count(), 0);
  await page.getByRole("button", { name: "Pause" }).click();
  await see("#link", "live");

  // One node is killed, and turns down: in the table, the ring, the tiles, the words.
  process.kill(Number(readFileSync(join(DATA, "n2", "dynode.pid"), "utf8")), "SIGKILL");
  await see("#members tr:has(th:text-is('n2')) .state", "down");
  await see("#tiles dd", "2 of 3");
  await see("#news", "n2 is");
  await see("#remarks li", "n2 is down");
  assert.ok((await page.locator('#ring .piece.away[data-owner="n2"]').count()) === 64);
  assert.equal(await page.locator('#ring .piece.away:not([data-owner="n2"])').count(), 0);
  await lookUp("cart", HOSTILE);
  await see("#found-said", "2 of 3 owners answer");
  await see("#found .state", "no answer");
  await lookUp("cart", "never written");
  await see("#found-said", "no value");
  await lookUp("cart", HOSTILE);
  await see("#found-said", "2 siblings");
  await shot("down");

  // Paused, nothing changes and the page says so.
  await page.getByRole("button", { name: "Pause" }).click();
  await see("#link", "paused");

  // What a file of another origin may do with the page: nothing.
  const answer = await fetch(`${url(0)}/`);
  const policy = answer.headers.get("content-security-policy");
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|\*/);
  assert.equal(await page.title(), "2/3 dynode");
  assert.deepEqual(complaints, []);
  console.log(`console: all seen; screenshots in ${SHOTS}`);
} finally {
  stop.is = true;
  await loading;
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
